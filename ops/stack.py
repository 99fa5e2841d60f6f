"""A whole Airflow and an S3 test server on this machine, on free ports, gone without a trace.

For the demo and the end-to-end tests. The S3 server is moto's: in memory, checks no credentials,
a test double. Everything listens on 127.0.0.1 only.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

logger = logging.getLogger(__name__)

PROJECT = Path(__file__).resolve().parent.parent
LOOPBACK = "127.0.0.1"
MARKER = "RETRAINING_LOOP_STACK"
USUAL_UI_PORT, USUAL_S3_PORT = 8080, 9000

_START_SECONDS = 240.0
_STOP_SECONDS = 8.0
_PR_SET_PDEATHSIG = 1


class StackError(RuntimeError):
    """A component did not start or died. The message holds the end of its log."""


def free_port(preferred: int | None = None) -> int:
    """A TCP port nobody listens on: the preferred one if it is free."""
    for port in (preferred, 0):
        if port is None:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StackError("no free TCP port on 127.0.0.1")


@dataclass
class LocalStack:
    """Moto's S3 server and Airflow's four components as child processes.

    Use it as a context manager; leaving it stops every process it started, and theirs.

    Attributes
    ----------
    folder : Path
        Airflow's home, its SQLite database and the logs of all processes. Made new.
    config : Path
        The loop's configuration file.
    extra_environment : dict
        Laid over the environment of every process.
    """

    folder: Path
    config: Path
    on_step: Callable[[str], None] = lambda _step: None
    extra_environment: dict[str, str] = field(default_factory=dict)
    ui_port: int = 0
    s3_port: int = 0
    _marker: str = field(default_factory=lambda: uuid.uuid4().hex)
    _children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ui_port = self.ui_port or free_port(USUAL_UI_PORT)
        self.s3_port = self.s3_port or free_port(USUAL_S3_PORT)
        self.password = "admin"  # noqa: S105 - loopback only, and said on the screen
        self._secret_environment = {
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        }

    @property
    def ui_url(self) -> str:
        return f"http://{LOOPBACK}:{self.ui_port}"

    @property
    def s3_environment(self) -> dict[str, str]:
        """What a process needs to reach the buckets."""
        return {
            "AWS_ENDPOINT_URL_S3": f"http://{LOOPBACK}:{self.s3_port}",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local-only",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "LOOP_CONFIG": str(self.config),
        }

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of every component."""
        inherited = {
            name: value for name, value in os.environ.items()
            if not name.startswith(("AIRFLOW", "AWS_", "_AIRFLOW"))
        }  # fmt: skip
        return (
            inherited
            | self.s3_environment
            | self._airflow_environment()
            | self._secret_environment
            | self.extra_environment
            | {MARKER: self._marker}
        )

    def _airflow_environment(self) -> dict[str, str]:
        home = self.folder / "airflow"
        settings = {
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": "4",
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__DAGS_FOLDER": str(PROJECT / "dags"),
            "CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
            "CORE__EXECUTION_API_SERVER_URL": f"{self.ui_url}/execution/",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "API__BASE_URL": self.ui_url,
            "API__HOST": LOOPBACK,
            "API__PORT": str(self.ui_port),
            # A LocalExecutor slot stays busy until the supervisor's next look at its child.
            "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
            "SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            "DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
            "DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(home / "bundles"),
            "LOGGING__BASE_LOG_FOLDER": str(home / "task-logs"),
            "LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        }
        return {f"AIRFLOW__{name}": value for name, value in settings.items()} | {
            "AIRFLOW_HOME": str(home),
            "PYTHONPATH": str(PROJECT),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }

    def __enter__(self) -> LocalStack:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until it is healthy.

        Raises
        ------
        StackError
            If something does not come up; the message holds the end of its log.
        """
        home = self.folder / "airflow"
        home.mkdir(parents=True, exist_ok=True)
        (self.folder / "logs").mkdir(exist_ok=True)
        (home / "passwords.json").write_text(json.dumps({"admin": self.password}))
        self.on_step("starting the S3 test server (moto)")
        self._spawn("s3", ["-m", "moto.server", "-H", LOOPBACK, "-p", str(self.s3_port)])
        self.on_step("preparing Airflow's database")
        self._run_airflow("db", "migrate")
        self.on_step("starting Airflow: api-server, scheduler, dag-processor, triggerer")
        api_server = ["api-server", "--host", LOOPBACK, "--port", str(self.ui_port)]
        self._spawn_airflow("api-server", [*api_server, "--workers", "1"])
        for name in ("scheduler", "dag-processor", "triggerer"):
            self._spawn_airflow(name, [name])
        self._wait_for("s3", self._is_s3_up)
        self._wait_for("airflow", self._is_airflow_healthy)

    def stop(self) -> None:
        """Stop every process of this stack: politely, then for good.

        A second Ctrl-C does not stop the stopping.
        """
        with _interrupts_ignored():
            self._stop()

    def _stop(self) -> None:
        for child in self._children.values():
            _signal_group(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < deadline and any(
            child.poll() is None for child in self._children.values()
        ):
            time.sleep(0.1)
        for child in self._children.values():
            _signal_group(child.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=5)
        for pid in processes_of(self._marker):  # what moved to a process group of its own
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._children.clear()

    def check_alive(self) -> None:
        """Raise `StackError` if a component has died."""
        for name, child in self._children.items():
            if child.poll() is not None:
                raise StackError(
                    f"{name} ended with exit code {child.returncode}. Its log ends:\n"
                    f"{self._log_tail(name)}"
                )

    def _run_airflow(self, *arguments: str) -> None:
        self._spawn_airflow("migrate", list(arguments))
        child = self._children.pop("migrate")
        if child.wait(timeout=_START_SECONDS) != 0:
            raise StackError(f"airflow {' '.join(arguments)} failed:\n{self._log_tail('migrate')}")

    def _spawn_airflow(self, name: str, arguments: list[str]) -> None:
        self._spawn(name, ["-m", "airflow", *arguments])

    def _spawn(self, name: str, arguments: list[str]) -> None:
        with self._log_path(name).open("wb") as log:
            self._children[name] = subprocess.Popen(  # noqa: S603
                [sys.executable, *arguments],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - started from the main thread
            )

    def _wait_for(self, name: str, is_up: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not is_up():
            self.check_alive()
            if time.monotonic() > deadline:
                raise StackError(
                    f"{name} was not up after {_START_SECONDS:.0f} s; see the logs in "
                    f"{self.folder / 'logs'}"
                )
            time.sleep(0.2)

    def _is_s3_up(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(self.s3_environment["AWS_ENDPOINT_URL_S3"], timeout=2).is_success
        return False

    def _is_airflow_healthy(self) -> bool:
        try:
            answer = httpx.get(f"{self.ui_url}/api/v2/monitor/health", timeout=5)
            parts = answer.json()
        except (httpx.HTTPError, ValueError):
            return False
        wanted = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all((parts.get(part) or {}).get("status") == "healthy" for part in wanted)

    def _log_path(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def _log_tail(self, name: str, lines: int = 15) -> str:
        try:
            text = self._log_path(name).read_text(errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])


def processes_of(marker: str) -> Iterator[int]:
    """Process ids whose environment carries the marker of a stack (Linux; elsewhere none)."""
    wanted = f"{MARKER}={marker}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    saved = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, saved, strict=True):
            signal.signal(number, handler)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _die_with_parent() -> None:
    """In the child: end when the parent is killed (Linux; elsewhere nothing happens)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
