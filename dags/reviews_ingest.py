"""### Ingest a night's reviews: landing, validation, accept or hold

#### When it runs

Every night at 02:00 UTC for the day before; also by backfill, by REST, and by hand. The form takes
a past night; empty means yesterday, in UTC.

#### What it does

Read once what earlier nights brought (`pin_history`). For each delivered file that has not been
processed: copy it to its immutable place (`land`), check it with Great Expectations (`validate`),
enter it in the ledger (`accept`). Each of these tasks is named by its file. Rows that break a row
rule go to quarantine, with reasons; the others count, and the retraining is started (`announce`).

**Green and short** means: nothing new was delivered.

#### When it is red

- A delivery is *held*: none of its rows count. Its own `validate` is red and its error says why and
  where the report is; *Browse, Incidents* has a page on it. The other deliveries of the night still
  count, and the model is retrained on them.
- A delivery was *not processed*, because a task of it failed for another reason. It is due
  again in the next run.
- A source is *overdue*: what was delivered is processed, and `check_night` names what is missing.

**`alert`** reports once what is held, missing or unfinished, if `[alerts]` is configured. It does
not make the run red or green. A run that takes longer than `alerts.ingest_late_minutes` is also
reported.

#### How to rerun

Any task at any time: finished work is not redone, and nothing is counted twice. A held delivery
stays held, however often it is cleared, until somebody releases or discards it with
`reviews_replay`. From then on no run is red because of it.

#### Runbook

Held: `docs/runbooks/held-delivery.md`; wrong labels: `docs/runbooks/poisoned-labels.md`. Not
processed: `docs/runbooks/ingest-incomplete.md`. A file with another name or date than expected:
`docs/runbooks/set-aside-delivery.md`.
Overdue: `docs/runbooks/missing-delivery.md`. Late: `docs/runbooks/night-late.md`.
"""

from __future__ import annotations

from airflow.sdk import CronDataIntervalTimetable, Param, TriggerRule, task, task_group
from alerting import alert_task, late_after
from loop_defaults import ACCEPTED, FILE, NIGHT, export_task, loop_dag, named, night_of

from pipelines.core import config
from pipelines.steps import alerts, exports, ingest


@loop_dag(
    "reviews",
    # A bare cron string would mean an empty data interval in Airflow 3.
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    deadline=late_after(config.load().alerts.ingest_late_minutes),
    doc_md=__doc__,
    user_defined_macros={"night_of": night_of},
    description="Take in a night's reviews: land, validate, accept or hold.",
    params={
        "night": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Night",
            description="The day whose deliveries to ingest. Empty: yesterday, in UTC.",
        ),
    },
)
def reviews_ingest() -> None:
    @task_group(group_display_name="Each delivery")
    def delivery(landing_uri: str, history_uri: str | None) -> None:
        """One file that upstream dropped: landed, validated, then accepted or held."""
        arrival = named("Land the file", map_index_template=FILE)(ingest.land)(landing_uri, NIGHT)
        validating = named("Validate its rows", map_index_template=FILE, is_large=True)
        validated = validating(ingest.validate)(arrival, history_uri)
        accepting = named("Accept the rows that count", map_index_template=FILE)
        accepting(ingest.accept)(arrival, validated)

    due = named("Find deliveries that are due")(ingest.find_deliveries)(NIGHT)
    history = named("Pin what they are compared with")(ingest.pin_history)(NIGHT, due)
    done = delivery.partial(history_uri=history).expand(landing_uri=due)
    # These two also run if a delivery of the night was held: the others count.
    summary = named("Summarize the night", trigger_rule=TriggerRule.ALL_DONE)(
        ingest.summarize_night
    )(NIGHT)
    is_new = task.short_circuit(task_display_name="Has new reviews?")(ingest.has_new_reviews)(
        summary
    )
    checked = named("Check that nothing is held or overdue")(ingest.check_night)(NIGHT, due)

    @named("Announce new reviews", outlets=[ACCEPTED])
    def announce() -> None:
        """Start the retraining: there are new reviews."""

    announced = announce()
    done >> summary >> is_new >> announced
    summary >> checked
    alerted = alert_task(alerts.alert_night, NIGHT, due)
    [announced, checked] >> alerted
    if config.load().exports.openlineage:
        alerted >> export_task(exports.export_night, NIGHT)


reviews_ingest()
