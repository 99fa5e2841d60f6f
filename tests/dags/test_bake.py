"""The retraining asks real services about its champion, and waits for them without a worker."""

from __future__ import annotations

import asyncio
import json
from datetime import date

import numpy as np
import pendulum
import pytest
from airflow.sdk.exceptions import TaskDeferred
from baking import Bake, BakeTrigger

from pipelines.core import config
from pipelines.evaluation.golden import load_golden
from pipelines.registry.registry import Registry
from pipelines.serving.http.service import Service
from pipelines.serving.sources import LogSource
from pipelines.serving.swap import Champions, Served
from pipelines.simulation import film_site
from pipelines.simulation.made_up import make_reviews
from pipelines.simulation.plans import DeliveryPlan, NightPlan
from pipelines.steps import bake, promote, retrain
from pipelines.steps import ingest as steps_ingest
from tests.support.made.builders import deliver
from tests.support.made.dag_runs import run, states
from tests.support.made.served_builders import served_champion
from tests.support.services.alert_servers import web_server
from tests.support.services.served_app import served

pytestmark = pytest.mark.airflow

BAKE = {"min_seconds": 0.0, "every_seconds": 0.05, "max_seconds": 1200.0}


@pytest.fixture
def registry(stores):
    return Registry(stores.models, "sentiment")


@pytest.fixture
def service_url(registry, configure):
    """A service on the test's own champion log; the configuration names it."""
    configure(serving={"poll_seconds": 0.05, "bake": BAKE})
    settings = config.load()
    golden = load_golden(settings.evaluation.golden_file)
    champions = Champions(LogSource(registry), golden, retry_seconds=60)
    with served(Service(champions, settings.serving)) as url:
        configure(serving={"addresses": [url]})
        yield url


@pytest.fixture
def hook(configure, monkeypatch):
    """Kinds of the alerts sent so far, as a function."""
    configure(alerts={"webhook": {"is_enabled": True, "timeout_seconds": 60.0}})
    with web_server() as posts:
        monkeypatch.setenv("LOOP_WEBHOOK_URL", posts.url)
        yield lambda: [json.loads(message.body)["kind"] for message in posts.received]


def ingest_night(stores, number):
    """Let the reviews of one of two nights count: 900, then 1,100 more."""
    plans = [
        NightPlan(date(2026, 1, 5), (DeliveryPlan("web", 900, "csv"),)),
        NightPlan(date(2026, 1, 6), (DeliveryPlan("app", 1100, "csv"),)),
    ]
    nights = list(film_site.simulate(make_reviews(2000, seed=11), plans, seed=2))
    delivery = nights[number - 1]
    uri = deliver(stores, delivery.key, delivery.body)
    arrival = steps_ingest.land(uri, delivery.night.isoformat())
    steps_ingest.accept(arrival, steps_ingest.validate(arrival))


def promote_by_the_steps():
    plan = retrain.plan(retrain.take_snapshot())
    evaluated = retrain.evaluate(retrain.train(plan))
    promote.promote(retrain.decide(retrain.verify(evaluated)), actor="test")


def retrained(dagbag):
    at = pendulum.datetime(2026, 1, 7, 6, tz="UTC")
    return run(dagbag.dags["sentiment_retrain"], at=at)


@pytest.mark.long  # each night on the full stack bakes one, too
def test_a_champion_that_the_services_take_passes(dagbag, stores, registry, service_url):
    ingest_night(stores, 1)

    done = retrained(dagbag)

    assert str(done.state) == "success"
    assert states(done)["bake", -1] == "success"
    assert registry.log.champion().kind == "promotion"


def test_a_sabotaged_consumer_turns_the_run_red_and_puts_the_champion_back_with_one_alert(
    dagbag, stores, registry, service_url, hook, monkeypatch
):
    ingest_night(stores, 1)
    promote_by_the_steps()
    before = registry.log.champion()
    ingest_night(stores, 2)
    sabotaged = Served.probabilities
    # Everything is verified and loaded well, and yet the service does not say what the model says.
    monkeypatch.setattr(
        Served, "probabilities", lambda self, texts: np.clip(sabotaged(self, texts), 0.2, 0.8)
    )

    done = retrained(dagbag)

    champion = registry.log.champion()
    assert str(done.state) == "failed"
    assert states(done)["confirm", -1] == "success"
    assert states(done)["bake", -1] == "failed"
    assert (champion.kind, champion.version, champion.actor) == ("rollback", before.version, "bake")
    assert "answers otherwise than the gate recorded" in champion.reason
    assert hook() == ["champion_put_back"]


def test_the_task_defers_at_once_and_its_trigger_can_be_started_again(
    stores, registry, service_url
):
    entry = served_champion(registry, 1)
    task = Bake(task_id="bake", entry_uri=registry.models.uri(entry.object_key))

    with pytest.raises(TaskDeferred) as deferred:
        task.execute({})

    path, values = deferred.value.trigger.serialize()
    assert path == f"{BakeTrigger.__module__}.BakeTrigger"
    assert json.loads(json.dumps(values)) == values
    assert deferred.value.method_name == "end"

    async def first_event():
        # As after a restart of the triggerer: nothing but what was written down.
        return (await anext(BakeTrigger(**values).run())).payload

    ruling = asyncio.run(first_event())
    assert (ruling["verdict"], ruling["is_final"]) == ("PASS", True)
    assert bake.end(ruling, None) is None


def test_without_a_service_nothing_is_deferred(stores, registry):
    entry = served_champion(registry, 1)

    for uri in (registry.models.uri(entry.object_key), None):
        assert Bake(task_id="bake", entry_uri=uri).execute({}) is None
