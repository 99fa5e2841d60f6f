"""What the service answers, and what it says to requests that it cannot answer."""

from __future__ import annotations

import json
import logging
import re
import struct

import numpy as np
import pytest
from fastapi.testclient import TestClient

from pipelines.core.errors import StoreUnavailableError
from pipelines.models.prediction import positive_probability
from pipelines.serving.http.app import make_app
from pipelines.serving.swap import Served
from tests.support.made.served_builders import MadeUpSource, a_service, model_of

GOOD = "a great film, truly great"
SCORE, INFER = "/v1/score", "/v2/models/sentiment/infer"


def client_of(service):
    """Without the thread that watches the log: the tests look themselves."""
    return TestClient(make_app(service), raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client():
    return client_of(a_service(max_texts=4, max_text_chars=100, max_body_bytes=2_000))


def tensor(texts, **changes):
    return {
        "name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts, **changes,
    }  # fmt: skip


def test_a_text_is_scored_and_the_answer_says_who_gave_it(client):
    reply = client.post(SCORE, json={"text": GOOD}, headers={"X-Request-Id": "mine-1"})

    (expected,) = positive_probability(model_of(1), [GOOD])
    assert reply.status_code == 200
    assert reply.json() == {
        "model": "sentiment", "version": f"{1:020x}", "generation": 1, "request_id": "mine-1",
        "predictions": [{"label": "positive", "probability": expected}],
    }  # fmt: skip
    assert reply.headers["X-Model-Version"] == f"{1:020x}"
    assert reply.headers["X-Model-Generation"] == "1"
    assert reply.headers["X-Request-Id"] == "mine-1"


def test_the_processor_time_of_an_answer_counts_unless_the_bake_asked():
    service = a_service()
    traffic = service.champions.current.traffic
    with client_of(service) as client:
        client.post(SCORE, json={"text": GOOD}, headers={"X-Bake": "golden"})
        assert traffic.cpu_p99_milliseconds() is None

        client.post(SCORE, json={"text": GOOD})
        client.post(SCORE, json={"texts": [GOOD] * 100})

    assert len(traffic.cpu_seconds) == 2
    assert traffic.cpu_p99_milliseconds() > 0


def test_many_texts_are_answered_in_their_order(client):
    texts = [GOOD, "no fun and a dreadful cast", GOOD]

    reply = client.post(SCORE, json={"texts": texts, "ids": ["a", "b", "c"]})

    answers = [one["probability"] for one in reply.json()["predictions"]]
    assert answers == positive_probability(model_of(1), texts).tolist()
    assert [one["label"] for one in reply.json()["predictions"]] == [
        "positive", "negative", "positive",
    ]  # fmt: skip


def test_the_open_inference_protocol_gives_the_same_answers(client):
    reply = client.post(INFER, json={"id": "7", "inputs": [tensor([GOOD])]}).json()

    (expected,) = positive_probability(model_of(1), [GOOD])
    assert (reply["model_name"], reply["model_version"], reply["id"]) == (
        "sentiment", f"{1:020x}", "7",
    )  # fmt: skip
    assert reply["parameters"] == {"generation": 1}
    assert reply["outputs"] == [
        {"name": "probability", "shape": [1], "datatype": "FP64", "data": [expected]},
        {"name": "label", "shape": [1], "datatype": "BYTES", "data": ["positive"]},
    ]


def test_tensors_may_be_sent_and_asked_for_as_raw_bytes(client):
    texts = [GOOD.encode(), "größer".encode()]
    raw = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    message = {
        "inputs": [
            {
                "name": "text", "shape": [2, 1], "datatype": "BYTES",
                "parameters": {"binary_data_size": len(raw)},
            }
        ],
        "outputs": [{"name": "probability", "parameters": {"binary_data": True}}],
    }  # fmt: skip
    head = json.dumps(message).encode()

    reply = client.post(
        INFER, content=head + raw, headers={"Inference-Header-Content-Length": str(len(head))}
    )

    size = int(reply.headers["Inference-Header-Content-Length"])
    (output,) = json.loads(reply.content[:size])["outputs"]
    assert output["parameters"] == {"binary_data_size": 16}
    answers = np.frombuffer(reply.content[size:], "<f8")
    expected = positive_probability(model_of(1), [text.decode() for text in texts])
    assert answers.tolist() == expected.tolist()


@pytest.mark.parametrize("path", ["", "/ready", f"/versions/{1:020x}", f"/versions/{1:020x}/ready"])
def test_the_model_is_described(client, path):
    reply = client.get(f"/v2/models/sentiment{path}")

    assert reply.status_code == 200
    assert reply.json()["versions"] == [f"{1:020x}"]
    assert reply.headers["X-Model-Generation"] == "1"


@pytest.mark.parametrize("path", ["/v2", "/v2/health/live", "/v2/health/ready", "/status"])
def test_the_service_says_how_it_is(client, path):
    assert client.get(path).status_code == 200


BAD = {
    "no body": (b"", 400),
    "not JSON": (b"text=good", 400),
    "cut": (b'{"text": "go', 400),
    "not UTF-8": (b'{"text": "\xff\xfe"}', 400),
    "lone surrogate": (b'{"text": "\\ud800"}', 400),
    "NaN": (b'{"text": NaN}', 422),
    "deep": (b'{"text": ' + b"[" * 900, 400),
    "list": (b"[]", 422),
    "string": (b'"good"', 422),
    "nothing in it": (b"{}", 422),
    "both": (b'{"text": "a", "texts": ["a"]}', 422),
    "unknown field": (b'{"text": "a", "model": "x"}', 422),
    "number": (b'{"text": 5}', 422),
    "null": (b'{"text": null}', 422),
    "list of numbers": (b'{"texts": [1, 2]}', 422),
    "no texts": (b'{"texts": []}', 422),
    "empty": (b'{"text": ""}', 422),
    "blank": (b'{"text": " \\n\\t"}', 422),
    "one of many empty": (b'{"texts": ["a", ""]}', 422),
    "NUL": (b'{"text": "a\\u0000b"}', 422),
    "fewer ids": (b'{"texts": ["a", "b"], "ids": ["1"]}', 422),
    "a long id": (json.dumps({"text": "a", "ids": ["1" * 201]}).encode(), 422),
    "too many": (json.dumps({"texts": ["a"] * 5}).encode(), 413),
    "too long": (json.dumps({"text": "a" * 101}).encode(), 413),
    "too large": (json.dumps({"text": "a" * 2_000}).encode(), 413),
}
BAD_TENSORS = {
    "no inputs": ({}, 422),
    "none": ({"inputs": []}, 422),
    "two": ({"inputs": [tensor(["a"]), tensor(["b"])]}, 422),
    "another type": ({"inputs": [tensor(["a"], datatype="FP32")]}, 422),
    "another shape": ({"inputs": [tensor(["a"], shape=[2])]}, 422),
    "a negative shape": ({"inputs": [tensor(["a"], shape=[-1, -1])]}, 422),
    "no data": ({"inputs": [tensor(["a"], data=None)]}, 422),
    "numbers": ({"inputs": [tensor([1])]}, 422),
    "an unknown output": ({"inputs": [tensor(["a"])], "outputs": [{"name": "why"}]}, 422),
    "more outputs than there are": (
        {"inputs": [tensor(["a"])], "outputs": [{"name": "label"}] * 3},
        422,
    ),
    "empty text": ({"inputs": [tensor([""])]}, 422),
}


def assert_refused_in_one_sentence(client, reply, status):
    why = reply.json()["error"]
    assert (reply.status_code, list(reply.json())) == (status, ["error"])
    assert 0 < len(why) <= 300
    assert "\n" not in why
    assert client.post(SCORE, json={"text": GOOD}).status_code == 200


@pytest.mark.parametrize(("body", "status"), BAD.values(), ids=BAD)
def test_a_bad_request_is_refused_in_one_sentence_and_the_next_one_answered(client, body, status):
    reply = client.post(SCORE, content=body)

    assert_refused_in_one_sentence(client, reply, status)
    assert reply.headers["X-Model-Generation"] == "1"


@pytest.mark.parametrize(("message", "status"), BAD_TENSORS.values(), ids=BAD_TENSORS)
def test_a_bad_tensor_is_refused_in_one_sentence(client, message, status):
    assert_refused_in_one_sentence(client, client.post(INFER, json=message), status)


@pytest.mark.parametrize(
    ("length", "tail", "status"),
    [
        ("x", b"", 400),
        ("99999", b"", 400),
        ("-1", b"", 400),
        (None, b"\x09\0\0\0short", 422),
        (None, b"\x05\0\0", 422),
        (None, b"\x02\0\0\0\xff\xfe", 422),
        (None, b"", 422),
    ],
)
def test_bad_binary_data_is_refused(client, length, tail, status):
    message = {"inputs": [tensor([], shape=[1], data=None)]}
    message["inputs"][0]["parameters"] = {"binary_data_size": len(tail)}
    head = json.dumps(message).encode()
    headers = {"Inference-Header-Content-Length": length or str(len(head))}

    reply = client.post(INFER, content=head + tail, headers=headers)

    assert_refused_in_one_sentence(client, reply, status)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/models/other/infer", 404),
        ("POST", "/v2/models/sentiment/versions/9/infer", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/other/ready", 404),
        ("GET", "/v2/models/sentiment/versions/9", 404),
        ("GET", "/v1/score", 405),
        ("GET", "/nothing", 404),
        ("GET", "/docs", 404),
    ],
)
def test_what_is_not_there_is_said_to_be_not_there(client, method, path, status):
    reply = client.request(method, path)

    assert_refused_in_one_sentence(client, reply, status)


NUMBERS = [("0", 200), ("1", 200), ("2", 412), ("99999999", 412)]
NO_NUMBERS = ["-1", "x", "1.0", "٣", "", "9" * 50]


@pytest.mark.parametrize(("wanted", "status"), [*NUMBERS, *((text, 400) for text in NO_NUMBERS)])
def test_a_client_may_ask_for_a_champion_that_is_recent_enough(client, wanted, status):
    headers = {"X-Model-Min-Generation": wanted.encode()}

    reply = client.post(SCORE, json={"text": GOOD}, headers=headers)

    assert reply.status_code == status
    assert reply.headers["X-Model-Generation"] == "1"


def test_an_id_of_a_request_that_could_forge_a_line_of_the_log_is_replaced(client):
    ids = [
        client.post(SCORE, json={"text": GOOD}, headers={"X-Request-Id": given}).headers[
            "X-Request-Id"
        ]
        for given in ("a b\tc", "", "x" * 65)
    ]

    assert len(set(ids)) == 3
    assert all(re.fullmatch(r"[0-9a-f]{32}-[0-9a-f]+", one) for one in ids)


def test_no_text_is_written_to_the_log(client, caplog):
    secret = "confidential-opinion"
    with caplog.at_level(logging.DEBUG):
        for body in ({"text": secret}, {"text": secret * 20}, {"wrong": secret}):
            client.post(SCORE, json=body)
        client.post(SCORE, content=b'{"text": "' + secret.encode())
        client.get(f"/{secret}?{secret}")

    ours = [record for record in caplog.records if not record.name.startswith("httpx")]
    assert len(ours) >= 4
    assert [record for record in ours if secret in record.getMessage()] == []


def test_without_a_champion_nothing_is_ready_and_nothing_is_scored():
    client = client_of(a_service(MadeUpSource()))

    replies = [
        client.get("/v2/health/ready"),
        client.get("/v2/models/sentiment/ready"),
        client.post(SCORE, json={"text": GOOD}),
    ]

    assert [reply.status_code for reply in replies] == [503, 503, 503]
    assert "has no champion yet" in replies[-1].json()["error"]
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/status").json()["state"] == "loading"


def test_a_service_that_stops_is_not_ready_and_still_answers():
    service = a_service()
    client = client_of(service)

    service.is_draining = True

    assert client.get("/v2/health/ready").status_code == 503
    assert client.get("/v2/models/sentiment/ready").status_code == 503
    assert client.post(SCORE, json={"text": GOOD}).status_code == 200
    assert client.get("/status").json()["state"] == "draining"


def test_one_request_too_many_is_turned_away_at_once():
    service = a_service(max_requests=1)
    client = client_of(service)

    with service.bounds.place():
        reply = client.post(SCORE, json={"text": GOOD})

    assert reply.status_code == 503
    assert reply.headers["Retry-After"] == "1"
    assert client.post(SCORE, json={"text": GOOD}).status_code == 200


def test_bodies_that_are_too_much_together_are_turned_away():
    client = client_of(a_service(max_received_bytes=10))

    assert client.post(SCORE, json={"text": GOOD}).status_code == 503
    assert client.post(SCORE, content=b"{}").status_code == 422


def test_a_fault_of_the_model_is_answered_and_counted(monkeypatch, caplog):
    service = a_service()
    client = client_of(service)

    def fail(_self, texts):
        raise RuntimeError(texts)

    with monkeypatch.context() as patched:
        patched.setattr(Served, "probabilities", fail)
        reply = client.post(SCORE, json={"text": GOOD})

    assert (reply.status_code, list(reply.json())) == (500, ["error"])
    assert GOOD not in caplog.text
    assert client.post(SCORE, json={"text": GOOD}).status_code == 200
    assert client.get("/status").json()["traffic"]["errors"] == 1


def test_the_status_says_what_is_wrong_while_the_last_champion_answers():
    source = MadeUpSource(1)
    service = a_service(source)
    source.error = StoreUnavailableError("no route to the store")
    service.champions.look()

    facts = client_of(service).get("/status").json()

    assert facts["state"] == "ready"
    assert facts["log"]["trouble"] == "no route to the store"
    assert facts["log"]["seconds_since_look"] >= 0


def test_the_metrics_say_what_happened():
    source = MadeUpSource(1)
    service = a_service(source)
    client = client_of(service)
    client.post(SCORE, json={"texts": [GOOD, GOOD]})
    client.post(SCORE, content=b"")
    source.promote(2)
    service.champions.look()

    lines = client.get("/metrics").text.splitlines()

    for line in (
        'loop_scoring_requests_total{model="sentiment",route="score",status="200"} 1.0',
        'loop_scoring_requests_total{model="sentiment",route="score",status="400"} 1.0',
        'loop_scoring_request_texts_sum{model="sentiment"} 2.0',
        'loop_scoring_call_texts_sum{model="sentiment"} 2.0',
        'loop_scoring_generation{model="sentiment"} 2.0',
        'loop_scoring_swaps_total{model="sentiment"} 2.0',
        'loop_scoring_refused_total{model="sentiment"} 0.0',
        'loop_scoring_failed_looks_total{model="sentiment"} 0.0',
        'loop_scoring_queue{model="sentiment"} 0.0',
        f'loop_scoring_champion{{model="sentiment",version="{2:020x}"}} 1.0',
    ):
        assert line in lines


def test_every_example_of_the_description_is_answered(client):
    description = client.get("/openapi.json").json()
    answered = 0
    for path, methods in description["paths"].items():
        for operation in methods.values():
            schema = operation.get("requestBody", {}).get("content", {})
            for example in schema.get("application/json", {}).get("schema", {}).get("examples", ()):
                reply = client.post(path.replace("{name}", "sentiment"), json=example)
                assert reply.status_code == 200, reply.text
                answered += 1
    assert answered >= 3


def test_no_two_failures_of_a_route_are_described_alike(client):
    description = client.get("/openapi.json").json()

    for methods in description["paths"].values():
        for operation in methods.values():
            said = [one["description"] for one in operation["responses"].values()]
            assert len(said) == len(set(said)), operation["operationId"]


def test_the_description_leads_nowhere_that_is_not_there(client):
    text = client.get("/openapi.json").text
    description = json.loads(text)

    named = set(re.findall(r'"\$ref":\s*"#/components/schemas/(\w+)"', text))
    assert named <= set(description["components"]["schemas"])
    assert "#/$defs/" not in text
