"""The scoring service as a process of its own, as an operator starts it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from pipelines.core.config import PROJECT
from tests.support.timing import HANG_SECONDS


class RunningService:
    """A service and its log. Its address is known once it listens."""

    def __init__(self, log: Path, *options: str) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipelines", "serve", "--port", "0", *options],
                cwd=PROJECT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        self.url = self._address()

    def _address(self) -> str:
        wait_until(self._said, or_fail=self._check_alive)
        return self._said()

    def _said(self) -> str:
        found = re.findall(r"serving=(http://\S+)", self.log.read_text(errors="replace"))
        return found[-1] if found else ""

    def _check_alive(self) -> None:
        assert self.process.poll() is None, self.log.read_text(errors="replace")[-3000:]

    def status(self) -> dict[str, Any]:
        facts: dict[str, Any] = httpx.get(f"{self.url}/status", timeout=60).json()
        return facts

    def generation(self) -> int:
        champion = self.status()["champion"]
        return champion["generation"] if champion else 0

    def wait_for(self, is_so: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Wait until the status is so; returns it."""
        wait_until(lambda: is_so(self.status()), or_fail=self._check_alive)
        return self.status()

    def score(self, text: str, **headers: str) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/score", json={"text": text}, headers=headers, timeout=60)

    def memory_bytes(self) -> int:
        """Resident memory of the process (Linux)."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(HANG_SECONDS)


def wait_until(is_so: Callable[[], Any], *, or_fail: Callable[[], None] = lambda: None) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while not is_so():
        or_fail()
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


@contextlib.contextmanager
def running_service(log: Path, *options: str) -> Iterator[RunningService]:
    service = RunningService(log, *options)
    try:
        yield service
    finally:
        service.kill()
