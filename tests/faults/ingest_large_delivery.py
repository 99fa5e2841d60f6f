"""Validate one large made-up delivery in a process of its own; prints what became of it as JSON.

Run by `test_large_delivery` as ``python ingest_large_delivery.py ROWS MOST_BYTES FOLDER``. It may
have at most MOST_BYTES of memory that it can write to, and so may the process that decodes.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core import config
from pipelines.intake import arrivals
from pipelines.simulation.damage import DELIVERED_SCHEMA
from pipelines.validation import validate
from tests.support.in_memory import InMemory

NIGHT = "2026-01-05"
KEY = f"landing/web/{NIGHT}/reviews.parquet"
WORDS_PER_TEXT = 100
ENGLISH = ["the", "and", "that", "with", "but", "they", "you", "not", "from", "which"]
WORDS = np.array([*ENGLISH * 100, *(f"word{number}" for number in range(3000))])


def write(path: Path, rows: int, part_rows: int = 10_000) -> None:
    random = np.random.default_rng(1)
    with pq.ParquetWriter(path, DELIVERED_SCHEMA) as writer:
        for start in range(0, rows, part_rows):
            chosen = random.integers(0, len(WORDS), (min(part_rows, rows - start), WORDS_PER_TEXT))
            columns = {
                "review_id": [f"review-{start + row}" for row in range(len(chosen))],
                "movie_id": [f"tt{(start + row) // 20:07d}" for row in range(len(chosen))],
                "text": [" ".join(line) for line in WORDS[chosen]],
                "label": ["positive" if row % 2 else "negative" for row in range(len(chosen))],
                "rating": [None] * len(chosen),
                "written_on": [NIGHT] * len(chosen),
            }
            writer.write_table(pa.table(columns, schema=DELIVERED_SCHEMA))


class OnDisk(InMemory):
    """Keeps large objects in files, as a store does."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def put_once(self, key: str, data: bytes) -> str:
        if not key.endswith(".parquet"):
            return super().put_once(key, data)
        (self._folder / key.replace("/", "_")).write_bytes(data)
        return "created"

    def put_file(self, key, file) -> None:
        self.objects[key] = b"its bytes are those that were delivered"

    def stream(self, key: str) -> tuple[str, Iterator[bytes]]:
        def chunks() -> Iterator[bytes]:
            with (self._folder / "delivered").open("rb") as file:
                while chunk := file.read(1024 * 1024):
                    yield chunk

        return "", chunks()


def main() -> None:
    rows, most_bytes, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    write(folder / "delivered", rows)
    resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))
    default = config.load()
    raised = {
        "max_rows": rows, "max_value_bytes": 2**40, "max_decoded_bytes": 2**40,
        "max_delivery_bytes": 2**40, "max_decoder_cpu_seconds": 600,
    }  # fmt: skip
    settings = default.model_copy(update={"intake": default.intake.model_copy(update=raised)})
    reviews = OnDisk(folder)
    key, _ = arrivals.receive(reviews, KEY, night=NIGHT, intake=settings.intake)
    _, delivery = arrivals.read_arrival(reviews, key)
    _, found = validate.validate(reviews, delivery, settings)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    print(json.dumps({  # noqa: T201
        "why": found.why,
        "accepted_rows": found.accepted_rows,
        "partitions": [part.rows for part in found.accepted_parts],
        "peak_bytes": int(status.partition("VmHWM:")[2].split()[0]) * 1024,
        "decoder_peak_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
