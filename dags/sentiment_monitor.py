"""### Watch the champion, and ask for a retraining when it fades

#### When it runs

When `reviews_ingest` or `reviews_replay` let new reviews count, at 06:00 UTC every day, and by
hand. The form takes a night; empty means the newest night for which rows count.

#### What it does

Ask the champion about the reviews of each recent night that it had not learned, and compare these
with its own (`watch`). A night is **QUIET**, has **DRIFT** (the reviews changed), is **FADING**
(the champion is less often right than usual), or has **TOO_FEW** reviews. Rows that count later are
judged with their night. Where the prediction log is on, do the same without labels for each day of
what was really asked (`watch_answers`). Then decide whether to ask for a retraining
(`decide_trigger`), by `[triggers]` of the configuration; the decision is kept, whichever it is.
`ask` starts `sentiment_retrain`, whose gate judges as always: **the monitor cannot change the
champion.**

**Green and short** means: no new night, and no trigger is met.

#### When it is red

A task failed, so nobody watched. Nothing else is affected. `alert` reports that, and once a
champion that fades or reviews that changed, if `[alerts]` is configured.

#### How to rerun

Any task at any time: a night is judged once for the rows that count, and a run decides once.

#### Runbook

FADING: `docs/runbooks/model-fading.md`. DRIFT: `docs/runbooks/input-drift.md`. Red:
`docs/runbooks/monitor-failed.md`.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, Param, task
from alerting import alert_task
from loop_defaults import ACCEPTED, ACTOR, loop_dag, models_to_parse, named, wanted_of

from pipelines.core import config
from pipelines.steps import alerts, monitor


def watching(model: str) -> None:
    """The monitor of one model."""
    settings, wanted = config.load().of(model), wanted_of(model)

    @loop_dag(
        settings.dags,
        dag_id=f"{settings.dags}_monitor",
        schedule=AssetOrTimeSchedule(
            timetable=CronTriggerTimetable("0 6 * * *", timezone="UTC"), assets=[ACCEPTED]
        ),
        doc_md=__doc__,
        description="Judge the champion on new nights; ask for a retraining when it fades.",
        params={
            "night": Param(
                None,
                type=["null", "string"],
                format="date",
                title="Night",
                description="Judge nights up to this one. Empty: the newest with rows that count.",
            ),
            "reason": Param(
                None,
                type=["null", "string"],
                maxLength=500,
                title="Reason to retrain now",
                description="Asks for a retraining, and is kept. Empty: only if a trigger is met.",
            ),
        },
    )
    def sentiment_monitor() -> None:
        @named("Find the newest night")
        def find_night(params: dict[str, Any] | None = None) -> str | None:
            return monitor.find_night((params or {})["night"], model)

        @named("Decide whether to ask for a retraining")
        def decide_trigger(
            night: str | None, day: str, actor: str, params: dict[str, Any] | None = None
        ) -> str | None:
            reason = (params or {})["reason"] or ""
            return monitor.decide_trigger(night, day, actor, reason, model)

        @named("Ask for a retraining", outlets=[wanted])
        def ask(decision_uri: str, outlet_events: Any = None) -> None:
            """Start the retraining, and name the decision to it."""
            outlet_events[wanted].extra = {"decision": decision_uri}

        night = find_night()
        on_nights = named("Watch the champion on new nights", is_large=True)
        watched = on_nights(monitor.watch)(night, model)
        on_answers = named("Watch the champion on what was asked", is_large=True)
        answered = on_answers(monitor.watch_answers)(model)
        decided = decide_trigger(night, "{{ dag_run.run_after | ds }}", ACTOR)
        watched >> decided
        is_started = task.short_circuit(task_display_name="Is a retraining asked for?")
        asked = ask(decided)
        is_started(monitor.is_started)(decided, model) >> asked
        [asked, answered] >> alert_task(alerts.alert_monitor)

    sentiment_monitor()


for each in models_to_parse():
    watching(each)
