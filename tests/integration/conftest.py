"""A small trained world: made-up reviews accepted on a first and a second night."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from pipelines.core import config
from pipelines.core.record import sha256_of
from pipelines.core.settings.model import VerificationSettings
from pipelines.core.store import keyring
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.stores import Stores
from pipelines.evaluation import verify
from pipelines.records.succession import LogEntry
from pipelines.registry.registry import Registry
from pipelines.simulation import film_site
from pipelines.simulation import plans as simulation_plans
from pipelines.simulation.made_up import make_reviews
from pipelines.steps import ingest as steps_ingest
from pipelines.steps import promote, retrain
from tests.support.hostile import whole_world as whole
from tests.support.made.builders import deliver, listing

FIRST_NIGHT = date(2026, 1, 5)


@pytest.fixture
def registry(stores: Stores) -> Registry:
    """The registry of the test's own models bucket."""
    return Registry(stores.models, "sentiment")


@pytest.fixture(scope="session")
def nightly_deliveries() -> list[film_site.DroppedFile]:
    """Two nights of made-up reviews: 900, then 1,100 more."""
    plans = [
        simulation_plans.NightPlan(
            FIRST_NIGHT, (simulation_plans.DeliveryPlan("web", 900, "csv.gz"),)
        ),
        simulation_plans.NightPlan(
            FIRST_NIGHT.replace(day=6), (simulation_plans.DeliveryPlan("app", 1100, "parquet"),)
        ),
    ]
    return list(film_site.simulate(make_reviews(2000, seed=11), plans, seed=2))


@pytest.fixture
def ingest_night(
    stores: Stores, nightly_deliveries: list[film_site.DroppedFile]
) -> Callable[[int], None]:
    """Deliver and ingest one of the two nights: ``ingest_night(1)``, ``ingest_night(2)``."""

    def ingest(number: int) -> None:
        delivery = nightly_deliveries[number - 1]
        night = delivery.night.isoformat()
        arrival = steps_ingest.land(deliver(stores, delivery.key, delivery.body), night)
        steps_ingest.accept(arrival, steps_ingest.validate(arrival))

    return ingest


@pytest.fixture(scope="session")
def clean_room_answers() -> dict[tuple[str, ...], dict[str, Any]]:
    """What clean processes said, by the model and all else that they were given."""
    return {}


@pytest.fixture
def one_clean_room_per_model(
    monkeypatch: pytest.MonkeyPatch, clean_room_answers: dict[tuple[str, ...], dict[str, Any]]
) -> None:
    """A clean process that was asked about a model is not asked the very same again.

    Starting one takes seconds, and most tests that retrain train the same model. For modules whose
    subject is something else; what depends on the process itself is in test_verification.
    """
    ask = verify.ask_clean_room

    def ask_once(model: bytes, texts: list[str], settings: VerificationSettings) -> dict[str, Any]:
        question = (sha256_of(model), *texts, settings.model_dump_json())
        if question not in clean_room_answers:
            clean_room_answers[question] = ask(model, texts, settings)
        return clean_room_answers[question]

    monkeypatch.setattr(verify, "ask_clean_room", ask_once)


@dataclass(frozen=True)
class World:
    """All that a night leaves behind: both buckets' objects, and the key that signed for them."""

    reviews: dict[str, bytes]
    models: dict[str, bytes]
    signing_key: bytes


@pytest.fixture(scope="session")
def kept_worlds() -> dict[tuple[int, str], World]:
    """Worlds by number of nights and settings, each put here by the first test that needs it."""
    return {}


@pytest.fixture
def champions(
    stores: Stores,
    registry: Registry,
    ingest_night: Callable[[int], None],
    kept_worlds: dict[tuple[int, str], World],
) -> Callable[[int], list[LogEntry]]:
    """Nights that were ingested and retrained: ``champions(2)`` gives the entries of both.

    That takes seconds, so it is done once, and then copied to other tests' buckets. No record
    names a bucket, so the copies are what those tests would have made themselves.
    """

    def after(nights: int) -> list[LogEntry]:
        world = (nights, config.load().model_dump_json(exclude={"store"}))
        if world in kept_worlds:
            _restore(kept_worlds[world], stores)
        elif nights:
            after(nights - 1)
            ingest_night(nights)
            _retrain()
            kept_worlds[world] = _kept(stores)
        return registry.log.history()

    return after


@pytest.fixture(scope="session")
def kept_whole_worlds() -> list[World]:
    """The whole world, put here by the first test that needs it."""
    return []


@pytest.fixture
def whole_bytes(
    request: pytest.FixtureRequest,
    s3_environment: pytest.MonkeyPatch,
    configure: Callable[..., Any],
    kept_whole_worlds: list[World],
    one_clean_room_per_model: None,
) -> World:
    """All that is in `whole_world`, as bytes; the process signs with the key that made it."""
    configure(**whole.SETTINGS)
    if kept_whole_worlds:
        _put_key(kept_whole_worlds[0])
    else:
        stores = request.getfixturevalue("stores")
        configure(**whole.SETTINGS)
        whole.make(stores, request.getfixturevalue("ingest_night"))
        kept_whole_worlds.append(_kept(stores))
    return kept_whole_worlds[0]


@pytest.fixture
def whole_world(whole_bytes: World, stores: Stores) -> World:
    """The same, in the test's own buckets, too."""
    _restore(whole_bytes, stores)
    return whole_bytes


def _retrain() -> None:
    plan = retrain.plan(retrain.take_snapshot())
    evaluation = retrain.evaluate(retrain.train(plan))
    decision = retrain.decide(retrain.verify(evaluation))
    assert promote.promote(decision, actor="test")


def _kept(stores: Stores) -> World:
    def objects(bucket: Bucket) -> dict[str, bytes]:
        return {key: bucket.get(key) for key in listing(bucket)}

    signing_key = keyring.development_key_path().read_bytes()
    return World(objects(stores.reviews), objects(stores.models), signing_key)


def _restore(world: World, stores: Stores) -> None:
    for bucket, objects in ((stores.reviews, world.reviews), (stores.models, world.models)):
        for key, data in objects.items():
            bucket.put(key, data)
    _put_key(world)


def _put_key(world: World) -> None:
    path = keyring.development_key_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(world.signing_key)
