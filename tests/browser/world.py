"""What the pages have to show: two champions, and nights with one trouble of each kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from pipelines.core.store.stores import Stores
from pipelines.simulation import film_site
from pipelines.simulation import plans as simulation_plans
from pipelines.simulation.made_up import make_reviews
from pipelines.steps import promote, retrain
from tests.support.hostile import page_requests as hostile
from tests.support.made.builders import deliver, some_rows
from tests.support.made.incident_builders import ingest, odd_rows, replay, sent

FIRST, SECOND, THIRD, FOURTH = (f"2026-01-0{day}" for day in (5, 6, 7, 8))
SOURCES = {"partner": {"expected_every_days": 1}}  # which never delivers


@dataclass(frozen=True)
class World:
    """Deliveries by what happened to them."""

    held: str  # one test releases it
    worse: str  # held as well, for looking at
    quarantined: str
    discarded: str
    conflicting: str
    hostile: str
    missing: tuple[str, str]  # night, source
    decision: str  # the last one: version/folder


def build(stores: Stores, more_models: Iterable[str] = ()) -> World:
    """Everything but the hostile delivery, which is left for Airflow's own run to take up.

    Each model besides the first has a champion, too, except the last of them, which is new.
    """
    plans = [
        simulation_plans.NightPlan(
            date(2026, 1, 5), (simulation_plans.DeliveryPlan("web", 900, "csv.gz"),)
        ),
        simulation_plans.NightPlan(
            date(2026, 1, 6), (simulation_plans.DeliveryPlan("app", 1100, "parquet"),)
        ),
    ]
    for delivery in film_site.simulate(make_reviews(2000, seed=11), plans, seed=2):
        deliver(stores, delivery.key, delivery.body)
        ingest(delivery.night.isoformat())
        decision_uri = _retrain()
    for model in list(more_models)[:-1]:
        _retrain(model)
    _, version, _, folder, _ = decision_uri.rsplit("/", 4)
    return _with_troubles(stores, f"{version}/{folder}")


def _with_troubles(stores: Stores, decision: str) -> World:
    """Two more nights, in which most goes wrong that can."""
    discarded = sent(stores, odd_rows(4, first=400, night=THIRD), "old.csv", night=THIRD)
    sent(stores, some_rows(40, first=700, night=THIRD), "twice.csv", night=THIRD)
    ingest(THIRD)
    replay(discarded, "discard")
    conflicting = sent(stores, some_rows(40, first=800, night=THIRD), "twice.csv", night=THIRD)
    quarantined = sent(
        stores, odd_rows(1, first=500, night=FOURTH), "one.csv", source="app", night=FOURTH
    )
    held = sent(stores, odd_rows(3, first=100, night=FOURTH), "bad.csv", night=FOURTH)
    worse = sent(stores, odd_rows(5, first=300, night=FOURTH), "worse.csv", night=FOURTH)
    ingest(FOURTH)
    evil = sent(stores, hostile.rows(FOURTH), hostile.FILE_NAME, source="<script>", night=FOURTH)
    missing = (FOURTH, "partner")
    return World(held, worse, quarantined, discarded, conflicting, evil, missing, decision)


def _retrain(model: str | None = None) -> str:
    plan = retrain.plan(retrain.take_snapshot(model), model=model)
    evaluation = retrain.evaluate(retrain.train(plan, model=model), model)
    decision = retrain.decide(retrain.verify(evaluation, model), model)
    promote.promote(decision, actor="test", model=model)
    return decision
