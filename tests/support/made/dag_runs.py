"""Runs of the DAGs, in process."""

from __future__ import annotations

from pathlib import Path

import pendulum

from pipelines.simulation import film_site
from pipelines.simulation import plans as simulation_plans
from pipelines.simulation.made_up import make_reviews
from tests.support.made.builders import deliver

NIGHT = "2026-01-05"
DAGS = Path(__file__).resolve().parents[3] / "dags"


def parsed_dags(path=DAGS):
    """All DAGs as the dag-processor parses them with the settings of now, but for two things.

    `dag.test()` of Airflow 3.3.2 looks a run's deadlines up in a table that it did not fill, and
    builds the context of a callback on failure from parameters that it cannot read. Both are tested
    end to end.
    """
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(path))
    for dag in bag.dags.values():
        dag.deadline = None
        dag.on_failure_callback, dag.has_on_failure_callback = None, False
    return bag


def run(dag, *, at, conf=None):
    return dag.test(logical_date=at, run_after=at, run_conf=conf)


def states(dag_run):
    return {(ti.task_id, ti.map_index): str(ti.state) for ti in dag_run.get_task_instances()}


def deliver_night(stores, *, rows=1200, sources=("app",)):
    """A good delivery of made-up reviews from each source, and one that is cut off."""
    table = make_reviews(rows * len(sources) + 200, seed=3)
    night = pendulum.parse(NIGHT).date()
    plans = [
        simulation_plans.NightPlan(
            night,
            (
                *(simulation_plans.DeliveryPlan(each, rows, "csv.gz") for each in sources),
                simulation_plans.DeliveryPlan("web", 200, "jsonl.gz", fault="truncated"),
            ),
        )
    ]
    for delivery in film_site.simulate(table, plans, seed=0):
        deliver(stores, delivery.key, delivery.body)
