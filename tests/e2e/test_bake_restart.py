"""A bake in the real Airflow outlives the triggerer that waits in it."""

from __future__ import annotations

import os
import signal
from datetime import date

import pytest

from ops.services.airflow_api import FINISHED
from ops.services.processes import PART, processes_of
from pipelines.core import config
from pipelines.core.errors import StoreUnavailableError
from pipelines.evaluation.golden import load_golden
from pipelines.registry.registry import Registry
from pipelines.serving.http.service import Service
from pipelines.serving.sources import LogSource
from pipelines.serving.swap import Champions
from pipelines.simulation import film_site
from pipelines.simulation import plans as simulation_plans
from pipelines.simulation.made_up import make_reviews
from pipelines.steps import ingest
from tests.support.made.builders import deliver
from tests.support.services.served_app import served
from tests.support.settings_file import write_settings
from tests.support.timing import HANG_SECONDS, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(2 * HANG_SECONDS)]

RETRAIN, NAME = "sentiment_retrain", "baked"
PATIENT = {"deadline_seconds": 1e6, "max_seconds": 1e6, "min_seconds": 0.0, "every_seconds": 0.5}


class HeldBack(LogSource):
    """The champion log of a service that cannot reach its store until it `is_open`."""

    is_open = False

    def newest_generation(self):
        if not HeldBack.is_open:
            raise StoreUnavailableError("the store is away")
        return super().newest_generation()


@pytest.fixture
def looks(stack, stores):
    """The looks of the bake at the service that the loop's settings name, as they come."""
    before = stack.config.read_text(encoding="utf-8")
    settings = config.load(stack.config)
    golden = load_golden(settings.evaluation.golden_file)
    champions = Champions(HeldBack(Registry(stores.models, NAME)), golden, retry_seconds=1)
    service = Service(champions, settings.serving.model_copy(update={"poll_seconds": 0.2}))
    seen = []
    status = service.status
    service.status = lambda: seen.append(1) or status()
    with served(service) as url:
        store = {
            name: getattr(settings.store, name) for name in ("reviews_bucket", "models_bucket")
        }
        write_settings(
            stack.config,
            {"store": store, "model": {"name": NAME},
             "gate": {"max_overlap_share": 1.0},  # made-up reviews are alike
             "serving": {"addresses": [url], "bake": PATIENT}},
        )  # fmt: skip
        yield seen
        stack.config.write_text(before, encoding="utf-8")


def is_quiet(api):
    return all(
        run["state"] in FINISHED for dag in (RETRAIN, "reviews_ingest") for run in api.runs(dag)
    )


def bake_state(api, run_id):
    return next(task["state"] for task in api.tasks(RETRAIN, run_id) if task["task_id"] == "bake")


def test_a_bake_goes_on_after_its_triggerer_was_killed_and_holds_no_worker(
    stack, api, stores, looks
):
    plans = [
        simulation_plans.NightPlan(
            date(2026, 2, 9), (simulation_plans.DeliveryPlan("web", 600, "csv"),)
        )
    ]
    for delivery in film_site.simulate(make_reviews(600, seed=6), plans, seed=0):
        arrival = ingest.land(deliver(stores, delivery.key, delivery.body), "2026-02-09")
        ingest.accept(arrival, ingest.validate(arrival))
    wait_for(lambda: is_quiet(api), "runs of other tests go on")
    run_id = api.trigger(RETRAIN, logical_date=None)
    wait_for(lambda: len(looks) > 2, "nobody asks the service")
    assert bake_state(api, run_id) == "deferred"

    for pid in processes_of(f"{stack.identity.marker}/triggerer", PART):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: [dead for dead in stack.revive() if "triggerer" in dead], "it lives")
    asked = len(looks)

    # Another triggerer takes over once the killed one has been silent for long enough.
    wait_for(lambda: len(looks) > asked + 2, "the bake did not go on")
    assert bake_state(api, run_id) == "deferred"
    HeldBack.is_open = True
    assert api.wait(RETRAIN, run_id, timeout_seconds=HANG_SECONDS) == "success"
    assert bake_state(api, run_id) == "success"
    champion = Registry(stores.models, NAME).log.champion()
    assert (champion.generation, champion.kind) == (1, "promotion")
