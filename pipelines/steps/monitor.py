"""The steps of `sentiment_monitor`: judge new windows, and decide whether to start a retraining."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from pipelines.core.errors import ConfigError, TrustError, concerns_one_record, sentence
from pipelines.core.record import sha256_of
from pipelines.steps.context import Loop, open_loop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.intake.standings import Standing
    from pipelines.monitoring.triggers import Choice, Known
    from pipelines.records.monitoring import AnsweredDay, TriggerDecision, Window
    from pipelines.records.succession import LogEntry

logger = logging.getLogger(__name__)

LOG_SECONDS = 600  # after a day, before its answers are judged


def find_night(before: str | None = None, model: str | None = None) -> str | None:
    """The newest night for which rows count, ``YYYY-MM-DD``; None where no row counts.

    Parameters
    ----------
    before : str, optional
        A night that it must not be later than; by default the last complete day.
    model : str, optional
        Whose sources count.
    """
    from pipelines.core.store import clock

    loop = open_loop("monitor", model)
    last = before or clock.last_complete_day(loop.reviews).isoformat()
    nights = [
        each.outcome.night
        for each in loop.ledger()
        if each.accepted_rows and each.outcome.night <= last
    ]
    return max(nights, default=None)


def watch(night: str | None, model: str | None = None) -> list[str]:
    """Judge the nights up to this one that are not judged yet; returns the new windows' URIs."""
    from pipelines.monitoring import windows

    if night is None:
        logger.info("No row counts yet, so there is nothing to judge.")
        return []
    loop = open_loop("monitor", model)
    judged = windows.judge_new(
        loop.reviews, loop.registry, loop.ledger(), loop.settings, until=night
    )
    if not judged:
        logger.info("Nothing new to judge up to %s.", night)
    return [loop.reviews.uri(window.object_key) for window in judged]


def watch_answers(model: str | None = None) -> list[str]:
    """Judge the days of the prediction log that are over and not judged yet; returns their URIs."""
    from pipelines.core.store import clock
    from pipelines.monitoring import answers

    loop = open_loop("monitor", model)
    log = loop.settings.serving.prediction_log
    if not log.is_enabled:
        logger.info("The prediction log is off, so nobody knows what was asked.")
        return []
    # The last answers of a day are written after its end.
    is_written = clock.now(loop.reviews) - timedelta(seconds=LOG_SECONDS + 2 * log.batch_seconds)
    until = (is_written.date() - timedelta(days=1)).isoformat()
    judged = answers.judge_new(loop.reviews, loop.registry, loop.settings, until=until)
    if not judged:
        logger.info("No new answers up to %s.", until)
    return [loop.reviews.uri(day.object_key) for day in judged]


def answered_days(uris: Sequence[str], model: str | None = None) -> list[AnsweredDay]:
    """What is behind the URIs that `watch_answers` returned."""
    from pipelines.records.monitoring import AnsweredDay

    loop = open_loop("monitor", model)
    return [loop.reviews.get_record(loop.key(uri), AnsweredDay) for uri in uris]


def windows(uris: Sequence[str], model: str | None = None) -> list[Window]:
    """The windows behind the URIs that `watch` returned."""
    from pipelines.records.monitoring import Window

    loop = open_loop("monitor", model)
    return [loop.reviews.get_record(loop.key(uri), Window) for uri in uris]


def decide_trigger(
    night: str | None,
    day: str,
    actor: str,
    operator_reason: str = "",
    model: str | None = None,
) -> str | None:
    """Decide whether to start a retraining; returns the record's URI, None without a champion.

    Parameters
    ----------
    night : str, optional
        The newest night to consider, ``YYYY-MM-DD``.
    day : str
        Of the run, ``YYYY-MM-DD``.
    actor : str
        The run; a repeated task of the same run finds the decision that it made.
    operator_reason : str
        Why a person wants a retraining; empty if none does.
    model : str, optional
        What is retrained.
    """
    from pipelines.core import keys
    from pipelines.monitoring import triggers
    from pipelines.records.monitoring import TriggerDecision

    loop = open_loop("monitor", model)
    key = keys.trigger_key(loop.registry.name, day, _token(actor))
    decision = loop.reviews.find_record(key, TriggerDecision)
    if decision is None:
        champion = loop.registry.log.champion()
        if champion is None:
            logger.info("There is no champion yet, so nothing is watched.")
            return None
        known = _known(loop, champion, night, operator_reason)
        choice = triggers.choose(known, loop.settings.triggers)
        decision = loop.reviews.put_first(
            _record(loop, champion, known, choice, (night, day, actor))
        )
    logger.info("started=%s trigger=%s %s", decision.is_started, decision.trigger, decision.why)
    return loop.reviews.uri(decision.object_key)


def is_started(decision_uri: str | None, model: str | None = None) -> bool:
    """Whether a decision started a retraining."""
    return decision_uri is not None and _read(open_loop("monitor", model), decision_uri).is_started


def reason_of(decision_uri: str, model: str | None = None) -> str:
    """Why a retraining was started, for its run and for the champion log."""
    try:
        decision = read_decision(decision_uri, model)
    except Exception as error:
        # Who asks may have named something that is in neither bucket.
        if not (concerns_one_record(error) or isinstance(error, ConfigError)):
            raise
        logger.warning("cannot tell why this was asked for: %s", sentence(error))
        return "asked for by the monitor; its record cannot be read"
    return f"asked for by the monitor ({decision.trigger}): {decision.why}"[:500]


def read_decision(decision_uri: str, model: str | None = None) -> TriggerDecision:
    """The decision that started a retraining, as that retraining reads it."""
    return _read(open_loop(model=model), decision_uri)


def _read(loop: Loop, decision_uri: str) -> TriggerDecision:
    from pipelines.records.monitoring import TriggerDecision

    decision = loop.reviews.get_record(loop.key(decision_uri), TriggerDecision)
    if decision.model_name != loop.registry.name:
        raise TrustError(f"{decision_uri} is about another model than {loop.registry.name!r}")
    return decision


def _known(loop: Loop, champion: LogEntry, night: str | None, operator_reason: str) -> Known:
    from pipelines.core.store import clock
    from pipelines.monitoring import kept, triggers

    name, settings = loop.registry.name, loop.settings.triggers
    nights = loop.settings.monitoring.window_nights
    ledger, learned, now = loop.ledger(), loop.learned(), clock.now(loop.reviews)
    taught = {part.sha256 for part in learned.partitions} if learned else set()
    counted = {part.sha256: part.rows for each in ledger for part in each.accepted}
    began = loop.registry.log.began(champion)
    return triggers.Known(
        windows=tuple(
            kept.newest_windows(loop.reviews, name, night, settings.windows, nights=nights)
        )
        if night
        else (),
        generation=began.generation,
        new_rows=sum(rows for part, rows in counted.items() if part not in taught),
        champion_since=clock.read(began.at) or now,
        now=now,
        last_start=kept.last_start(loop.reviews, name, now, triggers.remembered(settings)),
        poisoned=tuple(_poisoned(loop, ledger)),
        operator_reason=operator_reason,
    )


def _poisoned(loop: Loop, ledger: Sequence[Standing]) -> list[str]:
    """Deliveries of the newest nights that are held because of their labels."""
    from pipelines.intake.landing import checked_night
    from pipelines.monitoring import triggers
    from pipelines.records.validations import Validation

    if not ledger:
        return []
    nights = timedelta(days=loop.settings.triggers.poison_nights - 1)
    newest = max(each.outcome.counted_in for each in ledger)
    first = (checked_night(newest) - nights).isoformat()
    held = [
        each for each in ledger if each.verdict == "HELD" and each.outcome.counted_in >= first
    ]  # fmt: skip
    return [
        each.outcome.delivery
        for each in held
        if triggers.is_poison_alarm(loop.reviews.get_record(each.validation_key, Validation))
    ]


def _record(
    loop: Loop,
    champion: LogEntry,
    known: Known,
    choice: Choice,
    run: tuple[str | None, str, str],
) -> TriggerDecision:
    from pipelines.core.store import clock
    from pipelines.records.monitoring import TriggerDecision

    night, day, actor = run
    return TriggerDecision(
        model_name=loop.registry.name,
        day=day,
        night=night,
        token=_token(actor),
        actor=actor,
        champion_generation=champion.generation,
        champion_version=champion.version,
        windows=tuple(window.digest() for window in known.windows),
        checks=choice.checks,
        vetoes=choice.vetoes,
        trigger=choice.trigger,
        is_started=choice.is_started,
        why=choice.why,
        at=clock.written(known.now),
    )


def _token(actor: str) -> str:
    return sha256_of(actor.encode("utf-8", "backslashreplace"))
