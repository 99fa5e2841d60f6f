"""The steps that check how a run ended and notify people. They change nothing else.

Each reads the stores, which are authoritative, and not only the states of tasks. Repeating a step
reports nothing twice.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.alerts import messages
from pipelines.alerts.alert import Alert, Run
from pipelines.core import config, links
from pipelines.core.errors import DeliveryHeldError, TrustError, concerns_one_record, sentence
from pipelines.steps.context import Loop, open_loop

if TYPE_CHECKING:
    from pipelines.alerts.notifier import Notifier
    from pipelines.alerts.records import Attempt
    from pipelines.core.grants import Role
    from pipelines.core.store.bucket import Bucket
    from pipelines.records.deliveries import NightSummary, Receipt
    from pipelines.records.succession import LogEntry
    from pipelines.records.validations import Validation

logger = logging.getLogger(__name__)

MAX_HELD_ALERTS = 5  # per night; one more alert counts the others. Poison alarms: all

_RUNBOOK = re.compile(r"docs/runbooks/[a-z-]+\.md")
BAKE_ACTOR = "bake"  # in the champion log

# Tasks, by how their names begin, that held, missing and unfinished deliveries turn red.
_RED_BY_DELIVERIES = ("delivery.", "check_night")


def alert_night(run: Run, night: str, landing_uris: Sequence[str] | None) -> None:
    """Report what a night left behind: held, missing and unfinished deliveries.

    Parameters
    ----------
    run : Run
        That ingested the night.
    night : str
        ``YYYY-MM-DD``.
    landing_uris : sequence of str, optional
        The files that were due; None when that is unknown.
    """
    _look(run, lambda loop: night_alerts(loop, run, night, landing_uris), "ingest")


def alert_retrain(run: Run) -> None:
    """Report that a retraining failed, or that a champion was put back."""
    _look(run, lambda loop: run_alerts(loop, run), "retrain")


def alert_rollback(run: Run) -> None:
    """Report that a champion was put back, or that the rollback failed."""
    _look(run, lambda loop: run_alerts(loop, run), "retrain")


def alert_release(run: Run) -> None:
    """Report that a release failed."""
    _look(run, lambda _loop: failed_alerts(run), "retrain")


def alert_monitor(run: Run) -> None:
    """Report that the champion fades or the reviews changed, or that the monitor failed."""
    _look(run, lambda loop: monitor_alerts(loop, run), "monitor")


def alert_replay(run: Run) -> None:
    """Report that a replay failed."""
    _look(run, lambda _loop: failed_alerts(run), "ingest")


def alert_housekeeping(run: Run) -> None:
    """Report that housekeeping failed."""
    _look(run, lambda _loop: failed_alerts(run), "housekeeping")


def alert_failed_run(run: Run, why: str) -> None:
    """Report a failed run whose own alert task could not report it."""
    from pipelines.alerts import records

    if not (notifier := _notifier()).is_on:
        return
    try:
        if records.has_looked(notifier.reviews, run):
            return
    except Exception as error:  # noqa: BLE001 - notify people all the same
        logger.warning("cannot tell whether %s was checked: %s", run.run_id, sentence(error))
    notifier.notify(messages.failed_run(run, _airflow_url(), why))


def where_to_look(run: Run, error: object) -> list[tuple[str, str]]:
    """Names and addresses of the pages on a failed task; none where Airflow's is not known."""
    pages = [("Run report", links.report_of_run_link(run.dag_id, run.run_id))]
    if isinstance(error, DeliveryHeldError):
        pages.append(("Incident", links.incidents_link(error.delivery)))
    named = dict.fromkeys(_RUNBOOK.findall(str(error)))
    pages += [("What to do", links.runbook_link(path)) for path in named]
    url = _airflow_url()
    return [(name, page) for name, link in pages if (page := links.address(url, link))]


def alert_late(run: Run, minutes: float) -> None:
    """Report that a run takes too long, unless it only waits for a person."""
    from pipelines.alerts import records

    if not (notifier := _notifier()).is_on:
        return
    question = Alert(
        kind="approval_waiting", identity=messages.approval_key(run), title="", sentences=()
    )
    try:
        if records.was_reported(notifier.reviews, question.key):
            logger.info("run=%s is not late: it waits for a person", run.run_id)
            return
    except Exception as error:  # noqa: BLE001 - notify people all the same
        logger.warning("cannot tell whether %s waits for a person: %s", run.run_id, sentence(error))
    notifier.notify(messages.late(run, minutes, _airflow_url()))


def alert_waiting(run: Run, decision_uri: str) -> None:
    """Report that a model waits for a person. A failure here does not stop the question.

    It is called just before the question opens, so that the run can be answered once it waits.
    """
    from pipelines.steps import context

    try:
        if not (notifier := _notifier()).is_on:
            return
        decision = context.read_decision(decision_uri)
        hours = config.load().approval.timeout_hours
        alert = messages.waiting(
            decision.version, decision.why, hours, run, _airflow_url(),
            decision_key=decision.object_key,
        )  # fmt: skip
        notifier.notify(alert)
    except Exception as error:  # noqa: BLE001 - the question must be asked
        logger.warning("could not report that the run waits for a person: %s", sentence(error))


def alert_bake(run: Run, generation: int, why: str) -> None:
    """Report that a bake ended without a verdict. A failure here does not change the task's end."""
    try:
        if not (notifier := _notifier()).is_on:
            return
        entry = open_loop().registry.log.entry(generation)
        notifier.notify(messages.bake_inconclusive(entry, why, run, _airflow_url()))
    except Exception as error:  # noqa: BLE001 - the task turns red all the same
        logger.warning("could not report that the bake has no verdict: %s", sentence(error))


# ── What to report ───────────────────────────────────────────────────────────────────────────


def night_alerts(
    loop: Loop, run: Run, night: str, landing_uris: Sequence[str] | None
) -> Iterator[Alert]:
    """One alert per held delivery and silent source, and one for all that were not processed.

    A run that is red for any other reason is reported as failed.
    """
    from pipelines.intake import nights

    url = _airflow_url()
    summary = nights.night_summary(loop.reviews, night, loop.settings.sources)
    incidents = [*_named_or_counted(list(_held_alerts(loop, summary, run)), night, run)]
    incidents += [
        messages.missing(source, nights.sentence(source), run, url) for source in summary.missing
    ]
    incidents += _unfinished_alerts(loop, summary, run, landing_uris)
    if summary.for_people:
        incidents.append(messages.set_aside(summary, run, url))
    yield from incidents
    if not _is_explained(run, incidents):
        yield messages.failed_run(run, url)


def _named_or_counted(held: Sequence[Alert], night: str, run: Run) -> Iterator[Alert]:
    """Every poison alarm, a few of the other held deliveries, and a count of the rest."""
    alarms = [alert for alert in held if alert.kind == "poison_alarm"]
    others = [alert for alert in held if alert.kind != "poison_alarm"]
    room = max(MAX_HELD_ALERTS - len(alarms), 0)
    yield from (*alarms, *others[:room])
    if counted := [alert.key for alert in others[room:]]:
        yield messages.more_held(counted, night, run, _airflow_url())


def _unfinished_alerts(
    loop: Loop, summary: NightSummary, run: Run, landing_uris: Sequence[str] | None
) -> Iterator[Alert]:
    night, url = summary.night, _airflow_url()
    if landing_uris is None:
        why = "It is unknown which files were due."
        yield messages.unfinished(night, (), why, run, url)
        return
    if summary.unreadable:
        why = f"{len(summary.unreadable)} receipts cannot be read: their files may be unfinished."
        yield messages.unfinished(night, summary.unreadable, why, run, url)
        return
    dealt_with = {loop.reviews.uri(receipt.landing_key) for receipt in summary.receipts}
    if unfinished := [uri for uri in landing_uris if uri not in dealt_with]:
        why = f"{len(unfinished)} of {len(landing_uris)} deliveries were not processed."
        yield messages.unfinished(night, unfinished, why, run, url)


def _is_explained(run: Run, incidents: Sequence[Alert]) -> bool:
    """Whether what is reported of its deliveries explains every red task of the run."""
    explained = _RED_BY_DELIVERIES if incidents else ()
    return all(name.startswith(explained) for name in run.failed_tasks)


def _held_alerts(loop: Loop, summary: NightSummary, run: Run) -> Iterator[Alert]:
    for receipt in summary.receipts:
        if receipt.verdict == "HELD":
            yield from _held_alert(loop.reviews, receipt, run)


def _held_alert(reviews: Bucket, receipt: Receipt, run: Run) -> Iterator[Alert]:
    """At most one alert; a damaged record of this delivery is reported and hides no other."""
    from pipelines.core import keys
    from pipelines.intake import standings

    try:
        standing = standings.find(reviews, receipt.delivery)
    except Exception as error:
        if not concerns_one_record(error):
            raise
        yield messages.unreadable(receipt, sentence(error), run, _airflow_url())
        return
    if standing is None or standing.verdict != "HELD":
        return
    key = standing.validation_key
    report = reviews.uri(keys.report_key(key))
    validation = _find_validation(reviews, key)
    yield messages.held(standing.outcome, validation, report, run, _airflow_url())


def _find_validation(reviews: Bucket, key: str) -> Validation | None:
    from pipelines.records.validations import Validation

    try:
        return reviews.find_record(key, Validation)
    except Exception as error:
        if not concerns_one_record(error):
            raise
        logger.warning("the held delivery is reported without its validation: %s", sentence(error))
        return None


def run_alerts(loop: Loop, run: Run) -> Iterator[Alert]:
    """A failed run, and a broken champion log or a rollback.

    If only the bake failed, what came of it is reported instead: a rollback, or no verdict.
    """
    name = loop.settings.model.name
    if not (is_only_bake := run.failed_tasks == ("bake",)):
        yield from failed_alerts(run)
    try:
        history = loop.registry.log.history()
    except TrustError as error:
        yield messages.broken_log(name, str(error), run, _airflow_url())
        return
    changes = [entry for entry in history if entry.changes_champion]
    if is_only_bake and not _is_explained_by_bake(loop, run, changes):
        yield from failed_alerts(run)
    if changes and changes[-1].kind == "rollback":
        yield messages.put_back(changes[-1], run, _airflow_url())


def _is_explained_by_bake(loop: Loop, run: Run, changes: Sequence[LogEntry]) -> bool:
    from pipelines.alerts import records

    newest = changes[-1] if changes else None
    if newest is None or newest.kind == "rollback":
        return newest is not None and newest.actor == BAKE_ACTOR
    reported = messages.bake_inconclusive(newest, "", run, "")
    return records.was_reported(loop.reviews, reported.key)


MOST_BAD_NIGHTS = 30  # on end; after so many everybody knows


def monitor_alerts(loop: Loop, run: Run) -> Iterator[Alert]:
    """A failed run, and the newest window if it is bad: once for all bad nights on end."""
    from pipelines.core.store import clock
    from pipelines.monitoring import kept

    yield from failed_alerts(run)
    today = clock.now(loop.reviews).date().isoformat()
    newest = kept.newest_windows(loop.reviews, loop.registry.name, today, MOST_BAD_NIGHTS)
    if not newest or newest[0].verdict not in {"FADING", "DRIFT"} or newest[0].is_provisional:
        return
    alike = list(itertools.takewhile(lambda each: each.verdict == newest[0].verdict, newest))
    if len(alike) < MOST_BAD_NIGHTS:
        yield messages.watched(newest[0], alike[-1].night, run, _airflow_url())


def failed_alerts(run: Run) -> Iterator[Alert]:
    if run.failed_tasks:
        yield messages.failed_run(run, _airflow_url())


# ── How it is reported ───────────────────────────────────────────────────────────────────────


def _look(run: Run, find: Callable[[Loop], Iterator[Alert]], role: Role) -> None:
    """Send what earlier runs could not send, then report what ``find`` yields.

    If that fails, the failure is an incident of its own.
    """
    from pipelines.alerts import records

    if not (notifier := _notifier()).is_on:
        logger.info("Alerts are off: [alerts] in the configuration switches them on.")
        return
    try:
        notifier.sweep()
    except Exception as error:  # noqa: BLE001 - this run must still be reported
        logger.warning("unsent alerts of earlier runs remain unsent: %s", sentence(error))
    try:
        for alert in find(open_loop(role)):
            notifier.notify(alert)
        records.mark_looked(notifier.reviews, run)
    except Exception as error:  # noqa: BLE001 - an incident, whatever it is
        logger.warning("cannot check how the run ended: %s", sentence(error))
        notifier.notify(messages.unseen_run(run, _airflow_url(), sentence(error)))


def every_alert() -> list[dict[str, Any]]:
    """The newest attempt to send each incident by each channel, for people and for machines."""
    from pipelines.alerts import records

    reviews = open_loop(None).reviews
    return [_line(reviews, attempt) for attempt in records.attempts(reviews)]


def _line(reviews: Bucket, attempt: Attempt) -> dict[str, Any]:
    """One line of the list; an unreadable record shows its error in place of its content."""
    from pipelines.alerts import records

    facts: dict[str, Any] = {"kind": "unreadable", "severity": "", "runbook": ""}
    try:
        alert = records.read_alert(reviews, attempt.incident)
        facts = {"kind": alert.kind, "severity": alert.severity, "runbook": alert.runbook}
        title = alert.title
    except Exception as error:
        if not concerns_one_record(error):
            raise
        title = sentence(error)
    try:
        why = records.why_failed(reviews, attempt)
    except Exception as error:
        if not concerns_one_record(error):
            raise
        why = sentence(error)
    return facts | {
        "incident": attempt.incident,
        "title": title,
        "channel": attempt.channel,
        "state": attempt.state,
        "attempts": attempt.number,
        "why": why,
    }


def _notifier() -> Notifier:
    from pipelines.alerts import notifier

    return notifier.open_notifier(config.load(), os.environ)


def _airflow_url() -> str:
    return config.load().alerts.airflow_url
