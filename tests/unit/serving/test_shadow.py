"""Another version scores along, and nobody waits for it."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi.testclient import TestClient

from pipelines.core import config
from pipelines.core.errors import ObjectMissingError
from pipelines.models.prediction import positive_probability, probabilities
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
    champions = np.full(3, 0.9)

    shadow.offer(TEXTS, champions, "a" * 20)
    wait_until(lambda: texts_of(shadow) == 3)

    found = shadow.facts()["against"]["a" * 20]
    own = positive_probability(model_of(2), TEXTS)
    assert found["other_label"] == sum(value < 0.5 for value in own)
    assert found["mean_difference"] == pytest.approx(sum(abs(own - 0.9)) / 3)
    assert found["largest_difference"] == pytest.approx(max(abs(own - 0.9)))


def test_what_comes_while_it_is_busy_is_left_out(monkeypatch):
    shadow, gate, honest = a_shadow(max_waiting_requests=1), threading.Event(), probabilities
    monkeypatch.setattr(
        "pipelines.models.prediction.probabilities",
        lambda _model, texts: gate.wait(60) and honest(model_of(2), texts),
    )

    for _ in range(3):
        shadow.offer(TEXTS, np.full(3, 0.5), "a" * 20)
    gate.set()

    assert shadow.left_out == 2
    wait_until(lambda: texts_of(shadow) == 3)


def test_only_a_share_is_taken_and_none_of_it_if_the_share_is_zero():
    shadow = a_shadow(share=0.0)

    shadow.offer(TEXTS, np.full(3, 0.5), "a" * 20)
    shadow.close()

    assert shadow.facts()["against"] == {}


def test_a_version_that_cannot_be_loaded_is_said_and_harms_nobody():
    def fail(_manifest):
        raise ObjectMissingError("no such version")

    shadow = a_shadow(fail)
    shadow.offer(TEXTS, np.full(3, 0.5), "a" * 20)

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


def test_a_shadow_with_other_classes_is_not_compared():
    shadow = a_shadow()

    shadow.offer(TEXTS, np.full((3, 3), 1 / 3), "a" * 20)
    wait_until(lambda: shadow.trouble != "")

    assert shadow.trouble == "its classes are not those of the champion"
    assert shadow.facts()["against"] == {}


def test_of_three_classes_the_largest_difference_of_a_text_counts(monkeypatch):
    shadow = a_shadow()
    own = np.array([[0.2, 0.3, 0.5], [0.1, 0.8, 0.1], [0.4, 0.3, 0.3]])
    monkeypatch.setattr("pipelines.models.prediction.probabilities", lambda _model, _texts: own)

    shadow.offer(TEXTS, np.array([[0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2]]), "a" * 20)
    wait_until(lambda: texts_of(shadow) == 3)

    found = shadow.facts()["against"]["a" * 20]
    assert found["other_label"] == 1
    assert found["largest_difference"] == pytest.approx(0.2)
    assert found["mean_difference"] == pytest.approx((0.2 + 0 + 0.1) / 3)
