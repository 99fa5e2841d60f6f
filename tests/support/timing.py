"""How long tests wait, and how they measure: processor time beside that of another input, never a
number of seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

HANG_SECONDS = 1200
"""A wait that takes so long hangs. Ten busy loops beside the tests make them six times as slow."""


def wait_for(find: Callable[[], Any], what: str) -> Any:
    """What ``find`` finds, as soon as it does; a TimeoutError that says ``what`` if it hangs."""
    deadline = time.monotonic() + HANG_SECONDS
    while not (found := find()):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.3)
    return found


def cpu_seconds(work: Callable[[], object], *, repeats: int = 3) -> float:
    """The least processor time of several tries, in seconds; other processes do not count."""
    return min(_once(work) for _ in range(repeats))


def _once(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started
