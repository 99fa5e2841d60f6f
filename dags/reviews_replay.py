"""### Look again at rows that do not count

#### When it runs

By hand only. It is a **dry run unless you say otherwise**: `plan_replay` then says in its log what
would become of how many rows, and nothing is changed.

#### What it does

To a held delivery, or to quarantined rows of another one:

- `revalidate`: judge them by today's rules, for when a rule or a limit was wrong and was mended.
- `release`: let them count although a rule says no. What breaks a row rule in a held delivery
  goes to quarantine all the same.
- `discard`: give them up for good.

The replay is added to the delivery's own ledger with the reason and who did it (`apply_replay`). If
rows count that did not before, the retraining starts (`announce`). If it fails, `alert` tells
people, where `[alerts]` is configured.

#### When it is red

The replay was not done: the delivery cannot be released, or another replay overtook this one. The
error says which.

#### How to rerun

Any task at any time: a plan is carried out once. A plan that another replay overtook fails and does
nothing; start a new run.

#### Runbook

`docs/runbooks/replay.md`.
"""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.sdk import Param, dag, task
from alerting import alert_failed_run, alert_task
from loop_defaults import ACCEPTED, DEFAULT_ARGS, named

from pipelines.steps import alerts, replay

ACTOR = "airflow {{ dag.dag_id }} {{ run_id }}"


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    on_failure_callback=alert_failed_run,
    doc_md=__doc__,
    description="Release, revalidate or discard rows that do not count.",
    tags=["reviews", "owner:ml-platform", "tier:1"],
    params={
        "delivery": Param(
            type="string",
            pattern="^[0-9a-f]{64}$",
            title="Delivery",
            description="Its sha256 (64 hex digits); the error and the report of the night say it.",
        ),
        "action": Param(
            "revalidate",
            type="string",
            enum=["revalidate", "release", "discard"],
            title="Action",
            description="Judge by today's rules, let count although a rule says no, or give up.",
        ),
        "rows": Param(
            None,
            type=["null", "array"],
            items={"type": "integer", "minimum": 0},
            title="Rows",
            description="Positions of quarantined rows, from 0. Empty: all; held: the whole file.",
        ),
        "reason": Param(
            type="string",
            minLength=5,
            maxLength=500,
            title="Reason",
            description="Kept in the delivery's ledger for good. Whoever reads it later will ask.",
        ),
        "dry_run": Param(
            True,
            type="boolean",
            title="Dry run",
            description="Only show what would be done. Switch it off to do it.",
        ),
    },
)
def reviews_replay() -> None:
    @named("Plan the replay")
    def plan_replay(params: dict[str, Any] | None = None) -> str:
        chosen = params or {}
        return replay.plan_replay(
            chosen["delivery"], chosen["action"], chosen["reason"], chosen["rows"]
        )

    @task.short_circuit(task_display_name="Is it for real, or a dry run?")
    def is_for_real(params: dict[str, Any] | None = None) -> bool:
        return not (params or {})["dry_run"]

    @named("Announce new reviews", outlets=[ACCEPTED])
    def announce() -> None:
        """Tell the retraining that there is something new."""

    planned = plan_replay()
    applied = named("Apply the replay")(replay.apply_replay)(planned, ACTOR)
    planned >> is_for_real() >> applied
    announced = announce()
    has_released = task.short_circuit(task_display_name="Has released reviews?")
    has_released(replay.has_released_reviews)(applied) >> announced
    announced >> alert_task(alerts.alert_replay)


reviews_replay()
