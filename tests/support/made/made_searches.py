"""Reviews and plans for searches in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.features.corpus import Corpus
from pipelines.features.fingerprints import Fingerprints, fingerprint
from pipelines.features.views import View
from pipelines.records.versions import Plan
from tests.support.made.registry_builders import DIGEST


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
