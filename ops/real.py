"""Run a command on real services instead of test doubles, and leave nothing behind.

    python -m ops.real [--install] [--or-skip] -- COMMAND...

Starts a real S3 server and PostgreSQL on free loopback ports, their data in a temporary folder,
tells the command through its environment, and stops them when it ends, also after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ops.processes import Processes, StackError
from ops.real_database import PACKAGES as DATABASE_PACKAGES
from ops.real_database import Postgres
from ops.real_s3 import CEPH_PACKAGES, CephGateway, Minio, S3Server, find_server

_COMMAND_STOP_SECONDS = 60.0
REQUIRED_CAPABILITIES = "atomic_create,checks_credentials"


class NotHereError(RuntimeError):
    """There is no real service of a kind on this machine."""


class Terminated(KeyboardInterrupt):
    """Somebody sent SIGTERM to this very process."""


class RealServices:
    """A real S3 server and, where there is one, PostgreSQL, for as long as the context lasts.

    Raises
    ------
    NotHereError
        On entering, if there is no S3 server on this machine.
    StackError
        On entering, if one does not start.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="loop-real-"))
        self.folder.chmod(0o711)  # PostgreSQL's own user must get to its folder in it
        self._processes = Processes(self.folder)
        self.s3: S3Server | None = None
        self.database: Postgres | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What tells the tests to use these services."""
        told = {"LOOP_TEST_REQUIRE": REQUIRED_CAPABILITIES, "LOOP_TEST_KEEP_BUCKETS": "1"}
        if self.s3 is not None:
            told |= self.s3.environment | {"LOOP_TEST_S3_ENDPOINT": self.s3.endpoint}
        if self.database is not None:
            told["LOOP_TEST_DATABASE"] = self.database.url
        return told

    def __enter__(self) -> RealServices:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def check_alive(self) -> None:
        """Raise `StackError` if a service has died."""
        self._processes.check_alive()

    def _start(self) -> None:
        (self.folder / "s3").mkdir()
        self.s3 = find_server(self.folder / "s3")
        if self.s3 is None:
            raise NotHereError(
                "no real S3 server: neither MinIO nor Ceph's gateway is installed. Set MINIO to "
                f"MinIO's program, or install Debian's packages {' '.join(CEPH_PACKAGES)}"
            )
        self.s3.start(self._processes)
        if Postgres.programs() is not None:
            self.database = Postgres(self.folder / "postgres")
            self.database.start(self._processes)


def install_missing() -> None:
    """Install Debian's packages of what is missing, where we are root and have apt.

    Raises
    ------
    NotHereError
        If that fails.
    """
    has_s3 = Minio.program() is not None or CephGateway.is_installed()
    packages = [
        *(() if has_s3 else CEPH_PACKAGES),
        *(() if Postgres.programs() is not None else DATABASE_PACKAGES),
    ]
    if not packages or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    _say(f"installing Debian's packages {' '.join(packages)}")
    quietly = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    for command in (["apt-get", "update", "-qq"], install):
        reply = subprocess.run(  # noqa: S603
            command, env=quietly, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if reply.returncode != 0:
            raise NotHereError(f"{' '.join(command)} failed: {reply.stderr.strip()[-500:]}")


def run(command: Sequence[str], *, is_installing: bool) -> int:
    """Run a command on real services; returns its exit code."""
    if is_installing:
        install_missing()
    began = time.monotonic()
    with RealServices() as services:
        s3 = services.s3.name if services.s3 else ""
        database = services.database.name if services.database else "SQLite"
        _say(f"{s3} and {database} are up after {time.monotonic() - began:.0f} s")
        if services.database is None:
            _say("SKIPPED PostgreSQL: it is not installed; Airflow's database is SQLite")
        code = _run_beside(command, services.environment)
        services.check_alive()
        return code


def _run_beside(command: Sequence[str], told: dict[str, str]) -> int:
    child = subprocess.Popen(command, env={**os.environ, **told})  # noqa: S603
    try:
        return child.wait()
    except KeyboardInterrupt as interrupt:
        if isinstance(interrupt, Terminated):  # a Ctrl-C reached it by itself
            child.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=_COMMAND_STOP_SECONDS)  # its services stay until it cleaned up
        raise
    finally:
        child.kill()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ops.real", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--install", action="store_true", help="install what is missing, as root")
    parser.add_argument("--or-skip", action="store_true", help="without an S3 server: say so, pass")
    parser.add_argument("command", nargs="+")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return run(chosen.command, is_installing=chosen.install)
    except NotHereError as error:
        _say(f"{'SKIPPED' if chosen.or_skip else 'FAILED'} the tests on real services: {error}")
        return 0 if chosen.or_skip else 1
    except StackError as error:
        _say(f"FAILED: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


def _say(text: str) -> None:
    sys.stderr.write(f"real services: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
