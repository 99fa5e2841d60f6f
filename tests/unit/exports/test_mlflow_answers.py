"""What an MLflow server answers is not taken for granted: a proxy may answer in its place."""

from __future__ import annotations

import gzip
import json
import time
from types import SimpleNamespace

import httpx
import pytest

from pipelines.core.errors import ExportError
from pipelines.exports import mlflow

PROMOTED = SimpleNamespace(
    entry=SimpleNamespace(model_name="sentiment", generation=1),
    manifest=SimpleNamespace(version="a" * 20, model_sha256="b" * 64),
)


@pytest.mark.attack
@pytest.mark.parametrize(
    "body",
    ["{}", '{"experiment": null}', '{"experiment": {"experiment_id": []}}', "[]", "<html>", "",
     "[" * 100_000 + "]" * 100_000, '{"model_versions": [{"version": "7\\nA line"}]}',
     '{"model_versions": [{"version": ""}]}', '{"model_versions": {}}',
     '{"model_versions": [7]}', '{"model_versions": [{}]}'],
)  # fmt: skip
def test_an_answer_without_what_it_must_hold_is_an_error_in_words(body):
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, text=body))
    client = httpx.Client(base_url="http://mlflow", transport=transport)

    with client, pytest.raises(ExportError, match="MLflow"):
        mlflow._Server(client).show(PROMOTED)


class Endless(httpx.SyncByteStream):
    def __init__(self, chunk: bytes, seconds: float = 0.0) -> None:
        self._chunk, self._seconds = chunk, seconds

    def __iter__(self):
        while True:
            yield self._chunk
            time.sleep(self._seconds)


@pytest.mark.attack
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda: {"stream": Endless(b" " * 1024 * 1024)}, "too large"),
        (lambda: {"stream": Endless(b" ", 0.01)}, "more than 0.2 s"),
        (lambda: {"headers": {"Content-Encoding": "gzip"}, "content": gzip.compress(b"{}")},
         "compressed"),
    ],
    ids=["endless", "dripping", "compressed"],
)  # fmt: skip
def test_an_answer_that_does_not_end_is_given_up(answer, why):
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, **answer()))
    client = httpx.Client(base_url="http://mlflow", transport=transport, timeout=0.2)

    with client, pytest.raises(ExportError, match=why):
        mlflow._Server(client).show(PROMOTED)


@pytest.mark.attack
def test_what_a_server_says_of_an_error_is_one_short_line():
    said = json.dumps({"error_code": "NO\n\x1b[31mA line" + "x" * 10_000})
    transport = httpx.MockTransport(lambda _request: httpx.Response(400, text=said))
    client = httpx.Client(base_url="http://mlflow", transport=transport)

    with client, pytest.raises(ExportError, match="MLflow answered 400") as raised:
        mlflow._Server(client).show(PROMOTED)

    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300


@pytest.mark.attack
@pytest.mark.parametrize("shown", [{}, {"model_version": {"version": "6"}}])
def test_an_alias_that_was_not_set_is_no_success(shown):
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("model-versions/search"):
            return httpx.Response(200, json={"model_versions": [{"version": "7"}]})
        is_read = request.method == "GET" and request.url.path.endswith("registered-models/alias")
        return httpx.Response(200, json=shown if is_read else {})

    client = httpx.Client(base_url="http://mlflow", transport=httpx.MockTransport(answer))

    with client, pytest.raises(ExportError, match="MLflow"):
        mlflow._Server(client).show(PROMOTED)
