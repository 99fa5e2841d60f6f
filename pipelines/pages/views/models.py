"""*Models*: one line for each."""

from __future__ import annotations

from pipelines.core import links
from pipelines.pages.frame import View
from pipelines.pages.read import Reigning
from pipelines.pages.views.champion import clock
from pipelines.pages.views.decisions import TONES
from pipelines.records.decisions import Decision


class Line(View):
    """A model: who is champion, and how the newest challenger did."""

    name: str
    champion: str
    version: str
    since: str
    verdict: str
    tone: str
    why: str
    decision: str
    decisions: str
    monitoring: str


def line(
    name: str, reign: Reigning | None, newest: Decision | None, *, has_decisions: bool
) -> Line:
    """The line of a model; a decision that exists and is None cannot be read."""
    unread = "cannot be read" if has_decisions else "none yet"
    return Line(
        name=name,
        champion=links.champion_link(name),
        version=reign.entry.version if reign else "",
        since=clock(reign.began.at) if reign else "",
        verdict=newest.verdict if newest else unread,
        tone=TONES[newest.verdict] if newest else "dim",
        why=newest.why if newest else "",
        decision=links.decision_link(newest.object_key) if newest else "",
        decisions=links.decisions_link(name),
        monitoring=links.monitoring_link("", name),
    )
