"""What one large delivery costs, step by step, from a file in landing to its features.

    python -m benchmarks.large_delivery.bench --reviews imdb_reviews.parquet --rows 1000000

The file holds reviews that grow as in `benchmarks.bench_growth`, as Parquet, with three words in
ten dropped: copies with fewer changes are quarantined as almost the same. Each step does what
its task does, in a process of its own on an S3 test server, with the limits of ``[intake]`` raised;
the server is in no figure. The peak is that of the step's process and of its helpers together.
Fails if a step takes more than `MOST_PEAK_BYTES`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.bench_growth import PARTITION_ROWS, Grown, all_reviews
from benchmarks.bench_retrain import open_both, own_store
from benchmarks.measuring import (
    Figures,
    in_own_process,
    machine_facts,
    markdown_table,
    parser,
    timed,
    write_report,
)
from ops.services.stack import environment
from pipelines.simulation.damage import DELIVERED_SCHEMA

NIGHT = "2026-01-05"
KEY = f"landing/bench/{NIGHT}/reviews.parquet"
MOST_PEAK_BYTES = 1.5 * 1024**3
LIMITS = """
[intake]
max_rows = 10_000_000
max_delivery_bytes = 17_179_869_184
max_decoded_bytes = 17_179_869_184
max_value_bytes = 17_179_869_184
max_decoder_cpu_seconds = 3600
max_decoder_wall_seconds = 7200.0
"""


def _plan(_: str) -> str:
    from pipelines.steps import retrain

    return retrain.plan(retrain.take_snapshot())


def _land(uri: str) -> str:
    from pipelines.steps import ingest

    return ingest.land(uri, NIGHT)


def _validate(arrival: str) -> str:
    from pipelines.steps import ingest

    return f"{arrival} {ingest.validate(arrival)}"


def _accept(arrival_and_validation: str) -> str:
    from pipelines.steps import ingest

    return ingest.accept(*arrival_and_validation.split(" "))


def _featurize(plan: str) -> str:
    from pipelines.steps import retrain

    return json.dumps(retrain.featurize(plan))


# Each takes what the one before returned.
STEPS: dict[str, Callable[[str], str]] = {
    "land": _land, "validate": _validate, "accept": _accept, "snapshot and plan": _plan,
    "featurize": _featurize,
}  # fmt: skip


def main() -> None:
    options = parser("benchmarks.large_delivery.bench", __doc__, STEPS)
    options.add_argument("--rows", type=int, default=1_000_000)
    arguments = options.parse_args()
    if arguments.measure:
        handed_on = Path(os.environ["BENCH_HANDED_ON"])
        given, step = handed_on.read_text(), STEPS[arguments.measure]
        result, figures = timed(lambda: step(given))
        handed_on.write_text(result)
        print(json.dumps(figures))
        return
    results = measured(arguments.reviews, arguments.rows)
    report = {"machine": machine_facts(), "rows": arguments.rows, "steps": results}
    write_report(arguments.json, report, as_markdown(results))
    peak = max(figures["peak_mb"] for figures in results.values()) * 1e6
    assert peak < MOST_PEAK_BYTES, f"a step took {peak:,.0f} bytes"


def measured(reviews: Path, rows: int) -> dict[str, Figures]:
    """The figures of each step for a delivery of so many rows."""
    with own_store(LIMITS, _say) as folder:
        handed_on = folder / "handed-on"
        with environment({"BENCH_HANDED_ON": str(handed_on)}):
            handed_on.write_text(_deliver(folder / "reviews.parquet", reviews, rows))
            results = {}
            for name in STEPS:
                _say(name)
                results[name] = in_own_process("benchmarks.large_delivery.bench", name, reviews)
                _say(f"{results[name]}")
            return results


def _deliver(path: Path, reviews: Path, rows: int) -> str:
    _say(f"writing {rows:,} reviews")
    write(path, Grown(*all_reviews(reviews), rows, dropped=0.3))
    stores = open_both()
    with path.open("rb") as file:
        stores.reviews.put_file(KEY, file)
    return stores.reviews.uri(KEY)


def write(path: Path, grown: Grown) -> None:
    """Write reviews as a file that upstream may deliver, part by part."""
    films = grown.films
    with pq.ParquetWriter(path, DELIVERED_SCHEMA, compression="zstd") as writer:
        for start in range(0, grown.count, PARTITION_ROWS):
            texts = grown.partition(start, PARTITION_ROWS)
            places = range(start, start + len(texts))
            columns: dict[str, Any] = {
                "review_id": [f"review-{place}" for place in places],
                "movie_id": [str(films[place % len(films)]) for place in places],
                "text": texts,
                "label": [
                    "positive" if grown.labels[place % len(films)] else "negative"
                    for place in places
                ],
                "rating": [None] * len(texts),
                "written_on": [NIGHT] * len(texts),
            }
            writer.write_table(pa.table(columns, schema=DELIVERED_SCHEMA))


def _say(step: str) -> None:
    sys.stderr.write(f"bench-delivery: {step}\n")


def as_markdown(results: dict[str, Figures]) -> str:
    rows = [
        [name, f"{one['cpu_seconds']:.1f}", f"{one['wall_seconds']:.1f}", f"{one['peak_mb']:.0f}"]
        for name, one in results.items()
    ]
    return markdown_table(["step", "CPU s", "wall s", "peak MB"], rows)


if __name__ == "__main__":
    main()
