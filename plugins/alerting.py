"""How Airflow has alerts sent: a last task, a backstop when a run failed, and a deadline.

All of them may report the same incident. It is sent once: see `pipelines.alerts.notifier`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any

from airflow.sdk import task
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from pipelines.alerts.alert import Run
from pipelines.alerts.run_errors import described
from pipelines.steps import alerts

logger = logging.getLogger(__name__)

_FAILED, _BACKFILL = "failed", "backfill"
_ERROR = "error"  # an XCom of a failed task


def alert_task(look: Callable[..., None], *inputs: Any) -> Any:
    """The last task of a run: check how it ended, and notify people.

    It is a teardown without a setup. So it runs whatever happened before, also when somebody marks
    the run as failed, and the run is as red or green as it would be without it.
    """

    @task(task_id="alert", task_display_name="Alert people once")
    def alert(given: list[Any], ti: Any = None) -> None:
        failed = _failed_tasks(ti)
        errors = _errors(ti, failed) if failed else ()
        look(Run(dag_id=ti.dag_id, run_id=ti.run_id, failed_tasks=failed, errors=errors), *given)

    return alert(list(inputs)).as_teardown(on_failure_fail_dagrun=False)


def _failed_tasks(ti: Any) -> tuple[str, ...]:
    states = ti.get_task_states(ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
    return tuple(sorted(name for name, state in states.items() if state == _FAILED))


def _errors(ti: Any, failed: tuple[str, ...]) -> tuple[str, ...]:
    """What failed tasks raised, in the order of the DAG, as `say_where` left it."""
    found: list[Any] = []
    for task_id in ti.task.dag.task_ids:
        is_mapped = re.compile(rf"{re.escape(task_id)}(_\d+)?")
        if not any(map(is_mapped.fullmatch, failed)):
            continue
        try:
            left = ti.xcom_pull(task_ids=task_id, key=_ERROR)
        except Exception as error:  # noqa: BLE001 - the run is reported all the same
            logger.warning("cannot read what %s raised: %s", task_id, type(error).__name__)
            continue
        found += left if isinstance(left, list) else [left]
    return tuple(each for each in found if isinstance(each, str))


def alert_failed_run(context: Any) -> None:
    """Backstop of a failed run, called by the dag-processor: no worker is needed for it."""
    dag = context["dag"]
    run = Run(dag_id=dag.dag_id, run_id=context["run_id"])
    alerts.alert_failed_run(run, f"Airflow says: {context.get('reason', '')}")


def say_where(context: Any) -> None:
    """Write into the log of a failed task where to look, and leave its error to `alert`.

    Called in the process of the task. Where that was killed, its error is not known.
    """
    try:
        context["ti"].xcom_push(key=_ERROR, value=described(context["exception"]))
    except Exception as error:  # noqa: BLE001 - the alert then names the task alone
        logger.warning("the alert will not name the error: %s", type(error).__name__)
    run = Run(dag_id=context["dag"].dag_id, run_id=context["run_id"])
    for name, url in alerts.where_to_look(run, context.get("exception")):
        logger.error("%s: %s", name, url)


async def alert_late(minutes: float, context: Any = None) -> None:
    """Called by the triggerer when a run's time is up: no worker is needed for it, either."""
    dag_run = context["dag_run"]
    if dag_run["state"] in {"success", _FAILED}:
        return  # it ended; a failure was already reported
    if dag_run["run_type"] == _BACKFILL:
        return  # all its nights are queued at once and wait for each other
    run = Run(dag_id=dag_run["dag_id"], run_id=dag_run["dag_run_id"])
    await asyncio.to_thread(alerts.alert_late, run, minutes)


def late_after(minutes: float) -> DeadlineAlert:
    """Report a run as late, so many minutes after it was queued."""
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        # Seconds, which Airflow takes, too: 3.3.2 cannot clear a run with a timedelta here.
        interval=minutes * 60,  # type: ignore[arg-type]
        name="late",
        callback=AsyncCallback(alert_late, kwargs={"minutes": minutes}),
    )
