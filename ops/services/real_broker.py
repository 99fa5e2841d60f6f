"""Redis, or Valkey, as a child process: what hands tasks to Celery's workers."""

from __future__ import annotations

import contextlib
import shutil
import socket
from pathlib import Path

from ops.services.processes import LOOPBACK, Processes

PACKAGES = ("redis-server",)
_START_SECONDS = 60.0
_PROGRAMS = ("redis-server", "valkey-server")
# What it has confirmed is on the disk, so a kill loses no task; and it refuses rather than forgets.
# A title for the process would overwrite the marks in its environment.
_SETTINGS = """\
bind {host}
port {port}
requirepass {password}
dir "{folder}"
daemonize no
set-proc-title no
save ""
appendonly yes
appendfsync always
maxmemory-policy noeviction
"""


def settings_of(folder: Path, *, port: int, password: str) -> str:
    """What its settings file says."""
    return _SETTINGS.format(host=LOOPBACK, port=port, password=password, folder=folder)


class Redis:
    """One server, which goes on with what is in its folder. It listens on 127.0.0.1 only."""

    name = "Redis"

    def __init__(self, folder: Path, *, port: int, password: str) -> None:
        self.folder, self.port, self._password = folder, port, password

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@{LOOPBACK}:{self.port}/0"

    @staticmethod
    def program() -> str | None:
        return next(filter(None, map(shutil.which, _PROGRAMS)), None)

    def start(self, processes: Processes) -> None:
        """Start it and wait until it answers. Raises `StackError` if it does not."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        settings = self.folder / "redis.conf"
        settings.touch(mode=0o600)  # a password on a command line could be read by everyone
        text = settings_of(self.folder, port=self.port, password=self._password)
        settings.write_text(text, encoding="utf-8")
        processes.spawn("redis", [str(self.program()), str(settings)], environment={})
        processes.wait_for("redis", self._is_up, timeout_seconds=_START_SECONDS)

    def _is_up(self) -> bool:
        """Whether it has read its data and lets us in."""
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.port), 2) as it:
            it.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2 and (part := it.recv(200)):
                answer += part
            return answer == b"+OK\r\n+PONG\r\n"
        return False
