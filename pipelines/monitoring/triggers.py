"""Decide whether to start a retraining. A start is an attempt: only the gate can publish a model.

A pure function of what is known, so the decision can be explained and made again. The reasons are
asked in a fixed order, and the first that is met is the trigger. A veto stops it; an operator's
wish is stopped only by the lack of anything to train on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pipelines.core.settings.operation import TriggerSettings
from pipelines.records.monitoring import TriggerCheck, TriggerName, Window
from pipelines.records.validations import Validation

BAD: dict[Literal["fading", "drift"], tuple[str, ...]] = {
    "fading": ("FADING",),
    "drift": ("DRIFT", "FADING"),  # a window that fades has mostly drifted, too
}


POISON_RULE = "label_agreement"


@dataclass(frozen=True)
class Known:
    """What the decision depends on.

    Parameters
    ----------
    windows : tuple of Window
        The newest of each night, newest first; those of earlier champions among them.
    generation : int
        The one that made the present champion; releases and pins after it changed nothing.
    new_rows : int
        Rows that count and that it was not trained on.
    champion_since : datetime
        When it became champion.
    now : datetime
        By the store's clock.
    last_start : datetime or None
        When a trigger last started a retraining.
    poisoned : tuple of str
        Deliveries that a poison alarm holds.
    operator_reason : str
        Why a person wants a retraining; empty if none does.
    """

    windows: tuple[Window, ...]
    generation: int
    new_rows: int
    champion_since: datetime
    now: datetime
    last_start: datetime | None = None
    poisoned: tuple[str, ...] = ()
    operator_reason: str = ""


@dataclass(frozen=True)
class Choice:
    """Whether to start, by which trigger, and all that was checked."""

    trigger: TriggerName | None
    is_started: bool
    why: str
    checks: tuple[TriggerCheck, ...]
    vetoes: tuple[TriggerCheck, ...]


def choose(known: Known, settings: TriggerSettings) -> Choice:
    """Whether to start a retraining, and why or why not."""
    checks = tuple(_checks(known, settings))
    vetoes = tuple(_vetoes(known, settings))
    met = next((check for check in checks if check.is_met), None)
    if met is None:
        return Choice(None, False, "No trigger is met.", checks, vetoes)
    trigger = _TRIGGERS[met.name]
    stops = [veto for veto in vetoes if veto.is_met and veto.name in _STOPPED_BY[trigger]]
    if stops:
        why = f"{met.sentence} Not started: {_lower(stops[0].sentence)}"
        return Choice(trigger, False, why, checks, vetoes)
    return Choice(trigger, True, met.sentence, checks, vetoes)


_TRIGGERS: dict[str, TriggerName] = {
    "operator": "operator", "fading": "fading", "drift": "drift", "volume": "volume",
    "staleness": "staleness",
}  # fmt: skip

_URGENT = frozenset({"nothing_new", "poison", "cool_down"})
_PATIENT = _URGENT | {"retry"}
_STOPPED_BY: dict[TriggerName, frozenset[str]] = {
    "operator": frozenset({"nothing_new"}), "fading": _URGENT, "drift": _PATIENT,
    "volume": _PATIENT, "staleness": _PATIENT,
}  # fmt: skip


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def remembered(settings: TriggerSettings) -> timedelta:
    """How long a start matters for later decisions."""
    return max(timedelta(hours=settings.cool_down_hours), timedelta(days=settings.retry_days))


def _checks(known: Known, settings: TriggerSettings) -> Iterator[TriggerCheck]:
    yield TriggerCheck(
        name="operator", observed=float(bool(known.operator_reason)), threshold=1.0,
        is_met=bool(known.operator_reason),
        sentence=f"A person asks for it: {known.operator_reason}"
        if known.operator_reason else "Nobody asks for it.",
    )  # fmt: skip
    for name in BAD:
        yield _bad_windows(name, known, settings)
    yield TriggerCheck(
        name="volume", observed=known.new_rows, threshold=settings.new_rows,
        is_met=known.new_rows >= settings.new_rows,
        sentence=f"{known.new_rows:,} rows count that the champion did not learn; "
        f"{settings.new_rows:,} start a retraining.",
    )  # fmt: skip
    days = max(0.0, (known.now - known.champion_since).total_seconds() / 86_400)
    yield TriggerCheck(
        name="staleness", observed=round(days, 3), threshold=settings.max_age_days,
        is_met=days >= settings.max_age_days,
        sentence=f"The champion is {days:.1f} days old; {settings.max_age_days:g} are the most.",
    )  # fmt: skip


def _bad_windows(
    name: Literal["fading", "drift"], known: Known, settings: TriggerSettings
) -> TriggerCheck:
    """Enough of the newest windows, and the newest itself; only final ones of this champion."""
    newest = _own_windows(known)[: settings.windows]
    bad = [window for window in newest if window.verdict in BAD[name]]
    is_met = len(bad) >= settings.bad_windows and newest[0].verdict in BAD[name]
    last = f" The newest: {newest[0].why}" if newest else ""
    return TriggerCheck(
        name=name, observed=len(bad), threshold=settings.bad_windows, is_met=is_met,
        sentence=f"{' or '.join(BAD[name])} in {len(bad)} of the last {len(newest)} "
        f"windows of this champion; {settings.bad_windows} of {settings.windows} and the newest "
        f"start a retraining.{last}",
    )  # fmt: skip


def _own_windows(known: Known) -> Sequence[Window]:
    """Windows that judged the present champion, on enough of what was delivered.

    Those of an earlier one say nothing about it: its retraining was the answer to them.
    """
    return [
        window
        for window in known.windows
        if window.champion_generation >= known.generation
        and not window.is_provisional
        and window.verdict != "TOO_FEW"
    ]


def is_poison_alarm(validation: Validation) -> bool:
    """Whether a delivery was held because the champion disagrees with its labels."""
    return any(
        rule.rule == POISON_RULE and rule.severity == "critical" for rule in validation.failed_rules
    )


def _vetoes(known: Known, settings: TriggerSettings) -> Iterator[TriggerCheck]:
    yield TriggerCheck(
        name="nothing_new", observed=known.new_rows, threshold=1, is_met=known.new_rows < 1,
        sentence="There is nothing to train on that the champion has not learned."
        if known.new_rows < 1 else f"{known.new_rows:,} rows are new to the champion.",
    )  # fmt: skip
    yield TriggerCheck(
        name="poison", observed=len(known.poisoned), threshold=1, is_met=bool(known.poisoned),
        sentence=_poison_sentence(known.poisoned),
    )  # fmt: skip
    hours = (
        (known.now - known.last_start).total_seconds() / 3600 if known.last_start else None
    )  # fmt: skip
    is_cooling = hours is not None and hours < settings.cool_down_hours
    yield TriggerCheck(
        name="cool_down", observed=round(hours, 3) if hours is not None else -1.0,
        threshold=settings.cool_down_hours, is_met=is_cooling,
        sentence=f"The last start was {hours:.1f} hours ago; {settings.cool_down_hours:g} must "
        "pass."
        if hours is not None else "No trigger started a retraining before.",
    )  # fmt: skip
    yield _retry(known, settings)


def _retry(known: Known, settings: TriggerSettings) -> TriggerCheck:
    """A champion that an attempt left in place; a few more rows would hardly change the verdict."""
    is_after = known.last_start is not None and known.last_start >= known.champion_since
    days = (
        (known.now - known.last_start).total_seconds() / 86_400
        if known.last_start and is_after else None
    )  # fmt: skip
    return TriggerCheck(
        name="retry", observed=round(days, 3) if days is not None else -1.0,
        threshold=settings.retry_days, is_met=days is not None and days < settings.retry_days,
        sentence=f"An attempt {days:.1f} days ago left this champion in place; without FADING "
        f"{settings.retry_days:g} must pass before another."
        if days is not None else "No attempt of late left this champion in place.",
    )  # fmt: skip


def _poison_sentence(poisoned: Sequence[str]) -> str:
    if not poisoned:
        return "No poison alarm is open."
    return (
        f"A poison alarm is open: {len(poisoned)} deliveries are held because the champion "
        f"disagrees with their labels, the first is {poisoned[0][:12]}. Release or discard it "
        "first."
    )
