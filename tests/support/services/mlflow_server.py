"""A real MLflow server from PyPI, in a virtual environment of its own, for its pins are others."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import httpx
import pytest

from tests.support.timing import HANG_SECONDS

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / ".local" / "mlflow"  # that of `make bench-serving`
MLFLOW = "mlflow==3.17.2"
OURS = ("scikit-learn", "numpy", "scipy", "joblib", "skops")


def installed() -> Path:
    """Its Python; installed the first time, which takes minutes. Skips the test without PyPI."""
    python = FOLDER / "bin" / "python"
    if not (FOLDER / "bin" / "mlflow").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=True)
        wanted = [MLFLOW, *(f"{name}=={metadata.version(name)}" for name in OURS)]
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if subprocess.run([*pip, *wanted], check=False).returncode:
            pytest.skip(f"{MLFLOW} cannot be installed from PyPI")
    return python


@contextlib.contextmanager
def mlflow_server(python: Path, folder: Path) -> Iterator[str]:
    """The address of a server that keeps all in a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination", str(folder / "artefacts"),
    ]  # fmt: skip
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            env={"PATH": f"{python.parent}:{os.environ['PATH']}", "HOME": str(folder)},
        )  # fmt: skip
    try:
        _wait(process, f"http://127.0.0.1:{port}", folder / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=HANG_SECONDS)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f"{url}/health", timeout=5)
            return
        time.sleep(0.2)
    pytest.fail(f"MLflow did not start:\n{log.read_text(errors='replace')[-3000:]}")
