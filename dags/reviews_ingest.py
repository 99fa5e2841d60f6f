"""### Ingest a night's reviews: landing, validation, accept or hold

**Starts** every night at 02:00 UTC for the day before; also by backfill, by REST, and by hand.

**For each delivered file** that has not been dealt with: copy it to its immutable place (`land`),
check it with Great Expectations (`validate`), enter it in the ledger (`accept`). Rows that break a
row rule go to quarantine, with reasons; the others count.

**Red** means: a delivery is *held*, none of its rows count. Its own `validate` task is red and its
error says why. The other deliveries of the night count all the same, and the model is retrained on
them. What to do: `docs/runbooks/held-delivery.md`.

Also red is a delivery that came to **no conclusion**, because a task of it failed for another
reason. It is due again in the next run.

**Green and short** means: nothing new was delivered.

**`alert`** tells people what is held, missing or unfinished, once, if `[alerts]` is configured. It
does not make the run red or green. A run that takes longer than `alerts.ingest_late_minutes` is
told, too: `docs/runbooks/night-late.md`. After a delivery without conclusion:
`docs/runbooks/ingest-incomplete.md`.

**Rerun** any task at any time: what was concluded stays concluded, nothing is counted twice.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import CronDataIntervalTimetable, Param, TriggerRule, dag, task, task_group
from alerting import alert_failed_run, alert_task, late_after
from loop_defaults import ACCEPTED, DEFAULT_ARGS, NIGHT

from pipelines import alert_steps, config, steps


@dag(
    # A bare cron string would mean an empty data interval in Airflow 3.
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    on_failure_callback=alert_failed_run,
    deadline=late_after(config.load().alerts.ingest_late_minutes),
    doc_md=__doc__,
    tags=["reviews", "owner:ml-platform", "tier:1"],
    params={
        "night": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Night",
            description="The day whose deliveries to ingest. Empty: the last complete day.",
        ),
    },
)
def reviews_ingest() -> None:
    @task_group
    def delivery(landing_uri: str) -> None:
        arrival = task(steps.land)(landing_uri, NIGHT)
        task(steps.accept)(arrival, task(steps.validate)(arrival))

    due = task(steps.find_deliveries)(NIGHT)
    done = delivery.expand(landing_uri=due)
    # These two run although a delivery of the night was held: the others count.
    summary = task(trigger_rule=TriggerRule.ALL_DONE)(steps.summarize_night)(NIGHT)
    is_new = task.short_circuit(steps.has_new_reviews)(summary)
    checked = task(steps.check_night)(NIGHT, due)

    @task(outlets=[ACCEPTED])
    def announce() -> None:
        """Tell the retraining that there is something new."""

    announced = announce()
    done >> summary >> is_new >> announced
    summary >> checked
    [announced, checked] >> alert_task(alert_steps.alert_night, NIGHT, due)


reviews_ingest()
