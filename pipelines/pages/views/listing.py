"""The list of incidents, one line of it, and what a reader asks it for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode

from pipelines.alerts.kinds import RULE_ALERTS
from pipelines.core import links
from pipelines.intake.landing import parse_name
from pipelines.intake.standings import Standing
from pipelines.records.deliveries import Receipt

Kind = Literal["HELD", "MISSING_DELIVERY", "SET_ASIDE", "UNREADABLE", "CONFLICT", "QUARANTINED"]
State = Literal["open", "look", "settled", "routine"]

STATES: dict[State, str] = {
    "open": "Needs a person",
    "look": "Worth a look when there is time",
    "settled": "Settled",
    "routine": "Accepted, with a few rows in quarantine",
}


UNREADABLE_FILE = "unreadable file"
RULES = (*sorted(RULE_ALERTS), UNREADABLE_FILE)
_UNREADABLE = "The file cannot be used:"  # how the reason of an unreadable file begins


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


@dataclass(frozen=True)
class Asked:
    """Filters; an empty one lets everything through.

    Parameters
    ----------
    source : str
        The whole name of a source.
    rule : str
        A rule that holds deliveries, or `UNREADABLE_FILE`.
    state : str
        A state of `incidents.STATES`.
    text : str
        A part of the file's name, of the reason, or the beginning of the delivery's sha256.
    """

    source: str = ""
    rule: str = ""
    state: str = ""
    text: str = ""

    def __bool__(self) -> bool:
        return bool(self.source or self.rule or self.state or self.text)

    def admits_receipt(self, receipt: Receipt) -> bool:
        """Whether its delivery may be asked for, before anything else is read of it."""
        if self.source and parse_name(receipt.landing_key).source != self.source:
            return False
        if self.rule and not self._is_of_rule(receipt.why):
            return False
        return self._has_text(receipt.landing_key, receipt.why, receipt.delivery)

    def admits(self, *, source: str, state: str, title: str, why: str, subject: str) -> bool:
        """Whether an incident is asked for, whatever kind it is."""
        if (self.source and source != self.source) or (self.state and state != self.state):
            return False
        if self.rule and not self._is_of_rule(why):
            return False
        return self._has_text(title, why, subject)

    def _is_of_rule(self, why: str) -> bool:
        return (_UNREADABLE if self.rule == UNREADABLE_FILE else self.rule) in why

    def _has_text(self, title: str, why: str, subject: str) -> bool:
        wanted = self.text.lower()
        return (
            not wanted
            or wanted in title.lower()
            or wanted in why.lower()
            or subject.startswith(wanted)
        )

    def link(self, *, until: str = "", format_: str = "") -> str:
        """The list with the same filters, going back from a night, or as a file."""
        values = {"source": self.source, "rule": self.rule, "state": self.state, "q": self.text,
                  "until": until, "format": format_}  # fmt: skip
        given = {name: value for name, value in values.items() if value}
        return links.incidents_link() + (f"?{urlencode(given)}" if given else "")
