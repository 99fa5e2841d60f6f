"""How many turned labels in a delivery are noticed, and how many clean deliveries are held.

    python -m benchmarks.bench_poison --reviews imdb_reviews.parquet

One champion is trained on 20,000 reviews. The others are dealt out by film: a part is its holdout,
the rest is what a source delivers. Each delivery is drawn from that rest, labels are turned with
`simulation.damage.flip_labels`, and the rule itself (`validation.drift`) judges it, beside
three clean deliveries of the same size and source, or beside the champion's own evaluation.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.compared.models import default_candidate
from pipelines.core import config
from pipelines.models.prediction import positive_probability
from pipelines.simulation import sources
from pipelines.simulation.damage import DELIVERED_SCHEMA, flip_labels
from pipelines.validation import drift
from pipelines.validation.history import History, Past, Trailing, empty

TRAINED_ROWS = 20_000
SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
SIZES = (500, 2_000)
SEED = 20260105

Bools = NDArray[np.bool_]


class Remembered:
    """A champion whose answers are known: reading a review again gives the same one."""

    version = "0" * 20

    def __init__(self, answers: Bools, *, accuracy: float, held_out: int) -> None:
        self.holdout_accuracy, self.holdout_rows = accuracy, held_out
        self._answers = answers

    def positive_scores(self, texts: Sequence[str]) -> list[float]:
        return [float(self._answers[int(text)]) for text in texts]


def dealt(reviews: pa.Table, rng: np.random.Generator) -> pa.Table:
    """The reviews with each film's together, films in random order."""
    films = np.array(reviews["movie_id"].to_pylist(), dtype=object)
    names, numbers = np.unique(films.astype(str), return_inverse=True)
    place = rng.permutation(len(names))[numbers]
    return reviews.take(pa.array(np.lexsort((rng.random(len(films)), place))))


def champion(reviews: pa.Table, trained: int) -> tuple[Remembered, pa.Table]:
    """A model of the first reviews, and the reviews of films that it never saw."""
    seen, unseen, held_out = reviews[:trained], reviews[trained:], trained // 4
    model = default_candidate(seed=SEED)
    model.fit(seen["text"].to_pylist(), _is_positive(seen).astype(np.int8))
    answers = positive_probability(model, unseen["text"].to_pylist()) >= 0.5
    right = (answers == _is_positive(unseen))[:held_out].mean()
    return Remembered(answers[held_out:], accuracy=float(right), held_out=held_out), unseen[
        held_out:
    ]


def _is_positive(table: pa.Table) -> Bools:
    return np.array([label == "positive" for label in table["label"].to_pylist()])


def _answers(judge: Remembered, places: NDArray[np.intp]) -> Bools:
    return np.array(judge.positive_scores(list(map(str, places)))) >= 0.5


def held_share(
    judge: Remembered, pool: pa.Table, *, rows: int, share: float, has_history: bool, repeats: int
) -> float:
    """The share of deliveries that the rule holds."""
    settings = config.load(config.CONFIG_FOLDER / "default.toml").validation
    rng = np.random.default_rng([rows, round(share * 100), has_history])
    held = 0
    for _ in range(repeats):
        places = rng.choice(pool.num_rows, size=4 * rows, replace=False)
        past = _history(judge, pool, np.split(places[rows:], 3)) if has_history else empty("")
        labels = _delivered(pool, places[:rows], share=share, rng=rng)
        agreed = drift.agreement(_answers(judge, places[:rows]), labels, judge, past)
        compared = drift.with_champion(agreed, settings, source="web")
        held += compared.value is None or compared.value > cast("float", compared.high)
    return held / repeats


def _history(judge: Remembered, pool: pa.Table, before: list[NDArray[np.intp]]) -> History:
    is_positive = _is_positive(pool)
    found = [
        drift.agreement(
            _answers(judge, places),
            is_positive[places],
            judge,
            empty(""),
        )
        for places in before
    ]
    past = [Past(delivered_rows=0, profile=None, agreement=one) for one in found]
    nothing, trailing = empty(""), Trailing.of([""] * len(past), past)
    return History("", nothing.known, nothing.digest, trailing, "web")


def _delivered(
    pool: pa.Table, places: NDArray[np.intp], *, share: float, rng: np.random.Generator
) -> Bools:
    labels = pool["label"].take(pa.array(places))
    empty_columns = {
        field.name: pa.nulls(len(places), field.type)
        for field in DELIVERED_SCHEMA
        if field.name != "label"
    }
    rows = pa.table({**empty_columns, "label": labels}).select(DELIVERED_SCHEMA.names)
    return _is_positive(flip_labels(rows, share=share, rng=rng))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reviews", required=True)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--trained", type=int, default=TRAINED_ROWS, help="of the champion")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    reviews = sources.open_source(chosen.reviews, cache_dir=Path(), made_up_rows=50_000, seed=7)
    judge, pool = champion(dealt(reviews.table, np.random.default_rng(SEED)), chosen.trained)
    print(
        f"champion: {judge.holdout_accuracy:.4f} of {judge.holdout_rows:,} held out reviews right"
    )
    results = []
    for rows in chosen.sizes:
        for has_history in (False, True):
            for share in SHARES:
                held = held_share(
                    judge, pool, rows=rows, share=share, has_history=has_history,
                    repeats=chosen.repeats,
                )  # fmt: skip
                print(
                    f"rows={rows:5,} own_history={has_history!s:5} turned={share:4.0%} {held:.3f}"
                )
                results.append(
                    {"rows": rows, "has_history": has_history, "turned": share, "held": held}
                )
    if chosen.json:
        text = {"accuracy": judge.holdout_accuracy, "repeats": chosen.repeats, "cells": results}
        chosen.json.write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
