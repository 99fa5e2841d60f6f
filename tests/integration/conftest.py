"""A small trained world: made-up reviews accepted on a first and a second night."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest
from builders import deliver

from pipelines import replayer, steps
from pipelines.made_up import make_reviews
from pipelines.registry import Registry
from pipelines.store import Stores

FIRST_NIGHT = date(2026, 1, 5)


@pytest.fixture
def registry(stores: Stores) -> Registry:
    """The registry of the test's own models bucket."""
    return Registry(stores.models, "sentiment")


@pytest.fixture(scope="session")
def nightly_deliveries() -> list[replayer.Delivery]:
    """Two nights of made-up reviews: 900, then 1,100 more."""
    plans = [
        replayer.NightPlan(FIRST_NIGHT, (replayer.DeliveryPlan("web", 900, "csv.gz"),)),
        replayer.NightPlan(
            FIRST_NIGHT.replace(day=6), (replayer.DeliveryPlan("app", 1100, "parquet"),)
        ),
    ]
    return list(replayer.replay(make_reviews(2000, seed=11), plans, seed=2))


@pytest.fixture
def ingest_night(
    stores: Stores, nightly_deliveries: list[replayer.Delivery]
) -> Callable[[int], None]:
    """Deliver and ingest one of the two nights: ``ingest_night(1)``, ``ingest_night(2)``."""

    def ingest(number: int) -> None:
        delivery = nightly_deliveries[number - 1]
        night = delivery.night.isoformat()
        arrival = steps.land(deliver(stores, delivery.key, delivery.body), night)
        steps.accept(arrival, steps.validate(arrival))

    return ingest
