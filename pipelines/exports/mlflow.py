"""Show a champion in an MLflow server, by its REST interface: MLflow is not needed here.

A version is exported once: a run with parameters, metrics, model card and model, and a version of
the registered model. The alias ``champion`` follows the champion log. MLflow is for people who
look there; who is champion is decided by the log alone.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipelines.core.errors import ExportError
from pipelines.core.escaping import plain
from pipelines.exports import mlflow_model
from pipelines.exports.promoted import Promoted

if TYPE_CHECKING:
    import httpx

    from pipelines.records.evaluations import AnyMetrics

ALIAS = "champion"
TOKEN, USER, PASSWORD = (
    "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD",
)  # fmt: skip
MOST_PARAMETER_CHARS = 500
MOST_REPLY_BYTES = 4 * 1024 * 1024  # of one answer of the server
_MOST_TEXT_CHARS = 1_000  # of one text in it
_VERSION_TAG, _MODEL_TAG = "loop.version", "loop.model_sha256"
_PROXIED = "mlflow-artifacts:/"


def export(promoted: Promoted, url: str, *, timeout_seconds: float) -> str:
    """Export a champion; returns the number of its version in MLflow.

    Raises
    ------
    ExportError
        If the server cannot be reached, refuses, or keeps artefacts where only it may write.
    """
    import httpx

    token = os.environ.get(TOKEN)
    user = os.environ.get(USER)
    with httpx.Client(
        base_url=url.rstrip("/"), timeout=timeout_seconds, follow_redirects=False,
        headers={"Authorization": f"Bearer {token}"} if token else {},
        auth=(user, os.environ.get(PASSWORD, "")) if user and not token else None,
    ) as client:  # fmt: skip
        return _Server(client).show(promoted)


class _Server:
    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def show(self, promoted: Promoted) -> str:
        name = promoted.entry.model_name
        self._call("POST", "registered-models/create", {"name": name}, exists_is_fine=True)
        number = self._find(name, promoted) or self._add(name, promoted)
        self._call("POST", "registered-models/alias",
                   {"name": name, "alias": ALIAS, "version": number})  # fmt: skip
        at = self._call("GET", "registered-models/alias", {"name": name, "alias": ALIAS})
        shown = _text(at, "model_version", "version")
        if shown != number:
            raise ExportError(
                f"MLflow shows version {shown} under the alias {ALIAS}, not {number} as asked for"
            )
        return number

    def _find(self, name: str, promoted: Promoted) -> str | None:
        """The number of a version that was exported before."""
        wanted = promoted.manifest.version
        filter_ = f"name='{name}' and tags.`{_VERSION_TAG}`='{wanted}'"
        found = self._call("GET", "model-versions/search", {"filter": filter_, "max_results": 1})
        versions = found.get("model_versions")
        return _text(versions[0], "version") if isinstance(versions, list) and versions else None

    def _add(self, name: str, promoted: Promoted) -> str:
        tags = {_VERSION_TAG: promoted.manifest.version,
                _MODEL_TAG: promoted.manifest.model_sha256}  # fmt: skip
        at = datetime.now(UTC)
        made = self._call("POST", "runs/create", {
            "experiment_id": self._experiment(name), "start_time": _millis(at),
            "run_name": f"generation {promoted.entry.generation}", "tags": _pairs(tags),
        })  # fmt: skip
        run_id = _text(made, "run", "info", "run_id")
        artefacts = _text(made, "run", "info", "artifact_uri")
        self._call("POST", "runs/log-batch", {
            "run_id": run_id, "params": _pairs(parameters(promoted)),
            "metrics": [{"key": key, "value": value, "timestamp": _millis(at), "step": 0}
                        for key, value in metrics(promoted)],
        })  # fmt: skip
        model = mlflow_model.files(promoted, run_id=run_id, at=at.isoformat(sep=" "))
        self._upload(artefacts, {f"model/{path}": data for path, data in model.items()})
        self._upload(artefacts, {f"card/{path}": data for path, data in promoted.card.items()})
        self._call("POST", "runs/update", {
            "run_id": run_id, "status": "FINISHED", "end_time": _millis(datetime.now(UTC)),
        })  # fmt: skip
        made = self._call("POST", "model-versions/create", {
            "name": name, "source": f"{artefacts}/model", "run_id": run_id, "tags": _pairs(tags),
            "description": promoted.decision.why,
        })  # fmt: skip
        return _text(made, "model_version", "version")

    def _experiment(self, name: str) -> str:
        self._call("POST", "experiments/create", {"name": name}, exists_is_fine=True)
        found = self._call("GET", "experiments/get-by-name", {"experiment_name": name})
        return _text(found, "experiment", "experiment_id")

    def _upload(self, artefacts: str, files: Mapping[str, bytes]) -> None:
        if not artefacts.startswith(_PROXIED):
            raise ExportError(
                f"the MLflow server keeps artefacts in {artefacts.partition(':')[0]!r}, where only "
                "it may write. Start it with --serve-artifacts"
            )
        folder = artefacts.removeprefix(_PROXIED).strip("/")
        for path, data in files.items():
            address = f"/api/2.0/mlflow-artifacts/artifacts/{quote(f'{folder}/{path}')}"
            self._send("PUT", address, content=data)

    def _call(
        self, method: str, path: str, values: Mapping[str, Any], *, exists_is_fine: bool = False
    ) -> Any:
        sent = {"params": values} if method == "GET" else {"json": values}
        return self._send(method, f"/api/2.0/mlflow/{path}", exists_is_fine=exists_is_fine, **sent)

    def _send(self, method: str, address: str, *, exists_is_fine: bool = False, **sent: Any) -> Any:
        import httpx

        as_it_is = {"Accept-Encoding": "identity"}
        try:
            with self._client.stream(method, address, headers=as_it_is, **sent) as reply:
                status, answer = reply.status_code, _as_json(self._read(reply, address))
        except httpx.HTTPError as error:
            raise ExportError(f"MLflow did not answer {address}: {type(error).__name__}") from error
        if exists_is_fine and _code(answer) == "RESOURCE_ALREADY_EXISTS":
            return answer
        if status != 200 or answer is None:
            raise ExportError(f"MLflow answered {status} to {address} {_code(answer)}".rstrip())
        return answer

    def _read(self, reply: httpx.Response, address: str) -> bytes:
        """The body, which has the client's time as a whole, and a bounded size."""
        if "Content-Encoding" in reply.headers:
            raise ExportError(f"MLflow's answer to {address} is compressed, unasked")
        seconds = self._client.timeout.read or 0.0
        began, body = time.monotonic(), bytearray()
        for chunk in reply.iter_bytes():
            body += chunk
            if len(body) > MOST_REPLY_BYTES:
                raise ExportError(f"MLflow's answer to {address} is too large")
            if time.monotonic() - began > seconds:
                raise ExportError(f"MLflow's answer to {address} took more than {seconds:g} s")
        return bytes(body)


def _as_json(data: bytes) -> dict[str, Any] | None:
    """The object in an answer, which may be empty; None for anything else."""
    try:
        value = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _text(answer: Any, *path: str) -> str:
    """A short text within an answer; a number is taken as its digits."""
    value = answer
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    text = str(value) if isinstance(value, str | int) else ""
    if not text.isprintable() or not 0 < len(text) <= _MOST_TEXT_CHARS:
        raise ExportError(f"MLflow's answer lacks {'.'.join(path)}")
    return text


def _code(answer: dict[str, Any] | None) -> str:
    return plain(str((answer or {}).get("error_code", "")), most=100)


def parameters(promoted: Promoted) -> dict[str, str]:
    """What the version was trained with."""
    manifest, plan = promoted.manifest, promoted.manifest.plan
    chosen = plan.candidates.get(manifest.candidate, {})
    given = {
        "candidate": manifest.candidate, "seed": plan.seed, "folds": plan.folds,
        "snapshot": plan.snapshot, "code": plan.code, "environment": plan.environment,
        "training_rows": manifest.training_rows, "holdout_rows": manifest.holdout_rows,
        **{f"candidate.{name}": value for name, value in sorted(chosen.items())},
    }  # fmt: skip
    return {name: str(value)[:MOST_PARAMETER_CHARS] for name, value in given.items()}


def metrics(promoted: Promoted) -> Iterator[tuple[str, float]]:
    """What the gate measured, by set of reviews."""
    evaluation = promoted.evaluation
    for scores in (evaluation.holdout, evaluation.newest, evaluation.golden):
        measured: AnyMetrics | None = scores.challenger
        if measured is not None:
            for name in ("rows", "accuracy", "f1", "roc_auc", "log_loss", "calibration_error"):
                yield f"{scores.name}.{name}", float(getattr(measured, name))
            for name, recall in zip(evaluation.names, measured.recalls, strict=True):
                yield f"{scores.name}.recall_{name}", recall


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _millis(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
