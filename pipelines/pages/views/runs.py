"""The tab *Run report*: what one run did, from the records it left.

Airflow knows which records they are: each task returned the URI of its own. Their content is read
from the store, so a report can be shown for as long as the records are kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from pipelines.alerts.run_errors import names_a_version
from pipelines.core import links
from pipelines.intake.nights import sentence as overdue_sentence
from pipelines.pages.frame import Button, View
from pipelines.pages.views.failures import End, Fact, Failure, in_one_sentence
from pipelines.pages.views.incident import MISSING_RUNBOOK, SET_ASIDE_RUNBOOK
from pipelines.records.decisions import Decision
from pipelines.records.deliveries import (
    MissingDelivery,
    Outcome,
    Receipt,
    Replay,
    ReplayPlan,
    SetAside,
)
from pipelines.records.monitoring import TriggerDecision, Window
from pipelines.records.succession import LogEntry, RollbackPlan

# The tasks whose results show what the run did, by DAG.
RESULT_TASKS: Final[Mapping[str, tuple[str, ...]]] = {
    links.INGEST: ("summarize_night",),
    links.RETRAIN: ("note_start", "take_snapshot", "plan", "has_work", "decide", "promote"),
    links.ROLLBACK: ("plan_rollback", "apply_rollback"),
    links.RELEASE: ("plan_release", "apply_release"),
    links.REPLAY: ("plan_replay", "apply_replay"),
    links.MONITOR: ("watch", "decide_trigger"),
}

_NAMED = 5  # keys that a note spells out

VERDICT_TONES: Final[Mapping[str, str]] = {
    "ACCEPTED": "good",
    "PARTLY_ACCEPTED": "warn",
    "HELD": "bad",
    "DUPLICATE": "dim",
    "DISCARDED": "dim",
}


class Note(View):
    """What a reader should not miss; ``link`` and its ``label`` lead to more."""

    text: str
    tone: str
    link: str | None = None
    label: str = ""


class Delivered(View):
    """What became of one landing file."""

    file: str
    verdict: str
    tone: str
    why: str
    delivered: int
    accepted: int
    quarantined: int
    held: int
    report: str | None
    incident: str | None


class Report(View):
    """The tab of one run."""

    dag_id: str
    run_id: str
    state: str
    started: str
    sentence: str
    facts: tuple[Fact, ...] = ()
    deliveries: tuple[Delivered, ...] = ()
    totals: Delivered | None = None
    notes: tuple[Note, ...] = ()
    nothing_affected: str | None = None
    failures: tuple[Failure, ...] = ()
    buttons: tuple[Button, ...] = ()


def uri_key(value: Any, bucket: str) -> str | None:
    """The key in a URI that a task returned; None when it is not in that bucket."""
    prefix = f"s3://{bucket}/"
    if isinstance(value, str) and value.startswith(prefix) and len(value) > len(prefix):
        return value.removeprefix(prefix)
    return None


def night_sentence(
    receipts: Sequence[Receipt], end: End, unreadable: int = 0, settled: Collection[str] = ()
) -> str:
    """What a night brought; nothing is added up when some of its receipts cannot be read."""
    if unreadable:
        files = len(receipts) + unreadable
        return f"{_files(files)} processed; the records of {unreadable:,} of them cannot be read."
    if not receipts:
        return end.without_files()
    held = [one.delivery for one in receipts if one.verdict == "HELD"]
    decided = sum(each in settled for each in held)
    accepted = sum(receipt.accepted_rows for receipt in receipts)
    parts = [f"{_files(len(receipts))} processed, {accepted:,} rows count."]
    if len(held) > decided:
        parts.append(f"{_files(len(held) - decided)} held: none of their rows count.")
    if decided:
        parts.append(f"{_files(decided)} held at first: a person decided since.")
    if end.is_incomplete:
        parts.append("This run did not process every file that was due.")
    return " ".join(parts)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def decided(replay: Replay) -> str:
    """What a person decided on a file that was held, by whom and why."""
    did = {"discard": "discarded", "release": "released", "revalidate": "validated again"}
    return (
        f"Held at first; {did[replay.action]} by {links.actor(replay.actor).words}: "
        f"{replay.reason.rstrip('.')}. {replay.accepted_rows:,} of its rows count. Held because: "
    )


def delivered(
    receipt: Receipt, outcomes: Mapping[str, Outcome], settled: Mapping[str, Replay]
) -> Delivered:
    """One file of a night; its outcome names its report."""
    outcome, replay = outcomes.get(receipt.delivery), settled.get(receipt.delivery)
    is_held = receipt.verdict == "HELD"
    verdict = replay.verdict if replay else receipt.verdict
    return Delivered(
        file=receipt.landing_key,
        verdict=verdict,
        tone=VERDICT_TONES[verdict],
        why=(decided(replay) if replay else "") + receipt.why,
        delivered=receipt.delivered_rows,
        accepted=receipt.accepted_rows,
        quarantined=receipt.quarantined_rows,
        held=receipt.held_rows,
        report=(links.report_link(outcome.validation_key) or None) if outcome else None,
        incident=links.incidents_link(receipt.delivery) if is_held else None,
    )


def totals(lines: Sequence[Delivered]) -> Delivered:
    return Delivered(
        file="all", verdict="", tone="", why="", report=None, incident=None,
        delivered=sum(line.delivered for line in lines),
        accepted=sum(line.accepted for line in lines),
        quarantined=sum(line.quarantined for line in lines),
        held=sum(line.held for line in lines),
    )  # fmt: skip


def not_affected(
    receipts: Sequence[Receipt], settled: Collection[str], failures: Sequence[Failure]
) -> str | None:
    """What is not affected by a held delivery, for the person who is woken by it."""
    others = [receipt for receipt in receipts if receipt.verdict != "HELD"]
    if not any(one.verdict == "HELD" and one.delivery not in settled for one in receipts):
        return None
    rows = sum(receipt.accepted_rows for receipt in others)
    sentence = f"Not affected: {_files(len(others))} of this night, with {rows:,} rows that count."
    if any(names_a_version(failure.error) for failure in failures):
        return sentence  # it may be the champion's
    return f"{sentence} The champion stays in use, and retraining continues with those rows."


def overdue(missing: Sequence[MissingDelivery]) -> tuple[Note, ...]:
    link = links.runbook_link(MISSING_RUNBOOK)
    return tuple(
        Note(text=f"{overdue_sentence(record)}.", tone="warn", link=link, label="What to do")
        for record in missing
    )


def left_alone(reported: Any) -> tuple[Note, ...]:
    """Files that the run did not take up, as its own summary names them."""
    return tuple(
        Note(
            text=f"{entry.landing_key}: {entry.why}",
            tone="bad" if entry.needs_person else "dim",
            link=links.runbook_link(SET_ASIDE_RUNBOOK) if entry.needs_person else None,
            label="What to do",
        )
        for entry in map(_set_aside, reported if isinstance(reported, list) else ())
        if entry is not None
    )


def _set_aside(reported: Any) -> SetAside | None:
    try:
        return SetAside.model_validate(reported)
    except ValidationError:
        return None  # a task of that name may return anything


def unreadable(keys: Sequence[str]) -> tuple[Note, ...]:
    """A note on records that are torn or gone; each is in the list of incidents."""
    if not keys:
        return ()
    more = f", and {len(keys) - _NAMED:,} more" if len(keys) > _NAMED else ""
    names = ", ".join(keys[:_NAMED]) + more
    return (
        Note(
            text=f"These records cannot be read and are left out: {names}.",
            tone="bad", link=links.incidents_link(), label="See the incidents",
        ),
    )  # fmt: skip


def retrain_facts(
    decision_key: str | None,
    decision: Decision | None,
    entry: LogEntry | None,
    has_work: Any,
    end: End,
) -> tuple[str, tuple[Fact, ...]]:
    """A sentence and facts on a retraining."""
    if has_work in ([], False):  # earlier runs kept False
        skipped = "Skipped: this version was decided on before, and nothing changed since."
        return skipped, (Fact(name="decisions", value="all of them", link=links.decisions_link()),)
    if decision is None or decision_key is None:
        return end.before("a decision"), ()
    link = links.decision_link(decision_key)
    facts = (
        Fact(name="version", value=decision.version, link=link),
        Fact(name="verdict", value=f"{decision.verdict}: {decision.why}", link=link),
        Fact(name="model card", value="read it", link=links.card_link(decision_key)),
    )
    if entry is None:
        return "The champion stayed.", facts
    became = Fact(name="champion since", value=f"{entry.at}, generation {entry.generation}",
                  link=links.champion_link())  # fmt: skip
    return "Its version became champion.", (*facts, became)


def monitor_facts(
    windows: Sequence[Window], decision: TriggerDecision | None, end: End
) -> tuple[str, tuple[Fact, ...]]:
    """A sentence and facts on a run of the monitor."""
    judged = tuple(
        Fact(name=window.night, value=f"{window.verdict}: {window.why}",
             link=links.monitoring_link(window.night))
        for window in windows
    )  # fmt: skip
    if decision is None:
        return f"{end.before('a decision')} Without a champion there is none.", judged
    sentence = "It asked for a retraining." if decision.is_started else "It asked for nothing."
    return sentence, (*judged, Fact(name="triggers", value=decision.why))


def rollback_facts(
    plan: RollbackPlan | None, entry: LogEntry | None, end: End
) -> tuple[str, tuple[Fact, ...]]:
    """A sentence and facts on a rollback: what was done, or what would be."""
    if entry is None:
        return end.without_plan() if plan is None else _planned_rollback(plan, end)
    facts = (
        Fact(name="champion", value=entry.version, link=links.champion_link()),
        Fact(name="withdrawn", value=entry.subject or "-"),
        Fact(name="reason", value=entry.reason),
    )
    return f"Version {entry.version} was put back, as generation {entry.generation}.", facts


def release_facts(
    version: str | None, entry: LogEntry | None, end: End
) -> tuple[str, tuple[Fact, ...]]:
    """A sentence and facts on a release: what was done, or what would be."""
    if version is None:
        return end.without_plan()
    facts = (Fact(name="version", value=version, link=links.champion_link()),)
    if entry is not None:
        reason = Fact(name="reason", value=entry.reason)
        return f"Version {version} may compete again. The champion stays.", (*facts, reason)
    if end.state == "failed":
        return f"Failed, and nothing was released: {in_one_sentence(end.failures)}", facts
    if end.is_going_on and not end.is_dry_run:
        return f"Not finished yet: version {version} is to be released.", facts
    return f"A dry run: version {version} can be released. Nothing was changed.", facts


def _planned_rollback(plan: RollbackPlan, end: End) -> tuple[str, tuple[Fact, ...]]:
    facts = (
        Fact(name="champion now", value=f"{plan.champion_version}, "
             f"generation {plan.champion_generation}", link=links.champion_link()),
        Fact(name="would be put back", value=f"{plan.target_version}, champion as "
             f"generation {plan.target_generation} before"),
        Fact(name="would be withdrawn", value=f"{plan.champion_version}, until somebody "
             "releases it"),
        Fact(name="reason", value=plan.reason),
    )  # fmt: skip
    would = f"version {plan.target_version} would be put back as champion"
    if end.state == "failed":
        return f"Failed, and nothing was put back: {in_one_sentence(end.failures)}", facts
    if end.is_going_on and not end.is_dry_run:
        return f"Not finished yet: {would}.", facts
    return f"A dry run: {would}. Nothing was changed.", facts


def replay_facts(
    plan: ReplayPlan | None, done: Replay | None, end: End
) -> tuple[str, tuple[Fact, ...]]:
    """A sentence and facts on a replay: what was done, or what would be."""
    if plan is None:
        return end.without_plan()
    link = links.incidents_link(plan.delivery)
    rows = "all" if plan.rows is None else ", ".join(map(str, plan.rows[:20]))
    facts = (
        Fact(name="delivery", value=plan.delivery, link=link),
        Fact(name="action", value=plan.action),
        Fact(name="rows", value=rows if plan.rows is None or len(plan.rows) <= 20
             else f"{rows} and {len(plan.rows) - 20:,} more"),
        Fact(name="rows that count", value=f"{len(plan.accept):,} more than before"),
        Fact(name="rows in quarantine", value=f"{len(plan.quarantine):,} afterwards"),
        Fact(name="rows held, discarded",
             value=f"{plan.held_rows:,}, {plan.discarded_rows:,} afterwards"),
        Fact(name="reason", value=plan.reason),
        Fact(name="report", value="read it", link=links.report_link(plan.validation_key)),
    )  # fmt: skip
    would = f"the delivery would become {plan.verdict}. {plan.why}"
    if done is None and end.state == "failed":
        return f"Failed, and nothing was changed: {in_one_sentence(end.failures)}", facts
    if done is None and end.is_going_on and not end.is_dry_run:
        return f"Not finished yet: {would}", facts
    if done is None:
        return f"A dry run: {would} Nothing was changed.", facts
    return f"The delivery is {done.verdict}. {done.why}", facts
