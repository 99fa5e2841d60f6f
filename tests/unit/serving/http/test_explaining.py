"""Why an answer is what it is, for machines and on a page without script."""

from __future__ import annotations

import math
import re

import pytest
from fastapi.testclient import TestClient

from pipelines.models.prediction import positive_probability
from pipelines.serving.http.app import make_app
from tests.support.made.served_builders import MadeUpSource, a_service, model_of

TEXT = "a great film with a dreadful cast"


@pytest.fixture(scope="module")
def client():
    return TestClient(make_app(a_service()), raise_server_exceptions=False)


def test_an_explanation_adds_up_to_the_answer(client):
    reply = client.post("/v1/explain", json={"text": TEXT, "top": 3}).json()

    (probability,) = positive_probability(model_of(1), [TEXT])
    parts = sum(part["contribution"] for part in reply["ngrams"])
    log_odds = reply["intercept"] + parts + reply["remainder"]
    assert len(reply["ngrams"]) == 3
    assert reply["probability"] == pytest.approx(probability, abs=1e-9)
    assert 1 / (1 + math.exp(-log_odds)) == pytest.approx(probability, abs=1e-9)
    assert reply["generation"] == 1


@pytest.mark.parametrize(
    ("message", "status"),
    [({}, 422), ({"text": ""}, 422), ({"text": "a", "top": -1}, 422),
     ({"text": "a", "top": 51}, 422), ({"text": "a", "top": 1.5}, 422),
     ({"text": "a" * 20_001}, 413)],
)  # fmt: skip
def test_a_bad_question_is_refused(client, message, status):
    assert client.post("/v1/explain", json=message).status_code == status


def test_a_model_that_cannot_say_why_says_that(monkeypatch):
    monkeypatch.setattr("pipelines.models.explain.is_explainable", lambda _model: False)
    client = TestClient(make_app(a_service()))

    assert client.post("/v1/explain", json={"text": TEXT}).status_code == 404
    page = client.post("/", data={"text": TEXT})
    assert page.status_code == 200
    assert "cannot be taken apart" in page.text


def test_the_page_says_who_answers_and_needs_nothing_from_elsewhere(client):
    page = client.get("/")

    assert "generation 1 answers" in page.text
    assert f"{1:020x}" in page.text
    assert "<script" not in page.text
    assert re.findall(r"(?:src|href)=|https?://|url\(", page.text) == []
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_a_text_is_tried_on_the_page(client):
    page = client.post("/", data={"text": TEXT})

    (probability,) = positive_probability(model_of(1), [TEXT])
    assert page.status_code == 200
    assert f"the probability of positive is {probability:.4f}" in page.text
    assert "dreadful" in page.text
    assert page.headers["X-Model-Generation"] == "1"


def test_text_that_somebody_tried_stays_text(client):
    page = client.post("/", data={"text": "</textarea><script>alert(1)</script>\u202e great"})

    assert page.status_code == 200
    assert "<script" not in page.text
    assert "\u202e" not in page.text


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", 422), (b"text=", 422), (b"text=%00", 422), (b"text=%ff", 400), (b"\xff", 400),
     (b"&".join([b"a=1"] * 20), 400), (b"text=" + b"a" * 20_001, 413)],
)  # fmt: skip
def test_a_bad_form_is_answered_with_the_page_and_a_sentence(client, content, status):
    page = client.post("/", content=content)

    assert page.status_code == status
    assert 'role="alert"' in page.text


def test_the_page_says_that_nobody_answers():
    client = TestClient(make_app(a_service(MadeUpSource())))

    assert "nobody answers" in client.get("/").text
    assert client.post("/", data={"text": TEXT}).status_code == 503
