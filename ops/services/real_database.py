"""PostgreSQL from Debian's packages as a child process, with a data folder of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
from pathlib import Path

from ops.services.processes import LOOPBACK, Processes, free_port

PACKAGES = ("postgresql",)
_START_SECONDS = 60.0
_DEBIAN = Path("/usr/lib/postgresql")


class Postgres:
    """One server with one superuser, whose password is random. It listens on 127.0.0.1 only.

    It refuses to run as root, so root runs it as the user ``postgres``, or ``nobody``.
    """

    name = "PostgreSQL"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._password = secrets.token_hex(16)

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
        programs, user = self.programs(), _owner()
        data, password = self.folder / "data", self.folder / "password"
        self.folder.mkdir(mode=0o700)
        password.write_text(self._password)
        if user is not None:
            for path in (self.folder, password):
                os.chown(path, user, -1)
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        options = ["--username=loop", f"--pwfile={password}", "--auth=scram-sha-256", "--no-sync"]
        processes.run(
            "initdb", [f"{programs}/initdb", f"--pgdata={data}", "--encoding=UTF8", *options],
            environment=environment, timeout_seconds=_START_SECONDS, user=user,
        )  # fmt: skip
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": self.folder,
            "fsync": "off",
        }
        processes.spawn(
            "postgres",
            [f"{programs}/postgres", "-D", str(data)]
            + [f"--{name}={value}" for name, value in settings.items()],
            environment=environment,
            user=user,
            stop_signal=signal.SIGINT,  # does not wait for clients
        )
        processes.wait_for("postgres", self._is_up, timeout_seconds=_START_SECONDS)

    def _is_up(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection((LOOPBACK, self.port), timeout=1).close()
            return True
        return False


def _owner() -> int | None:
    """User id to run as; None when we are not root and can run it ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    return 65534
