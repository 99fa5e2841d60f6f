"""Runs of the DAGs, in process."""

from __future__ import annotations

import pendulum

from pipelines.simulation import film_site
from pipelines.simulation import plans as simulation_plans
from pipelines.simulation.made_up import make_reviews
from tests.support.made.builders import deliver

NIGHT = "2026-01-05"


def run(dag, *, at, conf=None):
    return dag.test(logical_date=at, run_after=at, run_conf=conf)


def states(dag_run):
    return {(ti.task_id, ti.map_index): str(ti.state) for ti in dag_run.get_task_instances()}


def deliver_night(stores, *, rows=1200):
    """One good delivery of made-up reviews, and one that is cut off."""
    table = make_reviews(rows + 200, seed=3)
    night = pendulum.parse(NIGHT).date()
    plans = [
        simulation_plans.NightPlan(
            night,
            (
                simulation_plans.DeliveryPlan("app", rows, "csv.gz"),
                simulation_plans.DeliveryPlan("web", 200, "jsonl.gz", fault="truncated"),
            ),
        )
    ]
    for delivery in film_site.simulate(table, plans, seed=0):
        deliver(stores, delivery.key, delivery.body)
