"""A search and a streamed fit here, and on Dask with one, two and four workers of one core.

    python -m benchmarks.cluster.bench --reviews imdb_reviews.parquet --json results/cluster.json

The search compares the settings of a grid on every fold. The streamed fit takes the same reviews in
blocks. Both are made from texts that are already read; the cluster is already started. A model that
is not, to the byte, the one that is made here ends the benchmark.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.bench_search import FOLDS, OfficialTrain
from benchmarks.measuring import (
    Figures,
    machine_facts,
    markdown_table,
    split,
    timed,
    write_report,
)
from pipelines.core.config import load
from pipelines.features.corpus import Corpus
from pipelines.features.fingerprints import Fingerprints, fingerprint
from pipelines.features.views import View
from pipelines.models.artefacts import dump_model
from pipelines.records.versions import Plan
from pipelines.training.compute import Compute, opened
from pipelines.training.search import find_best

WORKERS = (1, 2, 4)
STEPS, FLOORS = (0.1, 0.15, 0.2), (0.1, 0.2)
PARTITION_ROWS = 2_500


@dataclass(frozen=True)
class Read(OfficialTrain):
    """The same, with the fingerprints of each view counted before the clock starts."""

    found: dict[View, Fingerprints]

    def corpus(self, rows: NDArray[np.int64], view: View, *, min_df: int) -> Corpus:  # noqa: ARG002
        return Corpus.of([self.found[view]], view, min_df=min_df)

    def fingerprints_by_pack(
        self, rows: NDArray[np.int64], view: View
    ) -> Iterator[tuple[NDArray[np.int64], Fingerprints]]:
        for start in range(0, len(rows), PARTITION_ROWS):
            part = slice(start, start + PARTITION_ROWS)
            yield rows[part], self.found[view][part]


def search_plan() -> Plan:
    candidate = load().candidates["fingerprint_svm"]
    return plan_of(
        {
            f"step={step} floor={floor}": {
                "factory": candidate.factory,
                "parameters": {**candidate.parameters, "step": step, "floor": floor},
            }
            for step, floor in product(STEPS, FLOORS)
        }
    )


def streaming_plan() -> Plan:
    candidate = load().candidates["fingerprint_stream"]
    parameters = {**candidate.parameters, "runs": 2}
    return plan_of({"stream": {"factory": candidate.factory, "parameters": parameters}})


def plan_of(candidates: dict[str, Any]) -> Plan:
    nothing = "0" * 64
    return Plan(
        model_name="bench", snapshot=nothing, candidates=candidates, min_training_rows=2,
        folds=FOLDS, keep_share=1.0, seed=load().model.seed, code=nothing, environment=nothing,
    )  # fmt: skip


PLANS: dict[str, Callable[[], Plan]] = {
    "search": search_plan,
    "streamed fit": streaming_plan,
}


@contextlib.contextmanager
def place(workers: int) -> Iterator[Compute]:
    """Where to compute: in this process, or in so many others on this machine."""
    if not workers:
        with opened("") as here:
            yield here
        return
    from distributed import LocalCluster

    with (
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=workers, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        opened(cluster.scheduler_address) as there,
    ):
        yield there


def measured(data: Read, plan: Plan, workers: int) -> tuple[str, Figures]:
    """Digest of the model, and what it took; workers have imported everything before."""
    with threadpool_limits(limits=1), place(workers) as where:
        warm(where, workers)
        chosen, figures = timed(lambda: find_best(data, plan, lambda _step: None, where))  # type: ignore[arg-type]
    return hashlib.sha256(dump_model(chosen.model)).hexdigest(), figures


def warm(where: Compute, workers: int) -> None:
    where.run(imported, [(number,) for number in range(4 * workers)])


def imported(number: int) -> list[NDArray[Any]]:
    import pipelines.training.search  # noqa: F401

    return [np.array([number])]


def run(data: Read, workers: tuple[int, ...]) -> dict[str, dict[str, Figures]]:
    results: dict[str, dict[str, Figures]] = {}
    for name, make in PLANS.items():
        digests = set()
        results[name] = {}
        for count in (0, *workers):
            digest, figures = measured(data, make(), count)
            digests.add(digest)
            results[name][f"{count} workers" if count else "here"] = figures
        if len(digests) != 1:
            raise SystemExit(f"{name}: the workers made another model than this process")
    return results


def as_markdown(results: dict[str, dict[str, Figures]]) -> str:
    rows = [
        [
            name, where, f"{figures['cpu_seconds']:.1f}", f"{figures['wall_seconds']:.1f}",
            f"{own['here']['wall_seconds'] / figures['wall_seconds']:.2f}",
            f"{figures['cpu_seconds'] / own['here']['cpu_seconds']:.2f}",
        ]
        for name, own in results.items()
        for where, figures in own.items()
    ]  # fmt: skip
    heads = ["work", "where", "CPU s", "wall s", "times as fast", "times the CPU"]
    return markdown_table(heads, rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster.bench", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--reviews", type=Path, required=True, help="the reviews, as Parquet")
    parser.add_argument("--workers", type=int, nargs="+", default=list(WORKERS))
    parser.add_argument("--rows", type=int, help="only so many reviews")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    chosen = parser.parse_args()
    texts, labels, films = split(chosen.reviews, "train")
    spread = np.linspace(0, len(texts) - 1, chosen.rows or len(texts)).astype(int)
    texts, labels, films = [texts[row] for row in spread], labels[spread], films[spread]
    svm, stream = (
        load().candidates[name].parameters for name in ("fingerprint_svm", "fingerprint_stream")
    )
    views = [
        View(ngram_max=parameters["ngram_max"], prefix_bytes=parameters["prefix_bytes"])  # type: ignore[arg-type]
        for parameters in (svm, stream)
    ]
    data = Read(texts, labels, films, {view: fingerprint(texts, view) for view in views})
    results = run(data, tuple(chosen.workers))
    write_report(chosen.json, {"machine": machine_facts(), "work": results}, as_markdown(results))


if __name__ == "__main__":
    main()
