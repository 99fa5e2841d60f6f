"""PostgreSQL from Debian's packages as a child process, with a data folder of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

from ops.services.processes import LOOPBACK, Processes, StackError, free_port

PACKAGES = ("postgresql",)
_START_SECONDS = 60.0
_DEBIAN = Path("/usr/lib/postgresql")


class Postgres:
    """One server with one superuser. It listens on 127.0.0.1 only.

    It refuses to run as root, so root runs it as the user ``postgres``, or ``nobody``. With a
    password of its own it goes on with what is in its folder; without, all is thrown away.
    """

    name = "PostgreSQL"

    def __init__(self, folder: Path, *, port: int = 0, password: str = "") -> None:
        self.folder = folder
        self.port = port or free_port()
        self._is_kept = bool(password)
        self._password = password or secrets.token_hex(16)

    @property
    def url(self) -> str:
        return f"postgresql+psycopg2://loop:{self._password}@{LOOPBACK}:{self.port}/postgres"

    @staticmethod
    def programs() -> Path | None:
        """The folder with ``initdb`` and ``postgres``, of the newest version that is there."""
        versions = [path for path in _DEBIAN.glob("*/bin") if (path / "postgres").exists()]
        if versions:
            return max(versions, key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0))
        found = shutil.which("initdb")
        return Path(found).resolve().parent if found else None

    def start(self, processes: Processes) -> None:
        """Make the data folder, start the server, wait. Raises `StackError` if it does not come."""
        user, data = _owner(), self.folder / "data"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if user is not None:
            os.chown(self.folder, user, -1)
            self.check_way(user)
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        if not data.exists():
            self._make(data, processes, user, environment)
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "on" if self._is_kept else "off",
        }
        processes.spawn(
            "postgres",
            [f"{self.programs()}/postgres", "-D", str(data)]
            + [f"--{name}={value}" for name, value in settings.items()],
            environment=environment,
            user=user,
            stop_signal=signal.SIGINT,  # does not wait for clients
        )
        processes.wait_for("postgres", self._is_up, timeout_seconds=_START_SECONDS)

    def _make(
        self, data: Path, processes: Processes, user: int | None, environment: dict[str, str]
    ) -> None:
        """All of it, or nothing: what was begun and not ended is begun again."""
        part, password = data.with_suffix(".part"), self.folder / "password"
        shutil.rmtree(part, ignore_errors=True)
        password.touch(mode=0o600)
        password.write_text(self._password)
        if user is not None:
            os.chown(password, user, -1)
        options = ["--username=loop", f"--pwfile={password}", "--auth=scram-sha-256"]
        if not self._is_kept:
            options.append("--no-sync")
        processes.run(
            "initdb",
            [f"{self.programs()}/initdb", f"--pgdata={part}", "--encoding=UTF8", *options],
            environment=environment, timeout_seconds=_START_SECONDS, user=user,
        )  # fmt: skip
        password.unlink()
        part.rename(data)

    def check_way(self, user: int) -> None:
        """Whether the other user gets to the folder: one above it may be closed to him."""
        seen = subprocess.run(  # noqa: S603
            ["test", "-w", str(self.folder)],  # noqa: S607
            user=user, extra_groups=[], check=False,
        )  # fmt: skip
        if seen.returncode != 0:
            name = pwd.getpwuid(user).pw_name
            raise StackError(
                f"PostgreSQL runs as the user {name}, who cannot get into {self.folder}: a folder "
                "above it is closed to others. Choose another FOLDER=..., such as /var/lib/loop"
            )

    def _is_up(self) -> bool:
        """It answers before it lets anyone in, as long as it mends what a kill left."""
        address = [f"--host={LOOPBACK}", f"--port={self.port}"]
        asked = subprocess.run([f"{self.programs()}/pg_isready", "--quiet", *address], check=False)  # noqa: S603
        return asked.returncode == 0


def _owner() -> int | None:
    """User id to run as; None when we are not root and can run it ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    return 65534
