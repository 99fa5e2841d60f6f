"""What all DAGs of the loop share: retries by kind of error, the night of a run, the asset."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, ExceptionRetryPolicy, RetryAction, RetryRule

OWNER = "ml-platform"

# Rows were accepted: there is something new to train on. The ledger in S3 is the truth; this event
# only says when to look, so losing or doubling one loses and doubles nothing.
ACCEPTED = Asset(name="reviews_accepted", uri="s3://reviews/accepted")

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception="pipelines.errors.PermanentError",
            action=RetryAction.FAIL,
            reason="a retry would give the same answer",
        ),
        RetryRule(
            exception="pipelines.errors.TransientError",
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

# The day whose deliveries are complete. A scheduled or backfilled run of 02:00 covers the day its
# interval starts on. Runs by REST or by an asset may have no interval at all: they take the last
# complete day before they run, as a run from the form does.
NIGHT = (
    "{{ params.night or ((data_interval_start if data_interval_start is defined and "
    "data_interval_start else dag_run.run_after - macros.timedelta(hours=26)) | ds) }}"
)
