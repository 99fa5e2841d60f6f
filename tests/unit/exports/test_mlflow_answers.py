"""What an MLflow server answers is not taken for granted: a proxy may answer in its place."""

from __future__ import annotations

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
     '{"model_versions": {}}', '{"model_versions": [7]}', '{"model_versions": [{}]}'],
)  # fmt: skip
def test_an_answer_without_what_it_must_hold_is_an_error_in_words(body):
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, text=body))
    client = httpx.Client(base_url="http://mlflow", transport=transport)

    with client, pytest.raises(ExportError, match="MLflow"):
        mlflow._Server(client).show(PROMOTED)
