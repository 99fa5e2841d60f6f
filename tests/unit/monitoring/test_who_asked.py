"""What a retraining says about who asked for it, whatever the event that started it names."""

import pytest

from pipelines.core import config, keys
from pipelines.core.store import stores as stores_module
from pipelines.steps import monitor
from tests.support.in_memory import InMemory
from tests.support.made.window_builders import a_trigger

OURS = "s3://ours/"
UNSIGNED = keys.trigger_key("sentiment", "2026-01-01", "a" * 64)


@pytest.fixture
def reviews(monkeypatch, configure):
    configure(store={"reviews_bucket": "ours"})
    stores = stores_module.Stores(InMemory(), InMemory())
    stores.reviews.name, stores.models.name = "ours", config.load().store.models_bucket
    monkeypatch.setattr(stores_module, "open_stores", lambda *_, **__: stores)
    return stores.reviews


@pytest.mark.attack
@pytest.mark.parametrize(
    "named",
    [
        "", "s3://elsewhere/x", OURS, f"{OURS}../x", f"{OURS}\0", "\ud800", "x" * 10_000, 5, None,
        ["a"], {"decision": 1}, f"{OURS}{UNSIGNED}", f"{OURS}absent",
    ],
)  # fmt: skip
def test_an_event_that_names_no_decision_of_ours_stops_no_retraining(reviews, named):
    reviews.put(UNSIGNED, b"nobody signed this")

    assert monitor.reason_of(named).endswith("its record cannot be read")


def test_a_decision_of_ours_is_told(reviews):
    decision = reviews.put_first(a_trigger(trigger="fading", why="It fades."))

    said = monitor.reason_of(OURS + decision.object_key)

    assert said == "asked for by the monitor (fading): It fades."
