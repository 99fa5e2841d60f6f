"""### Delete what nothing needs any more

#### When it runs

Every Sunday at 06:00 UTC, and by hand. It deletes only if `retention.deletes` is set in the
configuration, or if *Dry run* is switched off in the form. Otherwise it only says what it would
delete.

#### What it does

Count what is no longer needed, by reason (`count_deletable`): features and corpora of rows that
nothing uses, reports that no ledger entry names, versions that were never promoted, with their
plans and snapshots, and old roll-ups. Record what is deleted, and delete it (`tidy_up`).

Never deleted is what the champion log, the ledger, a snapshot of a kept version or an open question
names.

#### When it is red

The log or the ledger cannot be trusted, so nothing was deleted; or the store refused a deletion.
Whatever is left is whole, and the next run goes on.

#### How to rerun

Any task at any time: what is deleted stays deleted, and nothing else is touched.

#### Runbook

`docs/runbooks/housekeeping.md`
"""

from __future__ import annotations

from airflow.sdk import CronDataIntervalTimetable, Param
from alerting import alert_task
from loop_defaults import ACTOR, for_real, is_for_real, loop_dag, named

from pipelines.core import config
from pipelines.steps import alerts, housekeeping


@loop_dag(
    "sentiment",
    schedule=CronDataIntervalTimetable("0 6 * * 0", timezone="UTC"),
    doc_md=__doc__,
    description="Delete what nothing needs any more, or say what that is.",
    params={
        "dry_run": Param(
            not config.load().retention.deletes,
            type="boolean",
            title="Dry run",
            description="Only show what would be deleted. Switch it off to delete it.",
        ),
    },
)
def sentiment_housekeeping() -> None:
    counted = named("Count what is no longer needed")(housekeeping.count_deletable)()
    tidied = named("Tidy up")(for_real(housekeeping.tidy_up))(ACTOR)
    counted >> is_for_real() >> tidied
    tidied >> alert_task(alerts.alert_housekeeping)


sentiment_housekeeping()
