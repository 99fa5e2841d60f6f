"""### Let a version that was rolled back compete again

#### When it runs

By hand only; the page *Champion* opens this form filled in. It is a **dry run unless you untick
that**: it then only checks that the version is withdrawn, and nothing is changed.

#### What it does

Check that the version was rolled back and not released since (`plan_release`), and append its
release to the champion log, with the reason and who did it (`apply_release`). The champion stays.
The next retraining may promote the version if it passes the gate. If it fails, `alert` notifies
people, where `[alerts]` is configured.

#### When it is red

Nothing was released. The error names the versions that are withdrawn.

#### How to rerun

Any task at any time: a version is released once.

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
    for_real,
    is_for_real,
    loop_dag,
    models_to_parse,
    named,
    reason_param,
)
from succession import champion_of, check_and_remember

from pipelines.core import config
from pipelines.steps import alerts, rollback


def release(model: str) -> None:
    """The release of one model."""
    settings, champion = config.load().of(model), champion_of(model)

    @loop_dag(
        settings.dags,
        dag_id=f"{settings.dags}_release",
        schedule=None,
        doc_md=__doc__,
        description="Let a version that was rolled back compete again, with a reason.",
        params={
            "version": Param(
                type="string",
                pattern="^[0-9a-f]{20}$",
                title="Version",
                description="A version that was rolled back (20 hex digits).",
            ),
            "reason": reason_param("champion log"),
            "dry_run": dry_run_param(),
        },
    )
    def sentiment_release() -> None:
        @named("Plan the release", inlets=[champion])
        def plan_release(
            params: dict[str, Any] | None = None, asset_state_store: Any = None
        ) -> str:
            check_and_remember(asset_state_store, model)
            return rollback.plan_release((params or {})["version"], model)

        @named("Apply the release")
        @for_real
        def apply_release(version: str, actor: str, params: dict[str, Any] | None = None) -> str:
            return rollback.apply_release(version, actor, (params or {})["reason"], model)

        planned = plan_release()
        applied = apply_release(planned, ACTOR)
        planned >> is_for_real() >> applied >> alert_task(alerts.alert_release)

    sentiment_release()


for each in models_to_parse():
    release(each)
