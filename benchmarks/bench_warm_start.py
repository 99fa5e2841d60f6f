"""Is it worth starting a night's fit from yesterday's weights?

    python -m benchmarks.bench_warm_start --reviews imdb_reviews.parquet --json results/warm.json

49,000 real reviews are yesterday's, 50,000 today's. Today's model is fitted from nothing in three
passes, as configured, and from yesterday's weights in fewer. Both are scored on the same reviews of
films that neither was trained on. Only the descent is timed: all else is the same.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bench_growth import COUNTED, FolderBucket, fifty_nights
from benchmarks.measuring import (
    Figures,
    in_own_process,
    machine_facts,
    markdown_table,
    parser,
    timed,
    write_report,
)

TITLES = {
    "cold_3": "from nothing, 3 passes (as configured)",
    "cold_1": "from nothing, 1 pass",
    "warm_1": "from yesterday's weights, 1 pass",
    "warm_2": "from yesterday's weights, 2 passes",
    "warm_7_nights": "the same, 1 pass, seven nights in a row",
}
NIGHTS_IN_A_ROW = 7


def main() -> None:
    arguments = parser("benchmarks.bench_warm_start", __doc__, ["all"]).parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.reviews)))
        return
    flat = in_own_process("benchmarks.bench_warm_start", "all", arguments.reviews)
    results = {
        name: {key: flat[f"{name} {key}"] for key in ("cpu_seconds", "accuracy", "log_loss")}
        for name in TITLES
    }
    report = {"machine": machine_facts(), "starts": results}
    write_report(arguments.json, report, as_markdown(results))


def measure(reviews: Path) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        nights = Nights(FolderBucket(Path(folder)), reviews)
        days = [nights.day(back) for back in range(NIGHTS_IN_A_ROW, -1, -1)]
    yesterday, today = days[-2:]
    before = descend(yesterday, epochs=3)[0]
    tried = {
        "cold_3": descend(today, epochs=3),
        "cold_1": descend(today, epochs=1),
        "warm_1": descend(today, epochs=1, start=before),
        "warm_2": descend(today, epochs=2, start=before),
    }
    weights = descend(days[0], epochs=3)[0]
    for day in days[1:]:
        tried["warm_7_nights"] = descend(day, epochs=1, start=weights)
        weights = tried["warm_7_nights"][0]
    return {
        f"{name} {key}": value
        for name, (_, figures) in tried.items()
        for key, value in figures.items()
    }


class Nights:
    """The corpus as it was on each of the last nights, and reviews that were never in it."""

    def __init__(self, bucket: Any, reviews: Path) -> None:
        self._bucket, self._snapshot = bucket, fifty_nights(bucket, reviews)

    def day(self, back: int) -> dict[str, Any]:
        from pipelines.features.fingerprint_index import FingerprintIndex, known_columns, presence
        from pipelines.models.log_count_ratio import weigh, weighted_by
        from pipelines.training.dataset import load_dataset

        partitions = self._snapshot.partitions
        snapshot = self._snapshot.model_copy(
            update={"partitions": partitions[: len(partitions) - back]}
        )
        data = load_dataset(self._bucket, snapshot)
        corpus = data.corpus(data.training_rows, **COUNTED)
        labels = data.label[data.training_rows]
        weighted = weigh(corpus.presence(), labels, 1.0)
        everything = load_dataset(self._bucket, self._snapshot)
        held_out = everything.fingerprints(everything.holdout_rows, ngram_max=3, bits=40)
        columns, bounds = known_columns(FingerprintIndex(corpus.vocabulary, 40), held_out)
        unseen = presence(columns, bounds, len(corpus.vocabulary))
        return {
            "weighted": weighted,
            "labels": labels,
            "unseen": weighted_by(weighted.ratio, unseen),
            "truth": everything.label[everything.holdout_rows],
        }


def descend(
    day: dict[str, Any], *, epochs: int, start: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.float32], Figures]:
    """Weights after so many passes, the averaged ones, and how good they are."""
    from sklearn.metrics import log_loss

    from pipelines.models.nbsvm import NaiveBayesSvm

    svm = NaiveBayesSvm(epochs=epochs, random_state=20260105)
    linear, rows = svm.descent(len(day["labels"])), day["weighted"].rows
    first = np.zeros(rows.shape[1], np.float32)
    if start is not None:
        first[: len(start)] = start  # columns keep their numbers
    _, seconds = timed(lambda: linear.fit(rows, day["labels"], coef_init=first))
    svm.take_over(linear, day["weighted"].ratio, np.array([0, 1]))
    margins = svm.margins_of_weighted(day["unseen"])
    svm.calibrate(margins, day["truth"])  # two numbers from ten thousand reviews; alike for all
    probability = 1 / (1 + np.exp(-(svm.slope_ * margins + svm.offset_)))
    return linear.coef_[0].astype(np.float32), {
        "cpu_seconds": seconds["cpu_seconds"],
        "accuracy": float(np.mean((probability >= 0.5) == day["truth"])),
        "log_loss": float(log_loss(day["truth"], probability)),
    }


def as_markdown(results: dict[str, Figures]) -> str:
    rows = [
        [TITLES[name], f"{figures['cpu_seconds']:.2f}", f"{figures['accuracy']:.4f}",
         f"{figures['log_loss']:.4f}"]
        for name, figures in results.items()
    ]  # fmt: skip
    return markdown_table(["start", "descent CPU s", "accuracy", "log loss"], rows)


if __name__ == "__main__":
    main()
