"""### Put an older champion back

#### When it runs

By hand only. It is a **dry run unless you say otherwise**: `plan_rollback` then shows in its log
which version would be put back, and nothing is changed.

#### What it does

Find the former champion and prove that its files are whole and load (`plan_rollback`), append it
to the champion log (`apply_rollback`), and check that consumers get exactly that model
(`confirm`). The version that is rolled back cannot be promoted again until somebody releases it:
`python -m pipelines champion release`. Where `[alerts]` is configured, `alert` tells people.

#### When it is red

Nothing was put back, or consumers would not get what was put back: then `confirm` is red.

#### How to rerun

Any task at any time: a plan is carried out once. A plan that a promotion overtook fails and does
nothing; start a new run.

#### Runbook

`docs/runbooks/rollback.md`.
"""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.sdk import Param, dag, task
from alerting import alert_failed_run, alert_task
from loop_defaults import DEFAULT_ARGS, named
from succession import CHAMPION, check_and_remember, confirm

from pipelines.steps import alerts, rollback

ACTOR = "airflow {{ dag.dag_id }} {{ run_id }}"


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    on_failure_callback=alert_failed_run,
    doc_md=__doc__,
    description="Put an older champion back, with a reason.",
    tags=["sentiment", "owner:ml-platform", "tier:1"],
    params={
        "to": Param(
            "previous",
            type="string",
            pattern="^(previous|[0-9a-f]{20})$",
            title="Version",
            description="A former champion's version (20 hex digits), or: previous.",
        ),
        "reason": Param(
            type="string",
            minLength=5,
            maxLength=500,
            title="Reason",
            description="Kept in the champion log for good. Whoever reads it later will ask.",
        ),
        "dry_run": Param(
            True,
            type="boolean",
            title="Dry run",
            description="Only show what would be done. Switch it off to do it.",
        ),
    },
)
def sentiment_rollback() -> None:
    @named("Plan the rollback", inlets=[CHAMPION])
    def plan_rollback(params: dict[str, Any] | None = None, asset_state_store: Any = None) -> str:
        check_and_remember(asset_state_store)
        chosen = params or {}
        return rollback.plan_rollback(chosen["to"], chosen["reason"])

    @task.short_circuit(task_display_name="Is it for real, or a dry run?")
    def is_for_real(params: dict[str, Any] | None = None) -> bool:
        return not (params or {})["dry_run"]

    planned = plan_rollback()
    applied = named("Apply the rollback")(rollback.apply_rollback)(planned, ACTOR)
    planned >> is_for_real() >> applied
    confirmed = named("Confirm what consumers get", inlets=[CHAMPION])(confirm)(applied)
    confirmed >> alert_task(alerts.alert_rollback)


sentiment_rollback()
