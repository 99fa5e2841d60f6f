"""Run a command on real services instead of test doubles, and leave nothing behind.

    python -m ops.services.real [--install] [--or-skip | --or-doubles] -- COMMAND...
    python -m ops.services.real --install

Starts a real S3 server and PostgreSQL on free loopback ports, their data in a temporary folder,
tells the command through its environment, and stops them when it ends, also after Ctrl-C. A server
that the environment names already (``LOOP_TEST_S3_ENDPOINT`` or ``AWS_ENDPOINT_URL_S3``,
``LOOP_TEST_DATABASE``) is used instead. The last lines say what was used and what was skipped.
Without a command it only installs what is missing.
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

from ops.services.processes import Processes, StackError, apt_complaint
from ops.services.real_database import PACKAGES as DATABASE_PACKAGES
from ops.services.real_database import Postgres
from ops.services.real_s3 import (
    CEPH_PACKAGES,
    CephGateway,
    GivenServer,
    Minio,
    S3Server,
    find_server,
    given_endpoint,
)

_COMMAND_STOP_SECONDS = 60.0


class NotHereError(RuntimeError):
    """There is no real service of a kind on this machine."""


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
        capabilities = ",".join((self.s3 or S3Server).capabilities)
        told = {"LOOP_TEST_REQUIRE": os.environ.get("LOOP_TEST_REQUIRE", capabilities)}
        if self.s3 is not None:
            told |= self.s3.environment | {"LOOP_TEST_S3_ENDPOINT": self.s3.endpoint}
            if not isinstance(self.s3, GivenServer):
                told["LOOP_TEST_KEEP_BUCKETS"] = "1"  # they go with the server
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

    @property
    def names(self) -> str:
        """What the tests run on."""
        s3 = self.s3.name if self.s3 else "no S3 server"
        if self.database is not None:
            return f"{s3} and {self.database.name}"
        return f"{s3} and {'the database given' if _given_database() else 'SQLite'}"

    @property
    def skipped(self) -> list[str]:
        """What the tests did not run on, and why."""
        skipped = []
        if not isinstance(self.s3, Minio | GivenServer):
            skipped.append("MinIO: its program is not on this machine")
        if self.database is None and not _given_database():
            skipped.append("PostgreSQL: it is not installed, so Airflow's database was SQLite")
        return skipped

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
        if not _given_database() and Postgres.programs() is not None:
            self.database = Postgres(self.folder / "postgres")
            self.database.start(self._processes)


def install_missing() -> None:
    """Install Debian's packages of what is missing, where we are root and have apt.

    Raises
    ------
    NotHereError
        If that fails.
    """
    has_s3 = given_endpoint() or Minio.program() is not None or CephGateway.is_installed()
    has_database = _given_database() or Postgres.programs() is not None
    install_packages(
        [*(() if has_s3 else CEPH_PACKAGES), *(() if has_database else DATABASE_PACKAGES)]
    )


def install_packages(packages: Sequence[str]) -> None:
    """Install Debian's packages, where we are root and have apt; elsewhere nothing happens.

    Raises
    ------
    NotHereError
        If that fails.
    """
    if not packages or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    _say(f"installing Debian's packages {' '.join(packages)}")
    apt_complaint("update")  # should it fail, the lists that are there may do
    install = ("install", "-y", "--no-install-recommends", *packages)
    if complaint := apt_complaint(*install):
        raise NotHereError(f"apt-get {' '.join(install)} failed: {complaint}")


def run(command: Sequence[str], *, is_installing: bool) -> int:
    """Run a command, if there is one, on real services; returns its exit code."""
    if is_installing:
        install_missing()
    if not command:
        return 0
    began = time.monotonic()
    with RealServices() as services:
        _say(f"{services.names} are up after {time.monotonic() - began:.0f} s")
        code = _run_beside(command, services.environment)
        services.check_alive()
    _say(f"{'passed' if code == 0 else f'FAILED with exit code {code}'} on {services.names}")
    for skipped in services.skipped:
        _say(f"SKIPPED {skipped}")
    return code


def _run_beside(command: Sequence[str], told: dict[str, str]) -> int:
    """Run it in a process group of its own, so that a stop reaches all of it, and once."""
    child = subprocess.Popen(  # noqa: S603
        command, env={**os.environ, **told}, process_group=0
    )
    try:
        return child.wait()
    except KeyboardInterrupt:
        _signal_group(child.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=_COMMAND_STOP_SECONDS)  # its services stay until it cleaned up
        raise
    finally:
        _signal_group(child.pid, signal.SIGKILL)


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)


def _given_database() -> str:
    return os.environ.get("LOOP_TEST_DATABASE", "")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ops.services.real", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--install", action="store_true", help="install what is missing, as root")
    parser.add_argument("--or-skip", action="store_true", help="without an S3 server: say so, pass")
    parser.add_argument(
        "--or-doubles", action="store_true", help="without an S3 server: run on test doubles"
    )
    parser.add_argument("command", nargs="*")
    chosen = parser.parse_args(arguments)
    if not chosen.command and not chosen.install:
        parser.error("name a command, or --install")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return run(chosen.command, is_installing=chosen.install)
    except NotHereError as error:
        return _without_services(chosen, error)
    except StackError as error:
        _say(f"FAILED: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


def _without_services(chosen: argparse.Namespace, error: NotHereError) -> int:
    is_allowed = chosen.or_skip or chosen.or_doubles
    _say(f"{'SKIPPED' if is_allowed else 'FAILED'} the tests on real services: {error}")
    if not chosen.or_doubles or not chosen.command:
        return 0 if is_allowed else 1
    _say("running the tests on test doubles instead")
    return _run_beside(chosen.command, {})


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    sys.stderr.write(f"real services: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
