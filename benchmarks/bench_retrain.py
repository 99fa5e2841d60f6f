"""What a whole retraining costs, step by step, through the stages and an S3 test server.

    python -m benchmarks.bench_retrain --reviews imdb_reviews.parquet --json results/retrain.json

``night_*`` retrains on 50,000 reviews in fifty nights with the settings as shipped: once with
nothing cached, once with the first forty-nine nights cached. ``stream_*`` retrains the candidate
for corpora beyond memory on reviews that grow as in `benchmarks.bench_growth`. Each is one process
that does what the tasks do; the server and what filled it are in no figure.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.bench_growth import SIZES, Grown, all_reviews
from benchmarks.measuring import (
    Figures,
    high_water_bytes,
    in_own_process,
    machine_facts,
    markdown_table,
    medians,
    parser,
    timed,
    write_report,
)
from ops.processes import LOOPBACK, Processes, free_port
from ops.stack import environment

if TYPE_CHECKING:
    from pipelines.records import Snapshot

NAMES = ["night_scratch", "night_cached", "stream_50k", "stream_200k", "stream_1m"]
STEPS = ("featurize", "train", "evaluate", "verify", "decide and card")
DAY = datetime.date(2026, 1, 5)
NIGHT_ROWS, GROWN_ROWS = 1_000, 10_000
_START_SECONDS = 60.0


def main() -> None:
    arguments = parser("benchmarks.bench_retrain", __doc__, NAMES).parse_args()
    if arguments.measure:
        print(json.dumps(_retrain(os.environ["BENCH_SNAPSHOT"])))
        return
    results = {
        name: medians([_once(name, arguments.reviews) for _ in range(arguments.repeats)])
        for name in arguments.only
    }
    report = {"machine": machine_facts(), "retrainings": results}
    write_report(arguments.json, report, as_markdown(results))


def _once(name: str, reviews: Path) -> Figures:
    with (
        tempfile.TemporaryDirectory(prefix="bench-retrain-") as folder,
        _server(Path(folder)) as s3,
    ):
        config = Path(folder) / "bench.toml"
        config.write_text(
            '[training]\ncandidates = ["fingerprint_stream"]\n' if name.startswith("stream") else ""
        )
        with environment({**s3, "LOOP_CONFIG": str(config)}):
            snapshot = _fill(name, reviews)
            if name == "night_cached":
                _say("yesterday's retraining")
                yesterday = snapshot.model_copy(update={"partitions": snapshot.partitions[:-1]})
                with environment({"BENCH_SNAPSHOT": _pinned(yesterday)}):
                    in_own_process("benchmarks.bench_retrain", name, reviews)
            _say(f"retraining {name}")
            with environment({"BENCH_SNAPSHOT": _pinned(snapshot)}):
                return in_own_process("benchmarks.bench_retrain", name, reviews)


@contextmanager
def _server(folder: Path) -> Iterator[dict[str, str]]:
    """An S3 test server of its own, and what a process needs to reach it and to sign."""
    from pipelines import trust

    processes, port, key = Processes(folder), free_port(), folder / "signing-key.pem"
    trust.write_new_key(key)
    command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)]
    processes.spawn("s3", command, environment=os.environ)
    try:
        processes.wait_for("s3", partial(_is_up, port), timeout_seconds=_START_SECONDS)
        yield {
            "AWS_ENDPOINT_URL_S3": f"http://{LOOPBACK}:{port}",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local-only",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "LOOP_SIGNING_KEY_FILE": str(key),
        }
    finally:
        processes.stop()


def _is_up(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def _fill(name: str, reviews: Path) -> Snapshot:
    """Write the partitions of a corpus; returns the snapshot of all of them."""
    import pyarrow as pa

    from pipelines.partitions import ACCEPTED_SCHEMA, write_partition
    from pipelines.records import Snapshot

    kind, _, size = name.partition("_")
    texts, labels, films = all_reviews(reviews)
    grown = Grown(texts, labels, films, SIZES[size] if kind == "stream" else len(texts))
    rows = GROWN_ROWS if kind == "stream" else NIGHT_ROWS
    stores = _stores()
    stores.reviews.create_if_missing()
    stores.models.create_if_missing()
    partitions = []
    for start in range(0, grown.count, rows):
        if start % 100_000 == 0:
            _say(f"writing reviews {start:,} of {grown.count:,}")
        columns = {
            "text": (written := grown.partition(start, rows)),
            "text_id": [hashlib.sha256(text.encode()).hexdigest() for text in written],
            "movie_id": [films[row % len(films)] for row in range(start, start + len(written))],
            "label": grown.label[start : start + len(written)],
            "written_on": [DAY] * len(written),
            "source": ["bench"] * len(written),
        }
        blank = {"review_id": [None] * len(written), "rating": [None] * len(written)}
        table = pa.table({**columns, **blank}).select(ACCEPTED_SCHEMA.names).cast(ACCEPTED_SCHEMA)
        partitions.append(write_partition(stores.reviews, f"accepted/date={DAY}", table))
    return Snapshot(
        partitions=tuple(partitions),
        rows=grown.count,
        holdout_share=0.2,
        selection_share=0.2,
        salt="films-2026",
    )


def _pinned(snapshot: Snapshot) -> str:
    reviews, key = _stores().reviews, f"snapshots/{snapshot.digest()}.json"
    reviews.put_record(key, snapshot)
    return reviews.uri(key)


def _stores() -> Any:
    from pipelines import config
    from pipelines.store import open_stores

    return open_stores(config.load().store)


def _retrain(snapshot_uri: str) -> Figures:
    """Do what the tasks of the retraining do, one after the other; libraries are loaded before."""
    from pipelines import card, evaluation, gate, steps, training, verification  # noqa: F401

    figures: Figures = {}
    seconds: dict[str, Figures] = {}

    def step(name: str, work: Callable[[], Any]) -> Any:
        result, seconds[name] = timed(work)
        figures[f"{name}_cpu_seconds"] = seconds[name]["cpu_seconds"]
        figures[f"{name}_peak_mb_so_far"] = high_water_bytes(os.getpid()) / 1e6
        return result

    plan = steps.plan(snapshot_uri)
    step("featurize", lambda: steps.featurize(plan))
    manifest = step("train", lambda: steps.train(plan))
    scored = step("evaluate", lambda: steps.evaluate(manifest))
    checked = step("verify", lambda: steps.verify(scored))
    step("decide and card", lambda: steps.write_card(steps.decide(checked)))
    return figures | {
        f"{kind}_seconds": sum(each[f"{kind}_seconds"] for each in seconds.values())
        for kind in ("cpu", "wall")
    }


def _say(step: str) -> None:
    sys.stderr.write(f"bench-retrain: {step}\n")


def as_markdown(results: dict[str, Figures]) -> str:
    rows = [
        [name.replace("_", " "), *(f"{each[f'{step}_cpu_seconds']:.1f}" for step in STEPS),
         f"{each['cpu_seconds']:.1f}", f"{each['wall_seconds']:.1f}", f"{each['peak_mb']:.0f}"]
        for name, each in results.items()
    ]  # fmt: skip
    scratch, cached = (results.get(f"night_{how}") for how in ("scratch", "cached"))
    if scratch and cached:
        keys = [*(f"{step}_cpu_seconds" for step in STEPS), "cpu_seconds", "wall_seconds"]
        times = (f"{scratch[key] / max(cached[key], 0.01):.1f}" for key in keys)
        rows.append(["times less with a cache", *times, ""])
    heads = ["whole retraining", *(f"{step} CPU s" for step in STEPS)]
    return markdown_table([*heads, "all CPU s", "wall s", "peak MB"], rows)


if __name__ == "__main__":
    main()
