"""The pages *Decisions* and *Decision*: verdicts, and the reasons for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from markupsafe import Markup

from pipelines.core import keys, links
from pipelines.core.escaping import Markdown
from pipelines.gate.card import plots, sentences
from pipelines.gate.card import tables as card_tables
from pipelines.gate.card.sentences import Judged
from pipelines.pages.frame import View, plot
from pipelines.pages.markdown_page import html
from pipelines.pages.read import Reigning
from pipelines.pages.views.champion import NOTHING, clock
from pipelines.records.decisions import ApprovalRecord, Decision, GateRule, RuleGroup, Verdict
from pipelines.records.succession import LogEntry

PAGE_SIZE = 25

TONES: Final[Mapping[Verdict, str]] = {
    "PROMOTE": "good",
    "REFRESH": "good",
    "HOLD": "dim",
    "INCONCLUSIVE": "warn",
    "REJECT": "bad",
}
_GROUPS: Final[Mapping[RuleGroup, str]] = {
    "sufficiency": "Is there enough evidence to judge by?",
    "floor": "Is it good enough in itself?",
    "champion": "Is it at least as good as the champion?",
    "reference": "Is it at least as good as the pinned reference?",
    "slice": "Is every slice at least as good?",
    "gain": "Is it better?",
}
_ANSWER_TONES = {"ok": "good", "yes": "good", "no": "dim", "FAIL": "bad"}


class Line(View):
    """One decision in the list."""

    stored_at: str
    version: str
    link: str
    verdict: str
    tone: str
    against: str
    sentence: str
    followed: str


class RuleLine(View):
    rule: str
    answer: str
    tone: str
    observed: str
    bounds: str
    limit: str
    detectable: str
    sentence: str


class RuleGroupView(View):
    title: str
    rules: tuple[RuleLine, ...]


class Answer(View):
    """A person's answer to a decision that asked for one."""

    answer: str
    actor: links.Actor
    reason: str


def line(
    key: str,
    stored_at: str,
    decision: Decision | None,
    approval: ApprovalRecord | None,
    entry: LogEntry | None,
) -> Line:
    """One decision of the list; ``entry`` is the generation that it could have become."""
    version = keys.version_of(key)
    shown = {"stored_at": clock(stored_at) if stored_at else NOTHING, "version": version,
             "link": links.decision_link(key)}  # fmt: skip
    if decision is None:
        return Line(verdict="unreadable", tone="bad", against=NOTHING, followed=NOTHING,
                    sentence="It cannot be trusted. See: python -m pipelines champion fsck",
                    **shown)  # fmt: skip
    return Line(
        verdict=decision.verdict,
        tone=TONES[decision.verdict],
        against=_against(decision),
        sentence=decision.why,
        followed=followed(decision, key, approval, entry),
        **shown,
    )


def _against(decision: Decision) -> str:
    if decision.champion_version is None:
        return "no champion"
    return f"generation {decision.champion_generation}, {decision.champion_version[:8]}"


def followed(
    decision: Decision, key: str, approval: ApprovalRecord | None, entry: LogEntry | None
) -> str:
    """What became of a decision, as a sentence."""
    if entry is not None and entry.kind == "promotion" and entry.decision_key == key:
        return f"It became champion: generation {entry.generation}."
    if approval is not None and approval.answer == "reject":
        return "A person rejected it."
    if decision.approval == "impossible":
        return "The champion stayed."
    if entry is not None:
        return "It has no effect: the champion changed meanwhile."
    return _WAITING[approval is not None or decision.approval == "not_needed"]


_WAITING = {
    True: "It may be promoted but was not, for example in a dry run.",
    False: "It waits for a person, under Browse, Required Actions.",
}


def decided_by(decision: Decision) -> tuple[RuleLine, ...]:
    """The rules that decided."""
    return tuple(map(_rule, sentences.deciding(decision)))


def grouped(rules: Iterable[GateRule]) -> tuple[RuleGroupView, ...]:
    """The rules in groups, failures first within each group."""
    lines: dict[RuleGroup, list[GateRule]] = {}
    for rule in rules:
        lines.setdefault(rule.group, []).append(rule)
    return tuple(
        RuleGroupView(
            title=title,
            rules=tuple(map(_rule, sorted(lines[group], key=lambda rule: rule.is_passed))),
        )
        for group, title in _GROUPS.items()
        if group in lines
    )


def _rule(rule: GateRule) -> RuleLine:
    has_bounds = rule.low is not None or rule.high is not None
    return RuleLine(
        rule=rule.rule,
        answer=rule.answer,
        tone=_ANSWER_TONES[rule.answer],
        observed=_number(rule.observed),
        bounds=f"{_number(rule.low)} to {_number(rule.high)}" if has_bounds else NOTHING,
        limit=_number(rule.limit),
        detectable=_number(rule.detectable),
        sentence=rule.sentence,
    )


def _number(value: float | None) -> str:
    """At most four significant digits, without an exponent for counts."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def answer(approval: ApprovalRecord | None) -> Answer | None:
    if approval is None:
        return None
    return Answer(
        answer="approved" if approval.answer == "approve" else "rejected",
        actor=links.actor(approval.actor),
        reason=approval.reason,
    )


def standing(judged: Judged) -> Markup:
    """What it was compared with, and what may follow."""
    return html("\n\n".join(sentences.standing(judged)))


def tables(judged: Judged) -> tuple[tuple[str, Markup], ...]:
    """The tables of scores in the model card, each with its title."""
    texts: Sequence[tuple[str, Markdown]] = (
        ("Scores", card_tables.scores(judged)),
        ("Changes", card_tables.changes(judged)),
        ("Right and wrong on the holdout", card_tables.confusion(judged)),
        ("Slices of the holdout", card_tables.slices(judged)),
        ("Behaviour", card_tables.behaviour(judged)),
    )
    return tuple((title, html(text)) for title, text in texts)


def drawings(judged: Judged) -> tuple[Markup, ...]:
    evaluation, decision = judged.evaluation, judged.decision
    return plot(plots.calibration(evaluation)), plot(plots.slices(evaluation, decision))


class ModelLine(View):
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


def model_line(
    name: str, reign: Reigning | None, newest: Decision | None, *, has_decisions: bool
) -> ModelLine:
    """The line of a model; a decision that exists and is None cannot be read."""
    unread = "cannot be read" if has_decisions else "none yet"
    return ModelLine(
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
