"""Processor time, for tests that compare one input with another: never with a number of seconds."""

from __future__ import annotations

import time
from collections.abc import Callable


def cpu_seconds(work: Callable[[], object], *, repeats: int = 3) -> float:
    """The least processor time of several tries, in seconds; other processes do not count."""
    return min(_once(work) for _ in range(repeats))


def _once(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started
