"""Folds of a search, and what their fits share, so that each text is counted once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

from pipelines.models.log_count_ratio import Weighted, class_counts, ratio_of_counts, weighted_by
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
    def counts(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """How many rows of either class have each feature.

        Raises
        ------
        ValueError
            If X holds values that are not finite.
        """
        check_array(self.X, accept_sparse="csr", dtype=None)
        return class_counts(self.X, self.labels == 1)

    def ratio(self, alpha: float, floor: float) -> NDArray[np.float32]:
        """The log-count ratio of each feature in all rows."""
        return ratio_of_counts(*self.counts, alpha, floor)


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
        """Whether both classes are in the fold, and among the other rows."""
        return are_both_classes_on_both_sides(self.labels, self.folds == fold)

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
    """The rows inside and outside of a fit, also weighted, for one smoothing at a time.

    Counts inside = total counts - counts outside, so each fold is counted only once.
    """

    def __init__(self, shared: Shared, is_out: NDArray[np.bool_]) -> None:
        self.X, self.is_out, self._shared = shared.X, is_out, shared
        self.labels_inside, self.labels_outside = shared.labels[~is_out], shared.labels[is_out]
        self._weighted: dict[tuple[float, float], tuple[Weighted, Any]] = {}

    @cached_property
    def _counts(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        first, second = self._shared.counts
        first_out, second_out = class_counts(self.X[self.is_out], self.labels_outside == 1)
        return first - first_out, second - second_out

    def weighted(self, alpha: float, floor: float) -> tuple[Weighted, Any]:
        """The weighted rows inside and outside; earlier ones are dropped to save memory."""
        if (alpha, floor) not in self._weighted:
            self._weighted.clear()
            ratio = ratio_of_counts(*self._counts, alpha, floor)
            inside = Weighted.by(ratio, self.X[~self.is_out])
            self._weighted[alpha, floor] = inside, weighted_by(ratio, self.X[self.is_out])
        return self._weighted[alpha, floor]


def are_both_classes_on_both_sides(labels: NDArray[np.int8], is_out: NDArray[np.bool_]) -> bool:
    return len(np.unique(2 * labels + is_out)) == 4
