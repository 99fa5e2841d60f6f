"""### Look again at rows that do not count

#### When it runs

By hand only. It is a **dry run unless you untick that**: the tab *Run report* then shows what would
happen to how many rows, and nothing is changed. Its page under *Browse, Incidents* opens this form
filled in.

#### What it does

To a held delivery, or to quarantined rows of another one:

- `revalidate`: validate them by today's rules, after a wrong rule or limit was corrected.
- `release`: accept them although they break a rule. Rows of a held delivery that break a row rule
  still go to quarantine.
- `discard`: give them up permanently.

The replay is added to the delivery's own ledger with the reason and who did it (`apply_replay`). If
more rows count than before, the retraining starts (`announce`). If the replay fails, `alert`
notifies people, where `[alerts]` is configured.

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

from airflow.sdk import Param, task
from alerting import alert_task
from loop_defaults import (
    ACCEPTED,
    ACTOR,
    dry_run_param,
    for_real,
    is_for_real,
    loop_dag,
    named,
    reason_param,
)

from pipelines.steps import alerts, replay


@loop_dag(
    "reviews",
    schedule=None,
    doc_md=__doc__,
    description="Release, revalidate or discard rows that do not count.",
    params={
        "delivery": Param(
            type="string",
            pattern="^[0-9a-f]{64}$",
            title="Delivery",
            description="Its sha256 (64 hex digits); the error and the night's report show it.",
        ),
        "action": Param(
            "revalidate",
            type="string",
            enum=["revalidate", "release", "discard"],
            title="Action",
            description="Validate by today's rules, accept although a rule fails, or give up.",
        ),
        "rows": Param(
            None,
            type=["null", "array"],
            items={"type": "integer", "minimum": 0},
            title="Rows",
            description="Positions of quarantined rows, from 0. Empty: all rows, or the held file.",
        ),
        "reason": reason_param("delivery's ledger"),
        "dry_run": dry_run_param(),
    },
)
def reviews_replay() -> None:
    @named("Plan the replay", is_large=True)
    def plan_replay(params: dict[str, Any] | None = None) -> str:
        chosen = params or {}
        return replay.plan_replay(
            chosen["delivery"], chosen["action"], chosen["reason"], chosen["rows"]
        )

    @named("Announce new reviews", outlets=[ACCEPTED])
    def announce() -> None:
        """Start the retraining: there are new reviews."""

    planned = plan_replay()
    applied = named("Apply the replay", is_large=True)(for_real(replay.apply_replay))(
        planned, ACTOR
    )
    planned >> is_for_real() >> applied
    announced = announce()
    has_released = task.short_circuit(task_display_name="Has released reviews?")
    has_released(replay.has_released_reviews)(applied) >> announced
    announced >> alert_task(alerts.alert_replay)


reviews_replay()
