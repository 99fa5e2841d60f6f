"""One line of the list of incidents, and the list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipelines.intake.standings import Standing

Kind = Literal["HELD", "MISSING_DELIVERY", "SET_ASIDE", "UNREADABLE", "CONFLICT", "QUARANTINED"]
State = Literal["open", "look", "settled", "routine"]

STATES: dict[State, str] = {
    "open": "Needs a person",
    "look": "Worth a look when there is time",
    "settled": "Settled",
    "routine": "Accepted, with a few rows in quarantine",
}


@dataclass(frozen=True)
class Incident:
    """One line of the list.

    Parameters
    ----------
    kind, state : str
        What happened, and whether somebody still has to act.
    subject : str
        The delivery's sha256; ``missing/<night>/<source>``; the key that cannot be read.
    nights : tuple of str
        Nights of the page in which it was seen, oldest first.
    title : str
        The file or the source. Hostile: escape it.
    sentence : str
        What is wrong, or how it was settled. Hostile as well.
    conflicts_with : str or None
        The delivery that came first under the same name, with other bytes.
    """

    kind: Kind
    state: State
    subject: str
    nights: tuple[str, ...]
    title: str
    source: str
    sentence: str
    standing: Standing | None = None
    conflicts_with: str | None = None

    @property
    def when(self) -> str:
        """The nights in few words."""
        if len(self.nights) <= 3:
            return ", ".join(self.nights)
        return f"{len(self.nights)} nights from {self.nights[0]} to {self.nights[-1]}"

    @property
    def is_of_unknown_size(self) -> bool:
        """Whether it is a file of which no row could be read."""
        return (
            self.kind == "HELD"
            and self.standing is not None
            and not (self.standing.newest.delivered_rows)
        )

    @property
    def can_be_chosen(self) -> bool:
        """Whether several like it may be decided on at once: not if its labels are in doubt."""
        is_held = self.kind == "HELD" and self.state == "open" and self.standing is not None
        return is_held and "label_agreement" not in self.sentence

    @property
    def path(self) -> str:
        """Path of its own page, below the list; empty if it has none."""
        has_none = self.kind in {"UNREADABLE", "SET_ASIDE"} and "/" in self.subject
        return "" if has_none else self.subject


@dataclass(frozen=True)
class Listing:
    """The incidents of some nights: open ones first, each group newest first.

    ``older`` is the night to go on from; None when nothing is older.
    """

    nights: tuple[str, ...]
    incidents: tuple[Incident, ...]
    older: str | None

    def of(self, state: State) -> list[Incident]:
        return [incident for incident in self.incidents if incident.state == state]
