"""Objects under names that this project never writes are in nobody's way, wherever they lie."""

from __future__ import annotations

import pytest

from pipelines.core import config
from pipelines.core.store import stores as stores_module
from pipelines.intake import nights, standings
from pipelines.monitoring import facts
from pipelines.registry.fsck import check
from pipelines.registry.registry import Registry
from pipelines.steps import housekeeping, ingest, monitor, retrain
from tests.support.hostile import whole_world as whole

pytestmark = [pytest.mark.attack, pytest.mark.long]

NIGHT = whole.NIGHTS[0]
NAMES = ("0-notes.txt", ".DS_Store", "zz", "zz.json")
READERS = {
    "the ledger": lambda w: standings.every(w.reviews),
    "each delivery": lambda w: [
        standings.find(w.reviews, each.outcome.delivery) for each in standings.every(w.reviews)
    ],
    "the champion": lambda w: Registry(w.models, "sentiment").log.champion(),
    "the log": lambda w: Registry(w.models, "sentiment").log.history(),
    "the end of the log": lambda w: Registry(w.models, "sentiment").check_nothing_cut(),
    "what is due": lambda w: ingest.find_deliveries(NIGHT),
    "what earlier nights showed": lambda w: ingest.pin_history(NIGHT, []),
    "a summary": lambda w: ingest.summarize_night(NIGHT),
    "a night": lambda w: nights.night_summary(w.reviews, NIGHT, config.load().sources),
    "a snapshot": lambda w: retrain.take_snapshot(),
    "what is deleted": lambda w: housekeeping.plan_housekeeping(),
    "the newest night": lambda w: monitor.find_night(),
    "windows": lambda w: monitor.watch(NIGHT),
    "answers": lambda w: monitor.watch_answers(),
    "metrics": lambda w: facts.read(w, config.load()).broken,
}


@pytest.fixture
def world(whole_bytes, monkeypatch):
    stores = whole.in_memory(whole_bytes.reviews, whole_bytes.models)
    monkeypatch.setattr(stores_module, "open_stores", lambda *_, **__: stores)
    return stores


def put_strays(bucket):
    """One of each name in every folder, and a copy beside each object, as tools leave them."""
    for key in [key for key in bucket.objects if not key.startswith("landing/")]:
        bucket.objects[f"{key}.bak"] = bucket.objects[key]
        folders = key.split("/")[:-1]
        for depth in range(1, len(folders) + 1):
            for name in NAMES:
                bucket.objects["/".join([*folders[:depth], name])] = b"nobody signed this"


def test_they_change_nothing_that_is_read(world):
    before = {name: read(world) for name, read in READERS.items()}

    for bucket in (world.reviews, world.models):
        put_strays(bucket)

    assert {name: read(world) for name, read in READERS.items()} == before


def test_fsck_names_each_of_them(world):
    before = set(check.check(world.reviews, Registry(world.models, "sentiment")))
    known = {*world.reviews.objects, *world.models.objects}
    for bucket in (world.reviews, world.models):
        put_strays(bucket)

    found = set(check.check(world.reviews, Registry(world.models, "sentiment"))) - before

    strays = {*world.reviews.objects, *world.models.objects} - known
    assert {finding.key for finding in found} == strays
