"""Folds of a search, and what their fits share, so that each text is counted once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

from pipelines.models.log_count_ratio import (
    Weighted,
    counts_by_class,
    ratio_of_counts,
    weighted_by,
)
from pipelines.models.vectorizer import FingerprintVectorizer
from pipelines.training.candidates import inputs_for
from pipelines.training.compute import Compute
from pipelines.training.dataset import Dataset


@dataclass(frozen=True)
class Shared:
    """What settings with the same first step share: that step, its matrix, and the labels."""

    first: Any
    X: Any
    labels: NDArray[np.int8]

    @cached_property
    def counts(self) -> list[NDArray[np.float32]]:
        """How many rows of each class have each feature.

        Raises
        ------
        ValueError
            If X holds values that are not finite.
        """
        check_array(self.X, accept_sparse="csr", dtype=None)
        return counts_by_class(self.X, self.labels, self.class_count)

    @property
    def class_count(self) -> int:
        return _count_classes(self.labels)

    def ratio(self, alpha: float, floor: float, of: int) -> NDArray[np.float32]:
        """The log-count ratio of each feature in all rows, of a class against the others."""
        return ratio_of_counts(*_against_others(self.counts, of), alpha, floor)

    def is_own(self, of: int) -> NDArray[np.int8]:
        """1 for the rows of a class, 0 for the others."""
        return _is_own(self.labels, of)


def _is_own(labels: NDArray[np.int8], of: int) -> NDArray[np.int8]:
    own: NDArray[np.int8] = (labels == of).astype(np.int8)
    return own


def _count_classes(labels: NDArray[np.int8]) -> int:
    return max(2, int(labels.max(initial=0)) + 1)


def _against_others(
    counts: Sequence[NDArray[np.float32]], of: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The counts in all other classes together, and in one."""
    return reduce(np.add, [*counts[:of], *counts[of + 1 :]]), counts[of]


class TrainingRows:
    """The training rows: their labels, their folds, and one matrix per kind of first step."""

    def __init__(self, dataset: Dataset, fold_count: int, compute: Compute) -> None:
        self._dataset, self.compute = dataset, compute
        self._kept: dict[str, Any] = {}
        self._shared: dict[str, Shared] = {}
        self.rows = dataset.training_rows
        self.labels = dataset.label[self.rows]
        self.folds = dataset.folds(fold_count)[self.rows]
        self.is_selection = dataset.is_selection[self.rows]
        self.usable_folds = [fold for fold in range(fold_count) if self._is_usable(fold)]

    def _is_usable(self, fold: int) -> bool:
        """Whether all classes are in the fold, and among the other rows."""
        return are_all_classes_on_both_sides(self.labels, self.folds == fold)

    def shared(self, model: Pipeline) -> Shared:
        """The model's first step, fitted to all training rows, and the matrix it returns."""
        key = parameters_key(model[0])
        if key not in self._shared:
            self._shared[key] = Shared(*self._fitted(model), self.labels)
        return self._shared[key]

    def kept(self, model: Pipeline) -> Any:
        """What stands for `shared` in a call of `compute`."""
        key = parameters_key(model[0])
        if key not in self._kept:
            self._kept[key] = self.compute.keep(self.shared(model))
        return self._kept[key]

    def _fitted(self, model: Pipeline) -> tuple[Any, Any]:
        first = clone(model[0])
        return first, first.fit_transform(self._inputs(model))

    def _inputs(self, model: Pipeline) -> Any:
        if not isinstance(model[0], FingerprintVectorizer):
            return inputs_for(model, self._dataset, self.rows)
        return self._dataset.corpus(self.rows, model[0].view, min_df=model[0].min_df)


def parameters_key(estimator: Any) -> str:
    """A key that is equal for estimators of the same type and parameters."""
    return f"{type(estimator).__qualname__} {sorted(estimator.get_params().items(), key=str)}"


class Fold:
    """The rows inside and outside of a fit, also weighted, for one smoothing and class at a time.

    Counts inside = total counts - counts outside, so each fold is counted only once.
    """

    def __init__(self, shared: Shared, is_out: NDArray[np.bool_]) -> None:
        self.X, self.is_out, self._shared = shared.X, is_out, shared
        self.labels_inside, self.labels_outside = shared.labels[~is_out], shared.labels[is_out]
        self._weighted: dict[tuple[float, float, int], tuple[Weighted, Any]] = {}

    @cached_property
    def _counts(self) -> list[NDArray[np.float32]]:
        outside = counts_by_class(
            self.X[self.is_out], self.labels_outside, self._shared.class_count
        )
        return [every - out for every, out in zip(self._shared.counts, outside, strict=True)]

    def is_own_inside(self, of: int) -> NDArray[np.int8]:
        """1 for the rows of a class inside, 0 for the others."""
        return _is_own(self.labels_inside, of)

    def weighted(self, alpha: float, floor: float, of: int) -> tuple[Weighted, Any]:
        """The rows inside and outside, weighted for a class against the others.

        Earlier ones are dropped to save memory.
        """
        key = alpha, floor, of
        if key not in self._weighted:
            self._weighted.clear()
            ratio = ratio_of_counts(*_against_others(self._counts, of), alpha, floor)
            inside = Weighted.by(ratio, self.X[~self.is_out])
            self._weighted[key] = inside, weighted_by(ratio, self.X[self.is_out])
        return self._weighted[key]


def are_all_classes_on_both_sides(labels: NDArray[np.int8], is_out: NDArray[np.bool_]) -> bool:
    return len(np.unique(2 * labels + is_out)) == 2 * _count_classes(labels)
