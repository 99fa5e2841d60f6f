"""Child processes that go when this one goes, on free loopback ports, with a log each."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LOOPBACK = "127.0.0.1"
MARKER, PART = "RETRAINING_LOOP_STACK", "RETRAINING_LOOP_PART"

_NOT_FOR_CONNECTIONS = range(20_000, 32_768)  # below Linux' net.ipv4.ip_local_port_range
_POLITE_SECONDS, _KILL_SECONDS = 8.0, 60.0
_MOST_DEATHS, _DEATHS_SECONDS = 5, 600.0
_MOST_LOG_BYTES = 50_000_000
_PR_SET_PDEATHSIG = 1


class StackError(RuntimeError):
    """A component did not start or died. The message holds the end of its log."""


def part_name() -> str:
    """What a stack calls this process; Airflow asks it which host a task runs on."""
    return os.environ.get(PART, "").rpartition("/")[2] or socket.gethostname()


def free_port(preferred: int | None = None) -> int:
    """A TCP port nobody listens on: the preferred one if it is free.

    Otherwise one that the system gives no outgoing connection, so it stays free until it is used.
    """
    others = secrets.SystemRandom().sample(_NOT_FOR_CONNECTIONS, 50)
    for port in (*([] if preferred is None else [preferred]), *others, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StackError("no free TCP port on 127.0.0.1")


@dataclass
class Processes:
    """Child processes in groups of their own, all of which `stop` ends, and theirs.

    Attributes
    ----------
    folder : Path
        Working directory of the children; ``logs/`` in it holds what they print.
    marker : str
        In the environment of every child, and so of every process that one starts.
    """

    folder: Path
    marker: str = field(default_factory=lambda: uuid.uuid4().hex)
    _children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _starts: dict[str, Callable[[], subprocess.Popen[bytes]]] = field(default_factory=dict)
    _deaths: dict[str, list[float]] = field(default_factory=dict)
    _stop_signals: dict[str, signal.Signals] = field(default_factory=dict)

    def spawn(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        user: int | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Start a child; with ``user``, as that user id, which only root may ask for."""
        # Airflow's processes name themselves; SPT_NOENV keeps that from overwriting the marks.
        marks = {MARKER: self.marker, PART: f"{self.marker}/{name}", "SPT_NOENV": "1"}

        def start() -> subprocess.Popen[bytes]:
            with self._log_path(name).open("ab") as log:
                return subprocess.Popen(  # noqa: S603
                    command,
                    env={**environment, **marks},
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=_die_with_parent,  # noqa: PLW1509 - started from the main thread
                    user=user,
                    extra_groups=None if user is None else [],
                )

        self._set_log_aside(name)
        self._starts[name], self._stop_signals[name] = start, stop_signal
        self._children[name] = start()

    def run(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        timeout_seconds: float,
        user: int | None = None,
    ) -> None:
        """Run a command to its end.

        Raises
        ------
        StackError
            If it fails or takes too long; the message holds the end of its log.
        """
        self.spawn(name, command, environment=environment, user=user)
        child = self._children[name]
        try:
            code: int | str = child.wait(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            code = f"nothing within {timeout_seconds:.0f} s"
        if code != 0:
            raise StackError(f"{name} failed ({code}). Its log ends:\n{self._log_tail(name)}")
        del self._children[name]

    def forget_log(self, name: str) -> None:
        """Delete what a command printed that has ended: there are secrets in it."""
        self._log_path(name).unlink(missing_ok=True)

    def wait_for(self, name: str, is_up: Callable[[], bool], *, timeout_seconds: float) -> None:
        """Wait until something answers.

        Raises
        ------
        StackError
            If a child dies meanwhile, or it takes too long.
        """
        deadline = time.monotonic() + timeout_seconds
        while not is_up():
            self.check_alive()
            if time.monotonic() > deadline:
                raise StackError(
                    f"{name} was not up after {timeout_seconds:.0f} s; see the logs in "
                    f"{self.folder / 'logs'}"
                )
            time.sleep(0.2)

    def check_alive(self) -> None:
        """Raise `StackError` if a child has died."""
        for name, child in self._children.items():
            if child.poll() is not None:
                raise StackError(
                    f"{name} ended with exit code {child.returncode}. Its log ends:\n"
                    f"{self._log_tail(name)}"
                )

    def revive(self) -> list[str]:
        """Start each child that has died once more, after all that it started is gone.

        Returns
        -------
        dead : list of str
            What died, with its exit code.

        Raises
        ------
        StackError
            If one dies for the sixth time within ten minutes; the message holds the end of its log.
        """
        dead = []
        for name, child in self._children.items():
            self._cut_log(name)
            if child.poll() is None:
                continue
            self._count_death(name)
            _kill_all(PART, f"{self.marker}/{name}")
            self._children[name] = self._starts[name]()
            dead.append(f"{name} (exit code {child.returncode})")
        return dead

    def _count_death(self, name: str) -> None:
        now = time.monotonic()
        recent = [at for at in self._deaths.get(name, ()) if at > now - _DEATHS_SECONDS]
        self._deaths[name] = [*recent, now]
        if len(recent) >= _MOST_DEATHS:
            self.check_alive()

    def end_leftovers(self) -> None:
        """End what a stack with this marker left when it was killed."""
        _kill_all(MARKER, self.marker)

    def stop(self) -> None:
        """Stop every process: politely, then for good. A second Ctrl-C does not stop that."""
        with _interrupts_ignored():
            self._stop()

    def _stop(self) -> None:
        for name, child in self._children.items():
            _signal_group(child.pid, self._stop_signals[name])
        deadline = time.monotonic() + _POLITE_SECONDS
        while time.monotonic() < deadline and any(
            child.poll() is None for child in self._children.values()
        ):
            time.sleep(0.1)
        for child in self._children.values():
            _signal_group(child.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=5)
        self.end_leftovers()  # what moved to a process group of its own
        self._children.clear()

    def _log_path(self, name: str) -> Path:
        folder = self.folder / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.log"

    def _set_log_aside(self, name: str) -> None:
        path = self._log_path(name)
        if path.exists():
            path.replace(path.with_suffix(".log.1"))

    def _cut_log(self, name: str) -> None:
        """Begin a log that has become long again; the child, which only appends, goes on in it."""
        path = self._log_path(name)
        if path.stat().st_size > _MOST_LOG_BYTES:
            shutil.copyfile(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)

    def _log_tail(self, name: str, lines: int = 15) -> str:
        try:
            text = self._log_path(name).read_text(errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])


def processes_of(marker: str, variable: str = MARKER) -> Iterator[int]:
    """Process ids whose environment carries the marker of a stack (Linux; elsewhere none)."""
    wanted = f"{variable}={marker}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)


def _kill_all(variable: str, marker: str) -> None:
    """Kill them, and wait until nothing is left."""
    deadline = time.monotonic() + _KILL_SECONDS
    while (left := list(processes_of(marker, variable))) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    saved = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, saved, strict=True):
            signal.signal(number, handler)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _die_with_parent() -> None:
    """In the child: end when the parent is killed (Linux; elsewhere nothing happens)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def complaint_of(*command: str) -> str:
    """Run an installer that asks nothing; returns the end of its complaint, or nothing."""
    reply = subprocess.run(  # noqa: S603
        command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if reply.returncode == 0 else reply.stderr.strip()[-500:] or "without a word"


def apt_complaint(*arguments: str) -> str:
    """Run apt-get as `complaint_of` does; it waits for another one that is at work."""
    return complaint_of("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", *arguments)
