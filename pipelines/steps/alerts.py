"""The steps that check how a run ended and notify people. They change nothing else.

Each reads the stores, which are authoritative, and not only the states of tasks. Repeating a step
reports nothing twice.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.alerts import messages
from pipelines.alerts.alert import Alert, Run
from pipelines.core import config, links
from pipelines.core.errors import DeliveryHeldError, concerns_one_record, sentence
from pipelines.steps import incidents
from pipelines.steps.context import Loop, open_loop

if TYPE_CHECKING:
    from pipelines.alerts.notifier import Notifier
    from pipelines.alerts.records import Attempt
    from pipelines.core.grants import Role
    from pipelines.core.store.bucket import Bucket

logger = logging.getLogger(__name__)


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
    _look(run, lambda loop: incidents.night_alerts(loop, run, night, landing_uris), "ingest")


def alert_retrain(run: Run) -> None:
    """Report that a retraining failed, or that a champion was put back."""
    _look(run, lambda loop: incidents.run_alerts(loop, run), "retrain")


def alert_rollback(run: Run) -> None:
    """Report that a champion was put back, or that the rollback failed."""
    _look(run, lambda loop: incidents.run_alerts(loop, run), "retrain")


def alert_release(run: Run) -> None:
    """Report that a release failed."""
    _look(run, lambda loop: incidents.failed_alerts(loop, run), "retrain")


def alert_monitor(run: Run) -> None:
    """Report that the champion fades or the reviews changed, or that the monitor failed."""
    _look(run, lambda loop: incidents.monitor_alerts(loop, run), "monitor")


def alert_replay(run: Run) -> None:
    """Report that a replay failed."""
    _look(run, lambda loop: incidents.failed_alerts(loop, run), "ingest")


def alert_housekeeping(run: Run) -> None:
    """Report that housekeeping failed."""
    _look(run, lambda loop: incidents.failed_alerts(loop, run), "housekeeping")


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
    named = dict.fromkeys(links.RUNBOOK.findall(str(error)))
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


def alert_waiting(run: Run, decision_uri: str, model: str | None = None) -> None:
    """Report that a model waits for a person. A failure here does not stop the question.

    It is called just before the question opens, so that the run can be answered once it waits.
    """
    from pipelines.steps import context

    try:
        if not (notifier := _notifier()).is_on:
            return
        decision = context.read_decision(decision_uri, model)
        hours = context.settings_of(model).approval.timeout_hours
        alert = messages.waiting(
            decision.version, decision.why, hours, run, _airflow_url(),
            decision_key=decision.object_key, is_first=decision.champion_version is None,
            of=context.one_of_several(decision.model_name),
        )  # fmt: skip
        notifier.notify(alert)
    except Exception as error:  # noqa: BLE001 - the question must be asked
        logger.warning("could not report that the run waits for a person: %s", sentence(error))


def alert_bake(run: Run, generation: int, why: str, model: str | None = None) -> None:
    """Report that a bake ended without a verdict. A failure here does not change the task's end."""
    try:
        if not (notifier := _notifier()).is_on:
            return
        entry = open_loop(model=model).registry.log.entry(generation)
        notifier.notify(messages.bake_inconclusive(entry, why, run, _airflow_url()))
    except Exception as error:  # noqa: BLE001 - the task turns red all the same
        logger.warning("could not report that the bake has no verdict: %s", sentence(error))


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
        for alert in find(open_loop(role, config.load().model_of(run.dag_id))):
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
