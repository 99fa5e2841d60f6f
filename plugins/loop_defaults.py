"""What all DAGs of the loop share: retries by kind of error, the night of a run, the assets."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

import pendulum
from airflow.configuration import conf
from airflow.sdk import (
    Asset,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    ExceptionRetryPolicy,
    Param,
    RetryAction,
    RetryRule,
    dag,
    get_current_context,
    get_parsing_context,
    task,
)
from alerting import alert_failed_run, say_where

from pipelines.core import config
from pipelines.core.errors import PermanentError
from pipelines.core.links import runbook_link
from pipelines.core.settings.settings import FIRST, Settings
from pipelines.core.store.clock import day_before
from pipelines.steps.context import settings_of

if TYPE_CHECKING:
    from airflow.sdk.bases.decorator import Task

OWNER = "ml-platform"

_BASE = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
_RUNBOOK = re.compile(r"`(docs/runbooks/[a-z-]+\.md)`")

Inputs = ParamSpec("Inputs")
Result = TypeVar("Result")

# Rows were accepted: there is something new to train on. The ledger in S3 is the truth; this event
# only says when to look, so a lost or repeated event does no harm.
ACCEPTED = Asset(name="reviews_accepted", uri="s3://reviews/accepted")


def wanted_of(model: str | None = None) -> Asset:
    """The event of a model's monitor that asks for a retraining.

    As above, what counts is the record that the event names: who sends an event of his own starts
    an attempt, which the gate judges like any other.
    """
    dags = settings_of(model).dags
    place = "monitoring" if dags == FIRST else f"monitoring/{dags}"
    return Asset(name=f"{dags}_retraining_wanted", uri=f"s3://reviews/{place}/triggers")


def models_to_parse() -> tuple[str, ...]:
    """The models whose DAGs a file is to define: all, or the one whose task a worker starts.

    Each task parses its file again. So one of many models does not wait for the DAGs of the others.
    """
    settings, started = config.load(), get_parsing_context().dag_id
    model = settings.model_of(started) if started else None
    return settings.model_names if model is None else (model,)


def starts(settings: Settings, wanted: Asset) -> Any:
    """What starts a retraining: new reviews, the monitor, and the times of its own schedule."""
    assets = (ACCEPTED | wanted) if settings.triggers.on_new_reviews else [wanted]
    if not settings.model.schedule:
        return assets
    times = CronTriggerTimetable(settings.model.schedule, timezone="UTC")
    return AssetOrTimeSchedule(timetable=times, assets=assets)


RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception="pipelines.core.errors.PermanentError",
            action=RetryAction.FAIL,
            reason="a retry would give the same answer",
        ),
        RetryRule(
            exception="pipelines.core.errors.TransientError",
            action=RetryAction.RETRY,
            retry_delay=timedelta(seconds=30),
            reason="the store or the champion may answer differently in a moment",
        ),
    ]
)

DEFAULT_ARGS: dict[str, Any] = {
    "owner": OWNER,
    "retries": 3,
    "retry_delay": timedelta(seconds=30),
    "retry_policy": RETRY_POLICY,
    "execution_timeout": timedelta(hours=1),
    "on_failure_callback": [say_where],  # a list, as mapped tasks hand it on as it is
}


# Who did it, as the ledger and the champion log name a run: the person who started it, if any, and
# the run. `links.actor` reads it.
ACTOR = (
    "{{ dag_run.triggering_user_name ~ ' on ' if dag_run.triggering_user_name else '' }}"
    "airflow {{ dag.dag_id }} {{ run_id }}"
)

# The name of a mapped task in Airflow's pages: the file that it is about, without its bucket.
FILE = (
    "{% set due = ti.xcom_pull(task_ids='find_deliveries', map_indexes=-1) %}"
    "{{ due[ti.map_index].partition('/landing/')[2][:200] if due else ti.map_index }}"
)

# The same of a task that does a share of the work, as another shared it out: "2 of 3".
_SHARE = "{{ ti.map_index + 1 }} of {{ (ti.xcom_pull(task_ids='%s') or [0]) | length }}"
SHARE, SHARE_TO_SCORE = _SHARE % "has_work", _SHARE % "train"


def loop_dag(
    subject: str, *, schedule: Any, **options: Any
) -> Callable[[Callable[[], None]], Callable[[], Any]]:
    """`dag` with the options that all DAGs of the loop share; ``options`` override them.

    Parameters
    ----------
    subject : str
        The first tag: "reviews", or what the ids of a model's DAGs begin with.
    schedule, options
        As `airflow.sdk.dag` takes them.
    """
    shared: dict[str, Any] = {
        "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"),
        "catchup": False,
        "max_active_runs": 1,
        "default_args": DEFAULT_ARGS,
        "on_failure_callback": alert_failed_run,
        "tags": [subject, f"owner:{OWNER}", "tier:1"],
    }
    if (
        schedule is None
    ):  # only a person starts it, perhaps at night: it must not wait to be unpaused
        shared["is_paused_upon_creation"] = False
    manual = with_links(manual_of(subject, str(options.pop("doc_md"))))
    return dag(schedule=schedule, doc_md=manual, **shared | options)


def manual_of(subject: str, manual: str) -> str:
    """A DAG's manual as that of another model's, which has DAGs of its own."""
    if subject in {"reviews", FIRST}:
        return manual
    about_another = manual.replace("the sentiment classifier", f"the model `{subject}`")
    return about_another.replace(f"{FIRST}_", f"{subject}_")


def with_links(manual: str) -> str:
    """A DAG's manual in which the names of runbooks lead to their pages."""
    return _RUNBOOK.sub(lambda match: f"[{match[1]}]({_BASE}{runbook_link(match[1])})", manual)


def reason_param(kept_in: str) -> Param:
    """The form's field for why a person does something."""
    return Param(
        type="string",
        minLength=5,
        maxLength=500,
        title="Reason",
        description=f"Kept permanently in the {kept_in}. People who read it later will need it.",
    )


def dry_run_param() -> Param:
    """The form's switch between a dry run, the default, and the real thing."""
    return Param(
        True,
        type="boolean",
        title="Dry run",
        description="Only show what would be done. Switch it off to do it.",
    )


def asked_by(events: Any, wanted: Asset) -> str | None:
    """The URI of the decision that asked for a run, from the asset events that started it."""
    asking = [event for event in (events or {}).get(wanted, ()) if event is not None]
    uris = [(event.extra or {}).get("decision") for event in asking]
    return next((uri for uri in reversed(uris) if isinstance(uri, str)), None)


def export_task(step: Callable[..., None], *given: Any) -> Any:
    """A task for an export, where one is configured: it can neither fail nor hold up its run.

    As the task that alerts it is a teardown without a setup, so the run's state is that of others.
    """

    @task(task_id="export", task_display_name="Export to other tools")
    def export(given: list[Any]) -> None:
        step(*given)

    return export(list(given)).as_teardown(on_failure_fail_dagrun=False)


@task.short_circuit(task_display_name="Is it for real, or a dry run?")
def is_for_real(params: dict[str, Any] | None = None) -> bool:
    return not (params or {})["dry_run"]


def for_real(step: Callable[Inputs, Result]) -> Callable[Inputs, Result]:
    """A step that refuses to act in a dry run, whoever marked the task that asks as successful."""

    @functools.wraps(step)
    def act(*given: Inputs.args, **by_name: Inputs.kwargs) -> Result:
        if get_current_context()["params"]["dry_run"]:
            raise PermanentError(
                "this run is a dry run, so nothing was changed. To change something, start another "
                "run, with Dry run switched off"
            )
        return step(*given, **by_name)

    return act


def named(
    display_name: str, *, is_large: bool = False, **options: Any
) -> Callable[[Callable[Inputs, Result]], Task[Inputs, Result]]:
    """`task` with a display name: a sentence that starts with the verb of the task's id.

    A large one decodes, featurizes, learns or scores, and asks Kubernetes for a larger pod, if one
    is configured; other executors do not look at that. The configuration is read by the DAG's file,
    not by this module: Airflow imports plugins once, and its children would keep the old settings.
    """
    template = config.load().workers.large_pod_template if is_large else ""
    if template:
        options["executor_config"] = {"pod_template_file": template}
    return task(task_display_name=display_name, **options)


def night_of(dag_run: Any) -> str:
    """The day whose deliveries a run ingests whose form names none.

    A scheduled or backfilled run of 02:00 covers the day its interval starts on. A run by hand, by
    REST or by an asset takes the last complete day, as the command `ingest` does: it has no
    interval, or the last one that Airflow found to have ended before its date.
    """
    start, end = dag_run.data_interval_start, dag_run.data_interval_end
    at = dag_run.logical_date or dag_run.run_after
    is_by_hand = start is None or timedelta(0) <= at - end < timedelta(days=1)
    return (day_before(at) if is_by_hand else start.date()).isoformat()


# Its DAG has the macro `night_of`.
NIGHT = "{{ params.night or night_of(dag_run) }}"
