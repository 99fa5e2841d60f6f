"""Decide hostile files as a night does, in a process of its own; one line of JSON per file.

Run by `test_hostile_files` as ``python decide_hostile_files.py WHICH [FIRST STEP]``: all files, or
each STEP-th from FIRST on. Prints the file's name, the rules that hold it, the processor time in
this process and in the one that decodes, and the most memory that this one ever used.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipelines.core import config
from pipelines.intake.landing import delivery_digest, parse_name
from pipelines.records.deliveries import Delivery
from pipelines.validation import validate
from tests.support.hostile import files as hostile_files
from tests.support.in_memory import InMemory

SETTINGS = config.load()


class Landed(InMemory):
    """A bucket with one file, whose bytes are made when they are asked for."""

    def __init__(self, file: hostile_files.HostileFile) -> None:
        super().__init__()
        self._file = file

    def stream(self, key: str) -> tuple[str, Iterator[bytes]]:
        return "", iter(self._file.body())


def landed(file: hostile_files.HostileFile) -> Delivery:
    key = f"landing/web/2026-01-05/{file.name}"
    name, size = parse_name(key), 0
    digest = delivery_digest(name)
    for piece in file.body():
        digest.update(piece)
        size += len(piece)
    assert size <= SETTINGS.intake.max_delivery_bytes, file.name
    return Delivery(
        sha256=digest.hexdigest(), source="web", landing_key=key, file_format=name.file_format,
        is_gzipped=name.is_gzipped, size_bytes=size, night="2026-01-05", raw_key="raw",
    )  # fmt: skip


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + used.ru_utime + used.ru_stime


def peak_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def decide(file: hostile_files.HostileFile) -> dict[str, Any]:
    delivery, bucket = landed(file), Landed(file)
    started = cpu_seconds()
    _, found = validate.validate(bucket, delivery, SETTINGS)
    held_by = [one.rule for one in found.rules if one.severity == "critical" and not one.is_passed]
    return {
        "name": file.name, "held_by": sorted(held_by), "why": found.why,
        "rows": found.delivered_rows, "size": delivery.size_bytes,
        "cpu_seconds": cpu_seconds() - started, "peak_bytes": peak_bytes(),
    }  # fmt: skip


def main() -> None:
    first, step = map(int, sys.argv[2:] or (0, 1))
    files = islice(getattr(hostile_files, sys.argv[1])(), first, None, step)
    for file in files:
        print(json.dumps(decide(file)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
