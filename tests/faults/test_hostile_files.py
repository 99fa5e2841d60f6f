"""Whatever a file claims, it is decided within 1 GiB and 60 CPU seconds, and twice alike.

The process that decodes has an address space of `intake.max_decoder_memory_bytes`, which is 1 GiB,
so it cannot use more; that no file ever reaches it is part of what is asked. The process that
started it is measured: by the most memory it ever had resident (VmHWM), because libraries reserve
gigabytes of addresses that they never touch.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.core import config
from tests.support.hostile import files as hostile_files
from tests.support.tried import FILES_TRIED

pytestmark = [pytest.mark.attack, pytest.mark.long]

ROOT = Path(__file__).resolve().parents[2]
GIB = 1024**3
MOST_CPU_SECONDS = 60
BACKSTOPS = {"decoder_memory_limit", "decoder_cpu_limit"}
DECIDE = Path(__file__).with_name("decide_hostile_files.py")

Decided = dict[str, dict[str, Any]]


def started(which: str, *share: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(DECIDE), which, *share], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def decided(process: subprocess.Popen[str]) -> Decided:
    told, _ = process.communicate()
    assert process.returncode == 0, told[-500:]
    lines = [json.loads(line) for line in told.splitlines()]
    return {line["name"]: line for line in lines}


@pytest.fixture(scope="session")
def twice(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> tuple[Decided, Decided]:
    """Every file decided by two processes at once: once for all of pytest's own processes."""
    folder = tmp_path_factory.getbasetemp()
    kept = (folder if worker_id == "master" else folder.parent) / "hostile-files.json"
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            first, second = (started("hostile_files") for _ in range(2))
            kept.write_text(json.dumps([decided(first), decided(second)]))
            request.config.stash[FILES_TRIED] = len(json.loads(kept.read_text())[0])
    both: tuple[Decided, Decided] = tuple(json.loads(kept.read_text()))
    return both


def test_at_least_200_files_are_tried_and_each_has_a_name_of_its_own():
    names = [file.name for file in hostile_files.hostile_files()]

    assert len(names) == len(set(names)) >= 200


def test_each_hostile_file_has_the_verdict_that_it_must_have(twice):
    expected = {file.name: file.held_by for file in hostile_files.hostile_files()}

    surprises = {
        name: (found["held_by"], found["why"])
        for name, found in twice[0].items()
        if frozenset(found["held_by"]) not in expected[name]
    }

    assert surprises == {}
    assert set(twice[0]) == set(expected)


def test_each_verdict_is_the_same_twice(twice):
    first, second = ({name: one["held_by"] for name, one in part.items()} for part in twice)

    assert first == second


def test_no_file_takes_more_than_a_gibibyte_or_a_minute_and_none_needs_a_backstop(twice):
    files = [one for part in twice for one in part.values()]

    assert config.load().intake.max_decoder_memory_bytes <= GIB
    assert max(one["peak_bytes"] for one in files) < GIB
    assert max(one["cpu_seconds"] for one in files) < MOST_CPU_SECONDS
    assert not BACKSTOPS & {rule for one in files for rule in one["held_by"]}


def test_files_as_large_as_the_limits_allow_are_decided_within_them_too():
    expected = {file.name: file.held_by for file in hostile_files.largest_files()}

    halves = [started("largest_files", first, "2") for first in ("0", "1")]
    found = decided(halves[0]) | decided(halves[1])

    surprises = {
        name: (one["held_by"], one["why"])
        for name, one in found.items()
        if frozenset(one["held_by"]) not in expected[name]
    }
    assert surprises == {}
    assert set(found) == set(expected)
    assert max(one["peak_bytes"] for one in found.values()) < GIB
    assert max(one["cpu_seconds"] for one in found.values()) < MOST_CPU_SECONDS
