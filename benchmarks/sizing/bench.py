"""How processor time, memory, requests and bytes grow with the reviews that count.

    python -m benchmarks.sizing.bench --reviews imdb_reviews.parquet --json results/sizing.json

Each corpus is delivered in nights of `NIGHT_ROWS` real reviews to an S3 test server of its own,
ingested, and trained on once from nothing with the settings as shipped, in one process that does
what the tasks do. The server is in no figure. The last lines are straight lines through the
corpora, by least squares: what a thousand reviews more cost.
"""

from __future__ import annotations

import json
import sys
from datetime import date, timedelta
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.bench_growth import all_reviews
from benchmarks.bench_retrain import FOLDERS, bytes_stored, open_both, own_store, retrain_once
from benchmarks.bench_retrain import STEPS as RETRAINING
from benchmarks.measuring import (
    Figures,
    in_own_process,
    machine_facts,
    markdown_table,
    medians,
    parser,
    timed,
    write_report,
)
from benchmarks.years import counted_requests

SIZES = {"reviews_12500": 12_500, "reviews_25000": 25_000, "reviews_50000": 50_000}
NIGHT_ROWS, FIRST_NIGHT = 2_500, date(2026, 1, 5)
SHARED = ("score, by all workers", "evaluate what they scored")
STEPS = ("ingest", *RETRAINING, *SHARED)


def main() -> None:
    arguments = parser("benchmarks.sizing.bench", __doc__, SIZES).parse_args()
    if arguments.measure:
        print(json.dumps(_play(arguments.reviews, SIZES[arguments.measure])))
        return
    results = {
        name: medians([_once(name, arguments.reviews) for _ in range(arguments.repeats)])
        for name in arguments.only
    }
    report = {"machine": machine_facts(), "corpora": results}
    write_report(arguments.json, report, as_markdown(results))


def _once(name: str, reviews: Path) -> Figures:
    with own_store("[training]\npacks_per_task = 1\n", _say):  # so that there is something to share
        _say(name)
        figures = in_own_process("benchmarks.sizing.bench", name, reviews)
        return figures | bytes_stored()


def _play(reviews: Path, rows: int) -> Figures:
    """Deliver, ingest and learn so many reviews."""
    from pipelines.steps import retrain
    from pipelines.validation import validate  # noqa: F401 - loaded before the clock starts

    nights = _deliver(reviews, rows)
    with counted_requests() as requests:
        _, ingested = timed(partial(_ingest_all, nights))
        learned = retrain_once(retrain.take_snapshot())
    return (
        learned
        | _shared_out()
        | {
            "rows": rows,
            "ingest_cpu_seconds": ingested["cpu_seconds"],
            "requests": requests.total,
        }
    )


def _shared_out() -> Figures:
    """Score share after share, as workers do, and put it together."""
    from pipelines.steps import retrain

    plan = retrain.plan(retrain.take_snapshot())
    shares = retrain.shares_to_score(plan)
    _, scored = timed(lambda: [retrain.score(plan, share=share) for share in shares])
    _, put_together = timed(lambda: retrain.evaluate_trained(plan))
    return {
        f"{step}_cpu_seconds": seconds["cpu_seconds"]
        for step, seconds in zip(SHARED, (scored, put_together), strict=True)
    }


def _deliver(reviews: Path, rows: int) -> list[str]:
    """Drop a file for each night; returns the nights."""
    from pipelines.simulation.damage import DELIVERED_SCHEMA

    bucket, (texts, labels, films) = open_both().reviews, all_reviews(reviews)
    nights = []
    for number, start in enumerate(range(0, rows, NIGHT_ROWS)):
        night = (FIRST_NIGHT + timedelta(days=number)).isoformat()
        mine = range(start, min(start + NIGHT_ROWS, rows))
        table = pa.Table.from_pylist(
            [
                {
                    "review_id": f"review-{row}", "movie_id": str(films[row]), "text": texts[row],
                    "label": "positive" if labels[row] else "negative",
                    "rating": 9 if labels[row] else 2, "written_on": night,
                }
                for row in mine
            ],
            schema=DELIVERED_SCHEMA,
        )  # fmt: skip
        file = BytesIO()
        pq.write_table(table, file, compression="zstd")
        bucket.put(f"landing/bench/{night}/reviews.parquet", file.getvalue())
        nights.append(night)
    return nights


def _ingest_all(nights: list[str]) -> None:
    for night in nights:
        _ingest(night)


def _ingest(night: str) -> None:
    from pipelines.steps import ingest

    due = ingest.find_deliveries(night)
    history = ingest.pin_history(night, due)
    for uri in due:
        arrival = ingest.land(uri, night)
        ingest.accept(arrival, ingest.validate(arrival, history))
    ingest.summarize_night(night)
    ingest.check_night(night, due)


def _say(step: str) -> None:
    sys.stderr.write(f"bench-sizing: {step}\n")


def as_markdown(results: dict[str, Figures]) -> str:
    heads = ["reviews", *(f"{step} CPU s" for step in STEPS), "requests", "peak MB"]
    rows = [
        [f"{each['rows']:,.0f}", *(f"{each[f'{step}_cpu_seconds']:.1f}" for step in STEPS),
         f"{each['requests']:,.0f}", f"{each['peak_mb']:.0f}"]
        for each in results.values()
    ]  # fmt: skip
    table = markdown_table(heads, rows)
    if len(results) > 1:
        table += "\n" + _slopes(list(results.values()))
    return table


def _slopes(corpora: list[Figures]) -> str:
    """What a thousand reviews more cost, and what there is without any."""
    kinds = (
        *((f"{step}, CPU s", f"{step}_cpu_seconds", 1.0) for step in STEPS),
        ("peak of the process, MB", "peak_mb", 1.0),
        *((f"`{folder}`, kB", f"{folder}_bytes", 1e3) for folder in FOLDERS),
    )
    rows = []
    for what, key, unit in kinds:
        slope, fixed = np.polyfit(
            [each["rows"] / 1000 for each in corpora], [each[key] / unit for each in corpora], 1
        )
        rows.append([what, f"{slope:.3g}", f"{fixed:.3g}"])
    return markdown_table(["grows by, per 1,000 reviews", "each 1,000", "without any"], rows)


if __name__ == "__main__":
    main()
