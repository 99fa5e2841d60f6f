"""What a whole retraining costs, step by step, through the stages and an S3 test server.

    python -m benchmarks.bench_retrain --reviews imdb_reviews.parquet --json results/retrain.json

``night_*`` retrains on 50,000 reviews in fifty nights with the settings as shipped: once with
nothing cached, once with the first forty-nine nights cached. ``stream_*`` retrains the candidate
for corpora beyond memory on reviews that grow as in `benchmarks.bench_growth`; ``stream_3m`` is
measured where ``--only`` names it, and needs 25 GB under ``TMPDIR``. Each is one process that does
what the tasks do, without a champion to compare with; the server and what filled it are in no
figure.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.bench_growth import (
    PARTITION_ROWS,
    SIZES,
    Grown,
    all_reviews,
    fifty_nights,
    written,
)
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
from benchmarks.years import counted_requests
from ops.services.stack import LocalStack, environment

if TYPE_CHECKING:
    from pipelines.core.store.stores import Stores
    from pipelines.records.data import Snapshot

NAMES = ["night_scratch", "night_cached", "stream_50k", "stream_200k", "stream_1m"]
BEYOND = ["stream_3m"]
FOLDERS = ("landing", "deliveries", "accepted", "sketches", "features", "reports", "models")
STEPS = ("featurize", "train", "evaluate", "verify", "decide and card")


def main() -> None:
    options = parser("benchmarks.bench_retrain", __doc__, NAMES, only_if_named=BEYOND)
    arguments = options.parse_args()
    if arguments.measure:
        print(json.dumps(retrain_once(os.environ["BENCH_SNAPSHOT"])))
        return
    results = {
        name: medians([_once(name, arguments.reviews) for _ in range(arguments.repeats)])
        for name in arguments.only
    }
    report = {"machine": machine_facts(), "retrainings": results}
    write_report(arguments.json, report, as_markdown(results))


@contextmanager
def own_store(settings: str, on_step: Callable[[str], None]) -> Iterator[Path]:
    """An S3 test server with two empty buckets, and an environment that leads to it.

    Parameters
    ----------
    settings : str
        What the configuration holds besides the defaults, as TOML.
    on_step : callable
        Takes what is being done.

    Yields
    ------
    folder : Path
        For files of the benchmark; it is deleted afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        config = folder / "bench.toml"
        config.write_text(settings)
        stack = LocalStack(folder / "stack", config, on_step=on_step, has_airflow=False)
        with stack, environment(stack.s3_environment):
            stores = open_both()
            stores.reviews.create_if_missing()
            stores.models.create_if_missing()
            yield folder


def _once(name: str, reviews: Path) -> Figures:
    is_stream = name.startswith("stream")
    with own_store('[training]\ncandidates = ["fingerprint_stream"]\n' if is_stream else "", _say):
        snapshot = _fill(name, reviews)
        if name == "night_cached":
            _say("yesterday's retraining")
            yesterday = snapshot.model_copy(update={"partitions": snapshot.partitions[:-1]})
            _measured(name, reviews, yesterday)
        _say(f"retraining {name}")
        return _measured(name, reviews, snapshot) | bytes_stored()


def _fill(name: str, reviews: Path) -> Snapshot:
    """Write the partitions of a corpus; returns the snapshot of all of them."""
    stores = open_both()
    kind, _, size = name.partition("_")
    if kind == "night":
        return fifty_nights(stores.reviews, reviews)
    _say(f"writing {SIZES[size]:,} reviews")
    return written(stores.reviews, Grown(*all_reviews(reviews), SIZES[size]), PARTITION_ROWS)


def _measured(name: str, reviews: Path, snapshot: Snapshot) -> Figures:
    with environment({"BENCH_SNAPSHOT": _pinned(snapshot)}):
        return in_own_process("benchmarks.bench_retrain", name, reviews)


def _pinned(snapshot: Snapshot) -> str:
    reviews = open_both().reviews
    reviews.put_record(snapshot)
    return reviews.uri(snapshot.object_key)


def open_both() -> Stores:
    """Both buckets of the configuration in force."""
    from pipelines.core import config
    from pipelines.core.store.stores import open_stores

    return open_stores(config.load())


def bytes_stored() -> Figures:
    """Bytes in the folders of the reviews bucket, and in the whole models bucket."""
    stores = open_both()
    stored: Counter[str] = Counter()
    for info in stores.reviews.list(""):
        stored[info.key.partition("/")[0]] += info.size_bytes
    stored["models"] = sum(info.size_bytes for info in stores.models.list(""))
    return {f"{folder}_bytes": float(stored[folder]) for folder in FOLDERS}


def retrain_once(snapshot_uri: str) -> Figures:
    """Do what the tasks of the retraining do, one after the other; libraries are loaded before."""
    from pipelines.evaluation import verify  # noqa: F401
    from pipelines.steps import retrain

    figures: Figures = {}
    seconds: dict[str, Figures] = {}

    def step(name: str, work: Callable[[], Any]) -> Any:
        with counted_requests() as requests:
            result, seconds[name] = timed(work)
        figures[f"{name}_requests"] = requests.total
        figures[f"{name}_cpu_seconds"] = seconds[name]["cpu_seconds"]
        figures[f"{name}_peak_mb_so_far"] = high_water_bytes(os.getpid()) / 1e6
        return result

    plan = retrain.plan(snapshot_uri)
    step("featurize", lambda: retrain.featurize(plan))
    manifest = step("train", lambda: retrain.train(plan))
    scored = step("evaluate", lambda: retrain.evaluate(manifest))
    checked = step("verify", lambda: retrain.verify(scored))
    step("decide and card", lambda: retrain.write_card(retrain.decide(checked)))
    return figures | {
        f"{kind}_seconds": sum(each[f"{kind}_seconds"] for each in seconds.values())
        for kind in ("cpu", "wall")
    }


def _say(step: str) -> None:
    sys.stderr.write(f"bench-retrain: {step}\n")


def as_markdown(results: dict[str, Figures]) -> str:
    rows = [
        [name.replace("_", " "), *(f"{each[f'{step}_cpu_seconds']:.1f}" for step in STEPS),
         f"{each['cpu_seconds']:.1f}", f"{each['wall_seconds']:.1f}", f"{each['peak_mb']:.0f}",
         f"{sum(each[f'{step}_requests'] for step in STEPS):,.0f}",
         f"{each['features_bytes'] / 1e9:.2f}"]
        for name, each in results.items()
    ]  # fmt: skip
    scratch, cached = (results.get(f"night_{how}") for how in ("scratch", "cached"))
    if scratch and cached:
        keys = [*(f"{step}_cpu_seconds" for step in STEPS), "cpu_seconds", "wall_seconds"]
        times = (f"{scratch[key] / max(cached[key], 0.01):.1f}" for key in keys)
        rows.append(["times less with a cache", *times, "", "", ""])
    heads = ["whole retraining", *(f"{step} CPU s" for step in STEPS)]
    return markdown_table(
        [*heads, "all CPU s", "wall s", "peak MB", "requests", "features GB"], rows
    )


if __name__ == "__main__":
    main()
