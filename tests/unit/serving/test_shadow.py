"""Another version scores along, and nobody waits for it."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from pipelines.core import config
from pipelines.core.errors import ObjectMissingError
from pipelines.models.prediction import positive_probability
from pipelines.serving.http.app import make_app
from pipelines.serving.shadow import Shadow
from pipelines.steps import bake
from tests.support.made.served_builders import a_service, model_of
from tests.support.services.scoring_service import wait_until
from tests.support.services.served_app import served

VERSION = "5" * 20
TEXTS = ["a great film", "no fun and a dreadful cast", "great fun, but dull"]


def a_registry(load):
    return SimpleNamespace(versions=SimpleNamespace(manifest=lambda version: version, load=load))


def a_shadow(load=lambda _manifest: model_of(2), **changes):
    settings = config.load().serving.shadow.model_copy(
        update={"version": VERSION, "share": 1.0, **changes}
    )
    shadow = Shadow(a_registry(load), settings)
    shadow.start()
    wait_until(lambda: "not loaded yet" not in shadow.trouble)
    return shadow


def texts_of(shadow):
    return sum(found["texts"] for found in shadow.facts()["against"].values())


def test_differences_are_counted_by_the_champion_that_answered():
    shadow = a_shadow()
    champions = [0.9, 0.9, 0.9]

    shadow.offer(TEXTS, champions, "a" * 20)
    wait_until(lambda: texts_of(shadow) == 3)

    found = shadow.facts()["against"]["a" * 20]
    own = positive_probability(model_of(2), TEXTS)
    assert found["other_label"] == sum(value < 0.5 for value in own)
    assert found["mean_difference"] == pytest.approx(sum(abs(own - 0.9)) / 3)
    assert found["largest_difference"] == pytest.approx(max(abs(own - 0.9)))


def test_what_comes_while_it_is_busy_is_left_out(monkeypatch):
    shadow, gate = a_shadow(max_waiting_requests=1), threading.Event()
    monkeypatch.setattr(
        "pipelines.models.prediction.positive_probability",
        lambda _model, texts: gate.wait(60) and positive_probability(model_of(2), texts),
    )

    for _ in range(3):
        shadow.offer(TEXTS, [0.5] * 3, "a" * 20)
    gate.set()

    assert shadow.left_out == 2
    wait_until(lambda: texts_of(shadow) == 3)


def test_only_a_share_is_taken_and_none_of_it_if_the_share_is_zero():
    shadow = a_shadow(share=0.0)

    shadow.offer(TEXTS, [0.5] * 3, "a" * 20)
    shadow.close()

    assert shadow.facts()["against"] == {}


def test_a_version_that_cannot_be_loaded_is_said_and_harms_nobody():
    def fail(_manifest):
        raise ObjectMissingError("no such version")

    shadow = a_shadow(fail)
    shadow.offer(TEXTS, [0.5] * 3, "a" * 20)

    assert shadow.facts()["trouble"] == "no such version"


def test_the_service_offers_its_answers_and_a_decision_shows_what_came_of_them(
    configure, monkeypatch
):
    service = a_service()
    service.shadow = a_shadow()
    monkeypatch.setattr(service.shadow, "start", lambda: None)
    with served(service) as url, TestClient(make_app(service)) as client:
        client.post("/v1/score", json={"texts": TEXTS})
        wait_until(lambda: any(one["texts"] for one in service.shadow.facts()["against"].values()))
        configure(serving={"addresses": [url, "http://127.0.0.1:9"]})
        (line,) = bake.shadow_lines(VERSION)
        others = bake.shadow_lines("6" * 20)

    assert f"In the shadow of {1:020x} at {url}: " in line
    assert "of 3 texts got another label" in line
    assert others == []
