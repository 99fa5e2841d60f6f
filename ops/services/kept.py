"""A real S3 server, PostgreSQL and Redis that go on where they were, for `make stack`."""

from __future__ import annotations

from pathlib import Path

from ops.services.identity import Identity
from ops.services.processes import Processes, StackError
from ops.services.real import NotHereError, install_packages
from ops.services.real_broker import PACKAGES as BROKER_PACKAGES
from ops.services.real_broker import Redis
from ops.services.real_database import PACKAGES as DATABASE_PACKAGES
from ops.services.real_database import Postgres
from ops.services.real_s3 import CEPH_PACKAGES, CephGateway, Minio, own_kind


class KeptServices:
    """The three as child processes, their data in a folder, their secrets those of an identity.

    Raises
    ------
    NotHereError
        If there is none of a kind on this machine.
    StackError
        If the folder's buckets are those of an S3 server that is not here any more.
    """

    def __init__(self, folder: Path, identity: Identity) -> None:
        missing, kind = missing_packages(), own_kind()
        if missing or kind is None:
            raise NotHereError(f"install Debian's packages {' '.join(missing)}")
        for other in {Minio, CephGateway} - {kind}:
            if (folder / other.__name__.lower()).exists():
                raise StackError(f"the buckets in {folder} are {other.name}'s, which is gone")
        self.folder = folder
        self.processes = Processes(folder, f"{identity.marker}-services")
        self.s3 = kind(
            folder / kind.__name__.lower(), port=identity.s3_port, access_key=identity.s3_key,
            secret_key=identity.s3_secret,
        )  # fmt: skip
        self.database = Postgres(
            folder / "postgres", port=identity.database_port, password=identity.database_password
        )
        self.broker = Redis(
            folder / "redis", port=identity.broker_port, password=identity.broker_password
        )

    @property
    def names(self) -> str:
        """What stands behind Airflow."""
        return f"{self.s3.name}, {self.database.name}, {self.broker.name}"

    def __enter__(self) -> KeptServices:
        try:
            self._start()
        except BaseException:
            self.processes.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.processes.stop()

    def _start(self) -> None:
        self.processes.end_leftovers()
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o711)  # PostgreSQL's own user must get to its folder in it
        self.s3.folder.mkdir(mode=0o700, exist_ok=True)
        self.s3.start(self.processes)
        self.database.start(self.processes)
        self.broker.start(self.processes)


def install_missing() -> None:
    """Install Debian's packages of what is missing, where we are root and have apt.

    Raises
    ------
    NotHereError
        If that fails.
    """
    install_packages(missing_packages())


def missing_packages() -> list[str]:
    """Debian's packages of what is not on this machine."""
    has = {
        CEPH_PACKAGES: own_kind() is not None,
        DATABASE_PACKAGES: Postgres.programs() is not None,
        BROKER_PACKAGES: Redis.program() is not None,
    }
    return [package for packages, is_here in has.items() if not is_here for package in packages]
