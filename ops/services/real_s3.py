"""A real S3 server as child processes: MinIO where its program is there, else Ceph's RGW.

Such a server decides two racing creates of one key in one step and refuses wrong credentials; the
tests find out whether it does. Both keep objects on disk and listen on 127.0.0.1 only.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import uuid
from abc import ABC, abstractmethod
from pathlib import Path

from ops.services.processes import LOOPBACK, Processes, StackError, free_port
from pipelines.core.grants import ROLES

_START_SECONDS = 120.0
_TOOLS = Path(__file__).resolve().parents[2] / ".local" / "tools"
_CEPH_PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw",
                  "radosgw-admin")  # fmt: skip
CEPH_PACKAGES = ("ceph-mon", "ceph-osd", "radosgw")


class S3Server(ABC):
    """A server with one user, whose credentials are random unless they are given.

    ``capabilities`` are what the tests must find it able to do, by the names that
    `tests/support/services/capabilities.py` has for them.
    """

    name: str
    capabilities: tuple[str, ...] = ("atomic_create", "checks_credentials")

    def __init__(
        self, folder: Path, *, port: int = 0, access_key: str = "", secret_key: str = ""
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.access_key = access_key or secrets.token_hex(10)
        self.secret_key = secret_key or secrets.token_hex(20)

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to reach it."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    @abstractmethod
    def start(self, processes: Processes) -> None:
        """Start it and wait until it answers. Raises `StackError` if it does not."""


class GivenServer(S3Server):
    """A server that runs already; its credentials are in the environment."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self.name = f"the S3 server at {endpoint}"

    @property
    def endpoint(self) -> str:
        return self._endpoint

    @property
    def environment(self) -> dict[str, str]:
        return {"AWS_ENDPOINT_URL_S3": self._endpoint}

    def start(self, _processes: Processes) -> None:
        """Nothing is started; the credentials must be there."""
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        if missing := [name for name in names if not os.environ.get(name)]:
            raise StackError(f"{self.name} is to be used, but {' and '.join(missing)} are not set")


class Minio(S3Server):
    """MinIO's single program on one folder."""

    name = "MinIO"

    @staticmethod
    def program() -> Path | None:
        """Where MinIO is: ``$MINIO``, the project's or the user's tools folder, or the path."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        named = [os.environ.get("MINIO"), shutil.which("minio")]
        places = [
            *(Path(place) for place in named if place),
            _TOOLS / "minio",
            cache / "retraining-loop" / "tools" / "minio",
        ]
        return next((place for place in places if os.access(place, os.X_OK)), None)

    def start(self, processes: Processes) -> None:
        address = f"{LOOPBACK}:{self.port}"
        command = [str(self.program()), "server", str(self.folder / "minio"), "--address", address]
        users = {"MINIO_ROOT_USER": self.access_key, "MINIO_ROOT_PASSWORD": self.secret_key}
        processes.spawn(
            "minio",
            [*command, "--console-address", f"{LOOPBACK}:{free_port()}"],
            environment=_plain_environment() | users,
        )
        processes.wait_for(
            "minio",
            lambda: _answers(f"{self.endpoint}/minio/health/live"),
            timeout_seconds=_START_SECONDS,
        )


class CephGateway(S3Server):
    """Ceph's S3 gateway on the smallest cluster: one monitor, one store on a sparse file.

    Beside the user that owns the buckets it has one for each role, which may do nothing; the owner
    may make others, and give them policies through IAM's interface. A cluster that is in the folder
    goes on, with its users and the monitor's port. ``host`` is the address it listens on.
    """

    name = "Ceph RGW"
    host = LOOPBACK
    capabilities = (*S3Server.capabilities, "enforces_policies")

    def __init__(
        self, folder: Path, *, port: int = 0, access_key: str = "", secret_key: str = ""
    ) -> None:
        super().__init__(folder, port=port, access_key=access_key, secret_key=secret_key)
        self.users = {role: (secrets.token_hex(10), secrets.token_hex(20)) for role in ROLES}

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"LOOP_TEST_S3_USERS": json.dumps(self.users)}

    @staticmethod
    def is_installed() -> bool:
        return all(shutil.which(program) for program in _CEPH_PROGRAMS)

    def start(self, processes: Processes) -> None:
        self._processes = processes
        made = self.folder / "made"
        if made.exists():
            self._go_on()
        else:
            self._make()
            made.touch()
        self._spawn("rgw", "radosgw", "-n", "client.admin", "-f")
        processes.wait_for("rgw", lambda: _answers(self.endpoint), timeout_seconds=_START_SECONDS)

    def _go_on(self) -> None:
        """With another address for clients, if its former port was taken."""
        endpoint = f"endpoint={self.host}:{self.port}"
        settings = self._config.read_text(encoding="utf-8")
        self._config.write_text(re.sub(r"endpoint=\S+", endpoint, settings), encoding="utf-8")
        self._spawn("mon", "ceph-mon", "-i", "a", "-f")
        self._spawn("osd", "ceph-osd", "-i", "0", "-f")

    def _make(self) -> None:
        shutil.rmtree(self.folder)  # what was begun and not ended
        self.folder.mkdir()
        for part in ("mon", "osd", "rgw", "run"):
            (self.folder / part).mkdir()
        cluster, store = str(uuid.uuid4()), str(uuid.uuid4())
        monitor = f"[v2:{LOOPBACK}:{free_port()}/0]"
        settings = _CEPH_SETTINGS.format(
            cluster=cluster,
            monitor=monitor,
            folder=self.folder,
            endpoint=f"{self.host}:{self.port}",
        )
        self._config.write_text(settings)
        self._make_monitor(cluster, monitor)
        self._run("new-osd", "ceph", "--connect-timeout", "60", "osd", "new", store)
        self._run("mkfs-osd", "ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", store)
        self._spawn("osd", "ceph-osd", "-i", "0", "-f")
        self._make_user(
            "loop", self.access_key, self.secret_key,
            "--max-buckets=100000",  # two for each test
            "--caps=users=*;user-policy=*",
        )  # fmt: skip
        for role, keys in self.users.items():
            self._make_user(role, *keys, "--max-buckets=-1")  # may make none

    def _make_user(self, name: str, access_key: str, secret_key: str, *options: str) -> None:
        self._run(
            f"user-{name}", "radosgw-admin", "user", "create", f"--uid={name}",
            f"--display-name={name}", f"--access-key={access_key}", f"--secret-key={secret_key}",
            *options,
        )  # fmt: skip
        self._processes.forget_log(f"user-{name}")

    def _make_monitor(self, cluster: str, monitor: str) -> None:
        keyring, members = str(self.folder / "keyring"), str(self.folder / "monmap")
        self._run("keyring", "ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n",
                  "mon.", "--cap", "mon", "allow *")  # fmt: skip
        self._run("admin", "ceph-authtool", keyring, "--gen-key", "-n", "client.admin",
                  "--cap", "mon", "allow *", "--cap", "osd", "allow *")  # fmt: skip
        self._run("monmap", "monmaptool", "--create", "--fsid", cluster, "--addv", "a",
                  monitor.replace("/0", ""), members)  # fmt: skip
        self._run("mkfs-mon", "ceph-mon", "-i", "a", "--mkfs", "--monmap", members,
                  "--keyring", keyring)  # fmt: skip
        self._spawn("mon", "ceph-mon", "-i", "a", "-f")

    @property
    def _config(self) -> Path:
        return self.folder / "ceph.conf"

    @property
    def _environment(self) -> dict[str, str]:
        return {**_plain_environment(), "CEPH_CONF": str(self._config)}

    def _run(self, name: str, *command: str) -> None:
        self._processes.run(
            name, command, environment=self._environment, timeout_seconds=_START_SECONDS
        )

    def _spawn(self, name: str, *command: str) -> None:
        self._processes.spawn(name, command, environment=self._environment)


# One copy of everything, no authentication between Ceph's own processes, nothing beyond loopback.
_CEPH_SETTINGS = """\
[global]
fsid = {cluster}
mon host = {monitor}
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
ms mon cluster mode = crc
ms mon service mode = crc
keyring = {folder}/keyring
run dir = {folder}/run
admin socket =
pid file =
log file =
log to stderr = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail crit = 0
mon data avail warn = 0
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = bluestore
osd memory target = 939524096
bluestore block size = 8589934592
rgw data = {folder}/rgw
rgw override bucket index max shards = 1
rgw dynamic resharding = false
rgw enable usage log = false
rgw enable ops log = false
rgw frontends = beast endpoint={endpoint} tcp_nodelay=1
"""


def given_endpoint() -> str:
    """The address of a server that is to be used as it is; empty when there is none."""
    names = ("LOOP_TEST_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3")
    return next(filter(None, map(os.environ.get, names)), "")


def find_server(folder: Path) -> S3Server | None:
    """The server that is given or can be started on this machine; None when there is none."""
    if endpoint := given_endpoint():
        return GivenServer(endpoint)
    kind = own_kind()
    return kind(folder) if kind else None


def own_kind() -> type[Minio] | type[CephGateway] | None:
    """What can be started on this machine."""
    if Minio.program() is not None:
        return Minio
    return CephGateway if CephGateway.is_installed() else None


def _plain_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


def _answers(url: str) -> bool:
    import httpx  # installing the services needs nothing but Python

    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url, timeout=2).is_success
    return False
