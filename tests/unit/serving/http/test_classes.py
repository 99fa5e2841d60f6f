"""The service with a champion of three classes: every protocol says which, and how sure it is."""

from __future__ import annotations

import html

import numpy as np
import pytest
from fastapi.testclient import TestClient

from pipelines.models.prediction import probabilities
from pipelines.serving.champion import Champion
from pipelines.serving.http.app import make_app
from pipelines.serving.http.contract import predictions_of
from pipelines.serving.scoring import score_lines
from tests.support.made.made_searches import STARS
from tests.support.made.registry_builders import a_log_entry
from tests.support.made.served_builders import (
    StarsSource,
    a_planned,
    a_service_of_stars,
    model_of_stars,
)

NAMES = ["poor", "middling", "great"]
TEXTS = ["superb and moving", "dreadful and boring", "decent and watchable"]


@pytest.fixture
def client():
    return TestClient(make_app(a_service_of_stars()))


def own_answers() -> np.ndarray:
    return probabilities(model_of_stars(), TEXTS)


def test_a_score_names_the_class_and_has_the_probability_of_each(client):
    answer = client.post("/v1/score", json={"texts": TEXTS}).json()

    assert answer["model"] == "stars"
    assert [one["label"] for one in answer["predictions"]] == ["great", "poor", "middling"]
    for one, own in zip(answer["predictions"], own_answers().tolist(), strict=True):
        assert list(one["probabilities"]) == NAMES
        assert list(one["probabilities"].values()) == own
        assert one["probability"] == max(own)


def test_the_tensor_has_a_row_per_text_and_a_column_per_class(client):
    tensor = {"name": "text", "shape": [3], "datatype": "BYTES", "data": TEXTS}

    answer = client.post("/v2/models/stars/infer", json={"inputs": [tensor]}).json()

    probability, label = answer["outputs"]
    assert (probability["shape"], label["shape"]) == ([3, 3], [3])
    assert probability["data"] == own_answers().ravel().tolist()
    assert label["data"] == ["great", "poor", "middling"]
    assert answer["parameters"]["classes"] == "poor,middling,great"
    described = client.get("/v2/models/stars").json()["outputs"]
    assert described[0]["shape"] == [-1, 3]


def test_the_tensor_can_be_sent_as_raw_bytes(client):
    tensor = {"name": "text", "shape": [3], "datatype": "BYTES", "data": TEXTS}
    asked = {"inputs": [tensor], "outputs": [
        {"name": "probability", "parameters": {"binary_data": True}}]}  # fmt: skip

    reply = client.post("/v2/models/stars/infer", json=asked)

    length = int(reply.headers["Inference-Header-Content-Length"])
    sent = np.frombuffer(reply.content[length:], "<f8").reshape(3, 3)
    assert sent.tolist() == own_answers().tolist()


def test_an_explanation_is_about_the_label_and_adds_up(client):
    why = client.post("/v1/explain", json={"text": TEXTS[0]}).json()

    logs = np.log(list(why["probabilities"].values()))
    total = why["intercept"] + why["remainder"] + sum(n["contribution"] for n in why["ngrams"])
    assert why["label"] == "great"
    assert why["probability"] == why["probabilities"]["great"]
    assert total == pytest.approx(logs[2] - logs.mean())
    assert why["ngrams"][0]["ngram"] in {"superb", "moving"}


def test_the_page_shows_all_probabilities_and_what_spoke_for_the_class(client):
    page = html.unescape(client.post("/", data={"text": TEXTS[0]}).text)

    assert "says <strong>great</strong>: poor 0." in page
    assert "What spoke for great or against it" in page
    assert "positive" not in page


def test_a_champion_that_answers_otherwise_than_at_the_gate_is_refused():
    source = StarsSource()
    first = source.answers[0]
    source.answers = ((first[1], first[0], first[2]), *source.answers[1:])

    service = a_service_of_stars(source)

    assert service.champions.current is None
    assert "does not answer as it did at the gate" in service.champions.refused.why


def test_a_scored_file_has_the_probability_of_each_class():
    champion = Champion(a_log_entry(1), a_planned(STARS), model_of_stars())

    (line,) = score_lines(champion, iter([TEXTS[:1]]), named_ngrams=1)

    assert '"label": "great"' in line
    assert all(f'"{name}": ' in line for name in NAMES)
    assert '"ngrams"' in line


def test_two_classes_of_stars_are_answered_as_labels_are_with_their_names():
    found = list(predictions_of(np.array([0.25, 0.5]), ("weak", "strong")))

    assert found == [
        {"label": "weak", "probability": 0.25}, {"label": "strong", "probability": 0.5},
    ]  # fmt: skip
