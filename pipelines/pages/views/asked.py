"""What a reader asks of the list of incidents: which source, rule, state and words."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from pipelines.alerts.kinds import RULE_ALERTS
from pipelines.core import links
from pipelines.intake.landing import parse_name
from pipelines.records.deliveries import Receipt

UNREADABLE_FILE = "unreadable file"
RULES = (*sorted(RULE_ALERTS), UNREADABLE_FILE)
_UNREADABLE = "The file cannot be used:"  # how the reason of an unreadable file begins


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
