"""### Put an older champion back

#### When it runs

By hand only. It is a **dry run unless you untick that**: the tab *Run report* then shows which
version would be put back, and nothing is changed.

#### What it does

Find the former champion and prove that its files are whole and load (`plan_rollback`), append it
to the champion log (`apply_rollback`), and check that consumers get exactly that model
(`confirm`). The version that is rolled back cannot be promoted again until somebody releases it:
`python -m pipelines champion release`. Where `[alerts]` is configured, `alert` notifies people.

#### When it is red

Nothing was put back. If `confirm` is red, consumers would not get the model that was put back.

#### How to rerun

Any task at any time: a plan is carried out once. A plan that a promotion overtook fails and does
nothing; start a new run.

#### Runbook

`docs/runbooks/rollback.md`.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param
from alerting import alert_task
from loop_defaults import (
    ACTOR,
    dry_run_param,
    export_task,
    for_real,
    is_for_real,
    loop_dag,
    models_to_parse,
    named,
    reason_param,
)
from succession import champion_of, check_and_remember, confirm

from pipelines.core import config
from pipelines.steps import alerts, exports, rollback


def put_back(model: str) -> None:
    """The rollback of one model."""
    settings, champion = config.load().of(model), champion_of(model)

    @loop_dag(
        settings.dags,
        dag_id=f"{settings.dags}_rollback",
        schedule=None,
        doc_md=__doc__,
        description="Put an older champion back, with a reason.",
        params={
            "to": Param(
                "previous",
                type="string",
                pattern="^(previous|[0-9a-f]{20})$",
                title="Version",
                description="A former champion's version (20 hex digits), or: previous.",
            ),
            "reason": reason_param("champion log"),
            "dry_run": dry_run_param(),
        },
    )
    def sentiment_rollback() -> None:
        @named("Plan the rollback", inlets=[champion])
        def plan_rollback(
            params: dict[str, Any] | None = None, asset_state_store: Any = None
        ) -> str:
            check_and_remember(asset_state_store, model)
            chosen = params or {}
            return rollback.plan_rollback(chosen["to"], chosen["reason"], model)

        planned = plan_rollback()
        applied = named("Apply the rollback")(for_real(rollback.apply_rollback))(
            planned, ACTOR, model
        )
        planned >> is_for_real() >> applied
        confirmed = named("Confirm what consumers get", inlets=[champion])(confirm)(applied, model)
        alerted = alert_task(alerts.alert_rollback)
        confirmed >> alerted
        if settings.exports.takes_champions:
            alerted >> export_task(exports.export_champion, applied, model)

    sentiment_rollback()


for each in models_to_parse():
    put_back(each)
