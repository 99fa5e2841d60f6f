"""A whole Airflow and an S3 server on this machine, on free ports; no process of it stays.

For `make local`, the demo and the end-to-end tests. The S3 server keeps its objects in a folder
(`ops.services.s3_folder`) and the database is SQLite, unless others are given. Everything listens
on 127.0.0.1 only.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import httpx

from ops.services import fab_users
from ops.services.identity import Identity
from ops.services.processes import LOOPBACK, Processes
from pipelines.core.store.keyring import KEY_VARIABLE, TRUSTED_VARIABLE, Keyring, write_new_key

logger = logging.getLogger(__name__)

PROJECT = Path(__file__).resolve().parents[2]
# A busy machine takes its time; who dies is noticed at once.
_START_SECONDS, _ANSWER_SECONDS, _QUICK_ANSWER_SECONDS = 1800.0, 60.0, 5.0
_FAB = "plugins.on_call.LoopFabAuthManager"
_PRELOAD = PROJECT / "ops" / "preload"
# Seconds that a writer waits for SQLite's lock before it says that it is locked. The api-server
# writes its audit log on its event loop, for which the lock's holder may wait: then it stands still
# for so long. Tasks ask again what it could not write.
_LOCK_SECONDS, _API_SERVER_LOCK_SECONDS = 300, 20
_NO_LOG_SERVER = "--skip-serve-logs"
# Containers set it. Each of the hundreds of processes here would then compile what it imports anew.
_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
# Seconds, and a count. Airflow's own values end tasks and DAG files on a machine that has other
# work: an answer then takes half a minute instead of half a second.
_PATIENCE = {
    "CORE__DAGBAG_IMPORT_TIMEOUT": "600",
    "DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "600",
    "DAG_PROCESSOR__HEALTH_CHECK_THRESHOLD": "120",
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "120",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "900",
    "SCHEDULER__TASK_QUEUED_TIMEOUT": "3600",
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "120",
    "WORKERS__EXECUTION_API_TIMEOUT": "180",
    "WORKERS__MAX_FAILED_HEARTBEATS": "20",
}


# Seconds. A message that is not confirmed comes back after two hours: no task may run for one.
_CELERY = {
    "CORE__EXECUTOR": "CeleryExecutor",
    # Workers of one machine share its name; who did a task is told by the name of the worker.
    "CORE__HOSTNAME_CALLABLE": "ops.services.processes.part_name",
    "CELERY__WORKER_CONCURRENCY": "2",
    "CELERY__OPERATION_TIMEOUT": "30",
    "CELERY__SYNC_PARALLELISM": "1",
    "CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "7200",
}


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
        Airflow's home, its SQLite database, the buckets, the signing key and the logs of all
        processes. What an earlier stack left in it is used.
    config : Path
        The loop's configuration file.
    extra_environment : dict
        Laid over the environment of every process.
    given_s3 : mapping
        ``AWS_*`` variables of a store that runs already; without them one is started.
    database_url : str
        Of an empty database for Airflow; without it a SQLite file is made.
    has_airflow : bool
        False for the S3 server alone.
    has_service : bool
        Whether the scoring service runs, too. It may only read, and holds no signing key.
    roles : mapping
        Airflow's users and their roles. Each one's password is that of the identity, or else the
        user's name.
    has_fab : bool
        Whether Airflow keeps users in its database, with FAB's roles, as docker compose does.
    identity : Identity
        The stack's secrets, ports and mark.
    broker_url : str
        Of the broker that hands tasks to ``workers``; without it the scheduler runs them.
    workers : sequence of str
        Names of Celery's workers, each of which runs two tasks at once.
    on_store : callable
        Called once the S3 server is up, before Airflow is started.
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
    has_fab: bool = False
    identity: Identity = field(default_factory=Identity)
    broker_url: str = ""
    workers: Sequence[str] = ()
    on_store: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        free = self.identity.with_free_ports()
        self.ui_port, self.s3_port = self.ui_port or free.ui_port, self.s3_port or free.s3_port
        self.service_port = self.service_port or free.service_port
        self._sqlite = "" if self.database_url else f"{self.folder}/airflow/airflow.db"
        self.database_url = self.database_url or self._sqlite_url(_LOCK_SECONDS)
        self._processes = Processes(self.folder, self.identity.marker)
        self.password = self.identity.password or "admin"

    def _sqlite_url(self, lock_seconds: int) -> str:
        return f"sqlite:///{self._sqlite}?timeout={lock_seconds}"

    @property
    def ui_url(self) -> str:
        return f"http://{LOOPBACK}:{self.ui_port}"

    @property
    def service_url(self) -> str:
        return f"http://{LOOPBACK}:{self.service_port}"

    @property
    def s3_environment(self) -> dict[str, str]:
        """What a process needs to reach the buckets."""
        own = {
            "AWS_ENDPOINT_URL_S3": f"http://{LOOPBACK}:{self.s3_port}",
            "AWS_ACCESS_KEY_ID": self.identity.s3_key,
            "AWS_SECRET_ACCESS_KEY": "not-checked",
        }
        return {
            **(self.given_s3 or own),
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
            if not name.startswith(("AIRFLOW", "AWS_", "_AIRFLOW")) and name != _NO_BYTECODE
        }  # fmt: skip
        return (
            inherited
            | self.s3_environment
            | self._airflow_environment()
            | self._secrets()
            | self.extra_environment
        )

    def _secrets(self) -> dict[str, str]:
        return {
            "AIRFLOW__API_AUTH__JWT_SECRET": self.identity.jwt_secret,
            "AIRFLOW__API__SECRET_KEY": self.identity.api_secret,
            "AIRFLOW__CORE__FERNET_KEY": self.identity.fernet_key,
        }

    def _airflow_environment(self) -> dict[str, str]:
        home = self.folder / "airflow"
        settings = {
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": "4",
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__DAGS_FOLDER": str(PROJECT / "dags"),
            "CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
            "CORE__EXECUTION_API_SERVER_URL": f"{self.ui_url}/execution/",
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
        }
        settings |= _PATIENCE | self._login_settings(home) | self._celery_settings()
        return {f"AIRFLOW__{name}": value for name, value in settings.items()} | {
            "AIRFLOW_HOME": str(home),
            "PYTHONPATH": str(PROJECT),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }

    def _celery_settings(self) -> dict[str, str]:
        if not self.broker_url:
            return {}
        urls = {
            "CELERY__BROKER_URL": self.broker_url,
            "CELERY__RESULT_BACKEND": f"db+{self.database_url}",
        }
        return _CELERY | urls

    def _login_settings(self, home: Path) -> dict[str, str]:
        if self.has_fab:
            return {"CORE__AUTH_MANAGER": _FAB}
        users = ",".join(f"{name}:{role}" for name, role in self.roles.items())
        return {
            "CORE__SIMPLE_AUTH_MANAGER_USERS": users,
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
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
        self._processes.end_leftovers()
        key = self.folder / "signing-key.pem"
        if not key.exists():
            write_new_key(key)
        if self.given_s3 is None:
            self._start_s3()
        self.on_store()
        if self.has_service:
            self._start_service()
        if self.has_airflow:
            self._start_airflow()

    def _start_s3(self) -> None:
        self.on_step("starting the S3 server")
        arguments = (str(self.folder / "s3"), "--port", str(self.s3_port))
        self._spawn("s3", "ops.services.s3_folder", *arguments)
        self._processes.wait_for("s3", self._is_s3_up, timeout_seconds=_START_SECONDS)

    def _start_airflow(self) -> None:
        home = self.folder / "airflow"
        home.mkdir(parents=True, exist_ok=True)
        passwords = {name: self.identity.password or name for name in self.roles}
        if not self.has_fab:
            own_file = home / "passwords.json"
            own_file.touch(mode=0o600)
            own_file.write_text(json.dumps(passwords))
        self.on_step("preparing Airflow's database")
        migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
        self._processes.run(
            "migrate", migrate, environment=self.environment, timeout_seconds=_START_SECONDS
        )
        if self._sqlite:
            with contextlib.closing(sqlite3.connect(self._sqlite)) as database:
                database.execute("PRAGMA journal_mode=WAL")  # who reads keeps nobody from writing
        if self.has_fab:
            users = {name: (role, passwords[name]) for name, role in self.roles.items()}
            self._processes.run(
                "on-call",
                [sys.executable, "-m", "plugins.on_call"],
                environment=self.environment,
                timeout_seconds=_START_SECONDS,
            )
            self._processes.run(
                "users",
                [sys.executable, "-m", "ops.services.fab_users"],
                environment=self.environment | {fab_users.USERS_VARIABLE: json.dumps(users)},
                timeout_seconds=_START_SECONDS,
            )
        self.on_step("starting Airflow: api-server, scheduler, dag-processor, triggerer")
        api_server = ["api-server", "--host", LOOPBACK, "--port", str(self.ui_port)]
        own_url = self._sqlite_url(_API_SERVER_LOCK_SECONDS) if self._sqlite else self.database_url
        self._spawn(
            "api-server", "airflow", *api_server, "--workers", "1",
            changed={"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": own_url},
        )  # fmt: skip
        paths = f"{_PRELOAD}{os.pathsep}{self.environment['PYTHONPATH']}"
        # Airflow's log servers would listen on every address; the logs are in reach without them.
        preloaded = {"PYTHONPATH": paths}  # for what starts the processes of tasks
        self._spawn(
            "scheduler", "airflow", "scheduler", _NO_LOG_SERVER,
            changed={} if self.workers else preloaded,
        )  # fmt: skip
        for name in self.workers:
            worker = ("celery", "worker", "--celery-hostname", name, _NO_LOG_SERVER)
            self._spawn(name, "airflow", *worker, changed=preloaded)
        self._spawn("triggerer", "airflow", "triggerer", _NO_LOG_SERVER)
        self._spawn("dag-processor", "airflow", "dag-processor")
        self._processes.wait_for(
            "airflow", self._is_airflow_healthy, timeout_seconds=_START_SECONDS
        )
        self._processes.wait_for("workers", self._are_workers_up, timeout_seconds=_START_SECONDS)

    def _start_service(self) -> None:
        self.on_step("starting the scoring service")
        trusted = self.folder / "trusted-keys"
        with environment(self.s3_environment):
            Keyring().export(trusted)
        own = self.environment | {TRUSTED_VARIABLE: str(trusted)}
        del own[KEY_VARIABLE]
        command = [sys.executable, "-m", "pipelines", "serve", "--port", str(self.service_port)]
        self._processes.spawn("scoring", [*command, "--quiet"], environment=own)

    def stop(self) -> None:
        """Stop every process of this stack: politely, then for good.

        A second Ctrl-C does not stop the stopping.
        """
        self._processes.stop()

    def check_alive(self) -> None:
        """Raise `StackError` if a component has died."""
        self._processes.check_alive()

    def revive(self) -> list[str]:
        """Start each component that has died once more; returns what died.

        Raises
        ------
        StackError
            If one dies again and again.
        """
        return self._processes.revive()

    def is_answering(self) -> bool:
        """Whether Airflow's api-server answers at once what needs no database."""
        with contextlib.suppress(httpx.HTTPError):
            url = f"{self.ui_url}/api/v2/version"
            return httpx.get(url, timeout=_QUICK_ANSWER_SECONDS).is_success
        return False

    def _spawn(
        self, name: str, module: str, *arguments: str, changed: Mapping[str, str] | None = None
    ) -> None:
        command = [sys.executable, "-m", module, *arguments]
        environment = self.environment | dict(changed or {})
        self._processes.spawn(name, command, environment=environment)

    def _is_s3_up(self) -> bool:
        """It refuses whoever does not name its key, and so it is up."""
        url = self.s3_environment["AWS_ENDPOINT_URL_S3"]
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.get(url, timeout=_ANSWER_SECONDS)
            return answer.status_code == HTTPStatus.FORBIDDEN
        return False

    def _is_airflow_healthy(self) -> bool:
        try:
            answer = httpx.get(f"{self.ui_url}/api/v2/monitor/health", timeout=_ANSWER_SECONDS)
            parts = answer.json()
        except (httpx.HTTPError, ValueError):
            return False
        wanted = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all((parts.get(part) or {}).get("status") == "healthy" for part in wanted)

    def _are_workers_up(self) -> bool:
        """Whether each of them takes tasks from the broker."""
        if not self.workers:
            return True
        from celery import Celery

        with Celery(broker=self.broker_url) as app:
            answers = app.control.ping(timeout=_QUICK_ANSWER_SECONDS, limit=len(self.workers))
        names = {name.rpartition("@")[2] for answer in answers for name in answer}
        return names >= set(self.workers)
