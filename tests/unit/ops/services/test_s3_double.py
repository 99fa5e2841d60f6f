"""The test double of S3 decides races as real stores do, and ends with who started it."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ops.services.s3_double import one_at_a_time
from tests.support.timing import HANG_SECONDS

ROOT = Path(__file__).resolve().parents[4]


def meet(meeting: threading.Barrier) -> bool:
    """Whether another thread is here, too."""
    try:
        meeting.wait(timeout=1)
    except threading.BrokenBarrierError:
        return False
    return True


def test_a_second_thread_comes_in_only_after_the_first_has_left():
    """Without `one_at_a_time` the two meet, unless one of them is a whole second late."""
    meeting = threading.Barrier(2)

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(one_at_a_time(meet), [meeting] * 2))

    assert found == [False, False]


def test_the_server_says_its_port_and_ends_with_who_started_it():
    server = subprocess.Popen(
        [sys.executable, "-m", "ops.services.s3_double", "--until-end-of-input"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdin is not None
    assert server.stdout is not None
    said = server.stdout.readline()

    server.stdin.close()

    assert server.wait(timeout=HANG_SECONDS) == 0
    assert said.startswith("port ")
    server.stdout.close()
