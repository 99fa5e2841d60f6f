"""What all DAGs of the loop share: retries by kind of error, the night of a run, the asset."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from airflow.sdk import Asset, ExceptionRetryPolicy, RetryAction, RetryRule, task

if TYPE_CHECKING:
    from airflow.sdk.bases.decorator import Task

OWNER = "ml-platform"

Inputs = ParamSpec("Inputs")
Result = TypeVar("Result")

# Rows were accepted: there is something new to train on. The ledger in S3 is the truth; this event
# only says when to look, so losing or doubling one loses and doubles nothing.
ACCEPTED = Asset(name="reviews_accepted", uri="s3://reviews/accepted")

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
}


def named(
    display_name: str, **options: Any
) -> Callable[[Callable[Inputs, Result]], Task[Inputs, Result]]:
    """`task`, shown under a name that reads as a sentence and starts as the task's id does."""
    return task(task_display_name=display_name, **options)


# The day whose deliveries are complete. A scheduled or backfilled run of 02:00 covers the day its
# interval starts on. Runs by REST or by an asset may have no interval at all: they take the last
# complete day before they run, as a run from the form does.
NIGHT = (
    "{{ params.night or ((data_interval_start if data_interval_start is defined and "
    "data_interval_start else dag_run.run_after - macros.timedelta(hours=26)) | ds) }}"
)
