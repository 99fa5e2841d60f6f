"""Reviews and plans for searches in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.features.corpus import Corpus
from pipelines.features.fingerprints import Fingerprints, fingerprint
from pipelines.features.views import View
from pipelines.records.versions import Plan, StarClass
from pipelines.simulation.made_up import make_reviews
from pipelines.training.identities import class_of_stars
from tests.support.made.registry_builders import DIGEST

STREAM = {
    "factory": "pipelines.models.factories:fingerprint_stream",
    "parameters": {"column_bits": 18},
}


@dataclass(frozen=True)
class SomeReviews:
    """What the search reads of a dataset."""

    all_texts: list[str]
    label: np.ndarray
    fold: np.ndarray
    is_selection: np.ndarray

    @property
    def training_rows(self) -> np.ndarray:
        return np.arange(len(self.label))

    def folds(self, count: int) -> np.ndarray:
        return self.fold % count

    def texts(self, rows: np.ndarray) -> list[str]:
        return [self.all_texts[row] for row in rows]

    def fingerprints(self, rows: np.ndarray, view: View) -> Fingerprints:
        return fingerprint(self.texts(rows), view)

    def corpus(self, rows: np.ndarray, view: View, *, min_df: int) -> Corpus:
        return Corpus.of([self.fingerprints(rows, view)], view, min_df=min_df)


@dataclass(frozen=True)
class PartitionedReviews(SomeReviews):
    """Reviews in partitions of 70."""

    def fingerprints_by_pack(
        self, rows: np.ndarray, view: View
    ) -> Iterator[tuple[np.ndarray, Fingerprints]]:
        for start in range(0, len(self.label), 70):
            mine = rows[(rows >= start) & (rows < start + 70)]
            yield mine, self.fingerprints(mine, view)


def some_partitioned(count: int, seed: int) -> PartitionedReviews:
    table = make_reviews(count, seed=seed)
    labels = (np.array(table["label"].to_pylist()) == "positive").astype(np.int8)
    fold = np.arange(len(labels)) // 7
    return PartitionedReviews(table["text"].to_pylist(), labels, fold, fold % 5 == 0)


def a_plan(candidates: dict[str, dict[str, Any]], **changes: Any) -> Plan:
    values = {
        "model_name": "sentiment",
        "snapshot": DIGEST,
        "candidates": candidates,
        "min_training_rows": 2,
        "folds": 3,
        "keep_share": 1.0,
        "seed": 1,
        "code": DIGEST,
        "environment": DIGEST,
    }
    return Plan(**(values | changes))


def quiet(_step: str) -> None:
    pass


STARS = tuple(
    StarClass(name=name, low=low, high=high)
    for name, low, high in (("poor", 1, 2), ("middling", 3, 8), ("great", 9, 10))
)


def some_rated(count: int, seed: int) -> SomeReviews:
    """Reviews whose labels are the classes `STARS`."""
    table = make_reviews(count, seed=seed)
    labels = class_of_stars(table["rating"].combine_chunks(), STARS)
    fold = np.arange(count) // 7
    return SomeReviews(table["text"].to_pylist(), labels, fold, fold % 5 == 0)
