"""A whole Airflow and an S3 test server on this machine, on free ports, gone without a trace.

For the demo and the end-to-end tests. The S3 server is moto's, in memory, a test double that checks
no credentials, and the database is SQLite, unless others are given. Everything listens on 127.0.0.1
only.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import secrets
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from ops.services.processes import LOOPBACK, Processes, free_port
from pipelines.core.store.keyring import write_new_key

logger = logging.getLogger(__name__)

PROJECT = Path(__file__).resolve().parents[2]
USUAL_UI_PORT, USUAL_S3_PORT, USUAL_SERVICE_PORT = 8080, 9000, 8090

_START_SECONDS = 900.0  # a busy machine takes its time; who dies is noticed at once
_PRELOAD = PROJECT / "ops" / "preload"


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Lay variables over this very process's own, and put its own back afterwards."""
    saved = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


@dataclass
class LocalStack:
    """An S3 server and Airflow's four components as child processes.

    Use it as a context manager; leaving it stops every process it started, and theirs.

    Attributes
    ----------
    folder : Path
        Airflow's home, its SQLite database and the logs of all processes. Made new.
    config : Path
        The loop's configuration file.
    extra_environment : dict
        Laid over the environment of every process.
    given_s3 : mapping
        ``AWS_*`` variables of a store that runs already; without them moto is started.
    database_url : str
        Of an empty database for Airflow; without it a SQLite file is made.
    has_airflow : bool
        False for the S3 server alone.
    has_service : bool
        Whether the scoring service runs, too. It may only read, and holds no signing key.
    roles : mapping
        Airflow's users and their roles. Each one's password is the user's name.
    """

    folder: Path
    config: Path
    on_step: Callable[[str], None] = lambda _step: None
    extra_environment: dict[str, str] = field(default_factory=dict)
    ui_port: int = 0
    s3_port: int = 0
    service_port: int = 0
    given_s3: Mapping[str, str] | None = None
    database_url: str = ""
    has_airflow: bool = True
    has_service: bool = False
    roles: Mapping[str, str] = field(default_factory=lambda: {"admin": "admin"})

    def __post_init__(self) -> None:
        self.ui_port = self.ui_port or free_port(USUAL_UI_PORT)
        self.s3_port = self.s3_port or free_port(USUAL_S3_PORT)
        self.service_port = self.service_port or free_port(USUAL_SERVICE_PORT)
        self._sqlite = "" if self.database_url else f"{self.folder}/airflow/airflow.db"
        # Writers wait for each other this many seconds before they say that it is locked.
        self.database_url = self.database_url or f"sqlite:///{self._sqlite}?timeout=60"
        self._processes = Processes(self.folder)
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
    def service_url(self) -> str:
        return f"http://{LOOPBACK}:{self.service_port}"

    @property
    def s3_environment(self) -> dict[str, str]:
        """What a process needs to reach the buckets."""
        moto = {
            "AWS_ENDPOINT_URL_S3": f"http://{LOOPBACK}:{self.s3_port}",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local-only",
        }
        return {
            **(self.given_s3 or moto),
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "LOOP_CONFIG": str(self.config),
            "LOOP_SIGNING_KEY_FILE": str(self.folder / "signing-key.pem"),
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
            "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
                f"{name}:{role}" for name, role in self.roles.items()
            ),
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
            "DATABASE__SQL_ALCHEMY_CONN": self.database_url,
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
        passwords = {name: name for name in self.roles}  # loopback only, and said on the screen
        (home / "passwords.json").write_text(json.dumps(passwords))
        if self.given_s3 is None:
            self.on_step("starting the S3 test server (moto)")
            self._spawn("s3", "ops.services.s3_double", "--port", str(self.s3_port))
        trusted = write_new_key(self.folder / "signing-key.pem")
        (self.folder / "trusted-keys").write_text(f"{trusted}\n", encoding="ascii")
        if self.has_airflow:
            self._start_airflow()
        if self.given_s3 is None:
            self._processes.wait_for("s3", self._is_s3_up, timeout_seconds=_START_SECONDS)
        if self.has_service:
            self._start_service()
        if self.has_airflow:
            self._processes.wait_for(
                "airflow", self._is_airflow_healthy, timeout_seconds=_START_SECONDS
            )

    def _start_airflow(self) -> None:
        self.on_step("preparing Airflow's database")
        migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
        self._processes.run(
            "migrate", migrate, environment=self.environment, timeout_seconds=_START_SECONDS
        )
        if self._sqlite:
            with contextlib.closing(sqlite3.connect(self._sqlite)) as database:
                database.execute("PRAGMA journal_mode=WAL")  # who reads keeps nobody from writing
        self.on_step("starting Airflow: api-server, scheduler, dag-processor, triggerer")
        api_server = ["api-server", "--host", LOOPBACK, "--port", str(self.ui_port)]
        self._spawn("api-server", "airflow", *api_server, "--workers", "1")
        paths = f"{_PRELOAD}{os.pathsep}{self.environment['PYTHONPATH']}"
        self._spawn("scheduler", "airflow", "scheduler", changed={"PYTHONPATH": paths})
        for name in ("dag-processor", "triggerer"):
            self._spawn(name, "airflow", name)

    def _start_service(self) -> None:
        self.on_step("starting the scoring service")
        environment = self.environment | {
            "LOOP_TRUSTED_KEYS_FILE": str(self.folder / "trusted-keys")
        }
        del environment["LOOP_SIGNING_KEY_FILE"]
        command = [sys.executable, "-m", "pipelines", "serve", "--port", str(self.service_port)]
        self._processes.spawn("scoring", [*command, "--quiet"], environment=environment)

    def stop(self) -> None:
        """Stop every process of this stack: politely, then for good.

        A second Ctrl-C does not stop the stopping.
        """
        self._processes.stop()

    def check_alive(self) -> None:
        """Raise `StackError` if a component has died."""
        self._processes.check_alive()

    def _spawn(
        self, name: str, module: str, *arguments: str, changed: Mapping[str, str] | None = None
    ) -> None:
        command = [sys.executable, "-m", module, *arguments]
        environment = self.environment | dict(changed or {})
        self._processes.spawn(name, command, environment=environment)

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
