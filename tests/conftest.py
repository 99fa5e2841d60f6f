"""An S3 for the tests: one server per run, two buckets of their own per test."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipelines.store import Stores, open_stores

ROOT = Path(__file__).resolve().parent.parent
SERVER_START_SECONDS = 30
OWN_CREDENTIALS = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an S3 server (moto) that runs as a child process until the tests are over.

    It honours ``If-None-Match: *``, but checks and writes in two steps: a race between two
    different bodies can end with two "created". AWS and MinIO decide in one step.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("s3") / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_up(process, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        _end(process)


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + SERVER_START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"the S3 server did not start:\n{log.read_text(errors='replace')}")


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=5)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


@pytest.fixture
def s3_environment(
    s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> pytest.MonkeyPatch:
    """Endpoint and credentials for boto3 as a worker would have them, and nobody's own.

    They are environment variables, so child processes of the test get them, too.
    """
    for name in OWN_CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-aws-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return monkeypatch


Configure = Callable[..., Path]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Configure:
    """Change settings for this test: ``configure(intake={"max_rows": 10})``.

    Each call writes a new file of ``config/test.toml``, two bucket names that only this test has,
    and all that was asked for so far; ``LOOP_CONFIG`` names it. Returns its path. Objects that
    already hold settings, such as `Stores`, keep the old ones.
    """
    name = uuid.uuid4().hex[:16]
    merged = tomllib.loads((ROOT / "config" / "test.toml").read_text(encoding="utf-8"))
    merged["store"] = {"reviews_bucket": f"reviews-{name}", "models_bucket": f"models-{name}"}
    calls = 0

    def change(**sections: Mapping[str, Any]) -> Path:
        nonlocal calls
        calls += 1
        for section, values in sections.items():
            merged[section] = {**merged.get(section, {}), **values}
        path = tmp_path / f"loop-config-{calls}.toml"
        path.write_text(_as_toml(merged), encoding="utf-8")
        monkeypatch.setenv("LOOP_CONFIG", str(path))
        return path

    return change


def _as_toml(values: Mapping[str, Any]) -> str:
    """TOML of nested tables; each other value is written as JSON, which TOML reads alike."""
    return "".join(f"{name} = {_toml_value(value)}\n" for name, value in values.items())


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{name} = {_toml_value(each)}" for name, each in value.items())
        return f"{{ {inner} }}"
    return json.dumps(value)


@pytest.fixture
def stores(s3_environment: pytest.MonkeyPatch, configure: Configure) -> Stores:
    """Two empty buckets that no other test uses.

    ``pipelines.config.load()``, the steps and the command line use them, too, here and in child
    processes.
    """
    configure()
    opened = open_stores()
    opened.reviews.create_if_missing()
    opened.models.create_if_missing()
    return opened
