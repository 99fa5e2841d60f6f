"""The question to a person about a decision, as Markdown for Airflow's required actions."""

from __future__ import annotations

import re

from pipelines.core import links
from pipelines.core.escaping import escaped, plain
from pipelines.core.settings.settings import command
from pipelines.gate.card.sentences import deciding, passed_sentence
from pipelines.records.decisions import Decision, GateRule

MAX_CHARS = 20_000  # of the whole question
MAX_ROWS = 10  # rules: the form with the answers is below them
_MAX_CELL_CHARS = 400
_BLOCK = re.compile(r"^(\d{0,9})([-+=.)])")  # begins a list or a rule at the start of a line


def describe(decision: Decision, *, timeout_hours: float, airflow_url: str = "") -> str:
    """Which version needs approval, why, and what each answer does; at most `MAX_CHARS`.

    Its first line is the same if, and only if, the question is about the same decision. The form
    with the answers follows below it, so it lists only the rules that decided. It links the
    decision and the model card, below ``airflow_url`` where that is known.
    """
    text = (
        f"Version **{decision.version}** needs approval to become champion, because "
        f"{_because(decision)}. Decision {decision.digest()[:16]}.\n\n> {escape(decision.why)}\n\n"
        f"{_answers(decision, timeout_hours)}\n\n{_pages(decision, airflow_url)}\n\n"
    )
    return text + _table(decision, MAX_CHARS - len(text))


def _pages(decision: Decision, airflow_url: str) -> str:
    """Where the evidence is: pages of ours, by their addresses or below this Airflow's root."""
    pages = {
        "All rules, scores and plots": links.decision_link(decision.object_key),
        "model card": links.card_link(decision.object_key),
        "how to decide": links.runbook_link("docs/runbooks/approval.md"),
    }
    shown = {words: links.address(airflow_url, page) or page for words, page in pages.items()}
    return ", ".join(f"[{words}]({page})" for words, page in shown.items() if page) + "."


def escape(text: str) -> str:
    """The text as one line without effective Markdown or HTML, cut if it is long."""
    line = escaped(plain(text, most=_MAX_CELL_CHARS))
    return _BLOCK.sub(r"\1\\\2", line)


def _because(decision: Decision) -> str:
    first = "" if decision.champion_version else "there is no champion to compare it with"
    unsure = "the scores do not decide it" if decision.verdict == "INCONCLUSIVE" else ""
    return f"{' and '.join(filter(None, [first, unsure]))} (verdict **{decision.verdict}**)"


def _answers(decision: Decision, timeout_hours: float) -> str:
    if decision.champion_version:
        generation = f"generation {decision.champion_generation}"
        instead = f"in place of **{decision.champion_version}** ({generation})"
        stays = f"**{decision.champion_version}** stays champion"
    else:
        instead, stays = "the first one", "there is still no champion, so nothing answers"
    return (
        f"- **Approve**: it becomes champion, {instead}. If another version became champion "
        "meanwhile, your answer is void and the gate decides again.\n"
        f"- **Reject**: {stays}, and this decision is not asked about again.\n"
        f"- **No answer within {timeout_hours:g} hours**: {stays}. The next run may ask again."
    )


def _table(decision: Decision, max_chars: int) -> str:
    """The rules that decided; those that do not fit, and those that passed, are counted."""
    rows = [_row(rule) for rule in deciding(decision)]
    passed = f"\n\n{passed_sentence(decision)}"
    if not rows:
        return passed.strip()
    lines = ["| | rule | result |", "|---|---|---|"]
    show = command(f"decision show {decision.version}", decision.model_name)
    left_out = f"\n\n{{:,}} more rules that failed are not shown: {show}"
    room = max_chars - sum(map(len, lines)) - len(left_out) - 20
    room -= len(passed)
    for number, row in enumerate(rows):
        room -= len(row) + 1
        if room < 0 or number == MAX_ROWS:
            left = left_out.format(len(rows) - number)
            return "\n".join(lines) + left + passed
        lines.append(row)
    return "\n".join(lines) + passed


def _row(rule: GateRule) -> str:
    return f"| {_mark(rule)} | {escape(rule.rule)} | {escape(rule.sentence)} |"


def _mark(rule: GateRule) -> str:
    """A missing gain is not a failure: it only means that nothing needs to change."""
    if rule.group == "gain":
        return "yes" if rule.is_passed else "no"
    return "ok" if rule.is_passed else "**FAIL**"
