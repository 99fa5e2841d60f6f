"""Choose between settings by cross-validation over films, and fit the best to all rows.

What does not look at labels, the first step of every pipeline, is fitted once to all training rows
and its matrix shared by all settings that agree on it, and by all folds. Within a fold, settings
that agree on the log-count ratios share the weighted rows. After each fold the hopeless settings
are given up: the worse part of those that are left, as in successive halving [1]_. The folds end
when a single setting is left, but not before the second.

The margins of the rows that were held out in turn then calibrate the model that is fitted to all
rows, at no further cost.

References
----------
.. [1] K. Jamieson and A. Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
   Optimization", AISTATS, 2016.
"""
# ruff: noqa: N803, N806  # X is what scikit-learn and its readers call the samples

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import clone
from sklearn.metrics import accuracy_score, log_loss
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

from pipelines.candidates import build, inputs_for
from pipelines.corpus import Corpus
from pipelines.dataset import Dataset
from pipelines.errors import ConfigError, FitError
from pipelines.models import FingerprintVectorizer
from pipelines.nbsvm import (
    NaiveBayesSvm,
    Weighted,
    class_counts,
    every_fifth,
    ratio_of_counts,
    weighted_by,
)
from pipelines.records import CandidateScore, Plan
from pipelines.streaming import fit_streamed, streams

logger = logging.getLogger(__name__)

OnStep = Callable[[str], None]

FEWEST_FOLDS = 2
"""Also a setting that is left alone is tried on so many, since their margins calibrate it."""


@dataclass(frozen=True)
class Found:
    """The chosen setting, its model fitted to all training rows, and how all settings compared."""

    candidate: str
    model: Pipeline
    scores: tuple[CandidateScore, ...]


@dataclass
class _Trial:
    """One setting on its way through the folds."""

    name: str
    model: Pipeline
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    margins: list[NDArray[np.float64]] = field(default_factory=list)

    @property
    def loss(self) -> float:
        return float(np.mean(self.losses))

    def score(self) -> CandidateScore:
        return CandidateScore(
            name=self.name,
            log_loss=self.loss,
            accuracy=float(np.mean(self.accuracies)),
            folds=len(self.losses),
        )


def find_best(dataset: Dataset, plan: Plan, on_step: OnStep) -> Found:
    """Fit the plan's best setting to all training rows; a lone one needs no comparison.

    Folds that lack a class, inside or outside, compare nothing and are left out. Where all do, the
    first setting by name is fitted.

    Raises
    ------
    ConfigError
        If a candidate is not a pipeline of at least two steps.
    FitError
        If a candidate cannot be fitted to these reviews.
    """
    rows = _TrainingRows(dataset, plan.folds)
    trials = [_Trial(name, _built(plan, name)) for name in sorted(plan.candidates)]
    running, is_compared = trials, len(trials) > 1 and bool(rows.usable_folds)
    if is_compared:
        running = _compare(trials, rows, plan, on_step)
    best = min(running, key=lambda trial: (trial.losses and trial.loss, trial.name))
    on_step(f"fitting {best.name} on all training rows")
    if len(trials) == 1 and streams(best.model):
        return Found(best.name, _fit_streamed(best, dataset, rows), ())
    model = _fit_to_all(best, rows)
    scores = tuple(trial.score() for trial in trials) if is_compared else ()
    return Found(best.name, model, scores)


def survivors(losses: dict[str, float], keep_share: float) -> set[str]:
    """The settings worth another fold: those of lowest log loss, at least one."""
    ranked = sorted(losses, key=lambda name: (losses[name], name))
    return set(ranked[: max(1, math.ceil(keep_share * len(ranked)))])


@dataclass(frozen=True)
class _Shared:
    """What the settings with one first step share: that step, its matrix, and the labels.

    Of a corpus the matrix has a byte for a one; `_as_floats` is for who computes in the type of X.
    """

    first: Any
    X: Any
    labels: NDArray[np.int8]

    @cached_property
    def counts(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """How often each feature occurs in either class.

        Raises
        ------
        ValueError
            If X holds what is no count.
        """
        check_array(self.X, accept_sparse="csr", dtype=None, ensure_non_negative=True)
        return class_counts(self.X, self.labels == 1)


class _TrainingRows:
    """The training rows: their labels, their folds, and one matrix per kind of first step."""

    def __init__(self, dataset: Dataset, fold_count: int) -> None:
        self._dataset = dataset
        self._shared: dict[str, _Shared] = {}
        self.rows = dataset.training_rows
        self.labels = dataset.label[self.rows]
        self.folds = dataset.folds(fold_count)[self.rows]
        self.is_selection = dataset.is_selection[self.rows]
        self.usable_folds = [fold for fold in range(fold_count) if self._is_usable(fold)]

    def _is_usable(self, fold: int) -> bool:
        """Whether both classes are in the fold, and among the other rows."""
        return _are_both_classes_on_both_sides(self.labels, self.folds == fold)

    def shared(self, model: Pipeline) -> _Shared:
        """The model's first step fitted to all training rows, and what it makes of them."""
        key = _key(model[0])
        if key not in self._shared:
            self._shared[key] = _Shared(*self._fitted(model), self.labels)
        return self._shared[key]

    def _fitted(self, model: Pipeline) -> tuple[Any, Any]:
        first, inputs = clone(model[0]), self._inputs(model)
        if isinstance(inputs, Corpus):
            return first.fit(inputs), inputs.presence(np.uint8)
        return first, first.fit_transform(inputs)

    def _inputs(self, model: Pipeline) -> Any:
        if not isinstance(model[0], FingerprintVectorizer):
            return inputs_for(model, self._dataset, self.rows)
        return self._dataset.corpus(self.rows, **model[0].get_params())


def _as_floats(X: Any) -> Any:
    """Return float32 in place of bytes, which would wrap round; anything else as it is."""
    return X.astype(np.float32) if getattr(X, "dtype", None) == np.uint8 else X


def _built(plan: Plan, name: str) -> Pipeline:
    model = build(plan, name)
    if not isinstance(model, Pipeline) or len(model) < 2:
        raise ConfigError(
            f"candidates.{name}: {plan.candidates[name]['factory']} must return a Pipeline whose "
            "first step makes a matrix of the reviews and whose last step classifies its rows"
        )
    return model


def _key(estimator: Any) -> str:
    """Equal for estimators that do the same."""
    return f"{type(estimator).__qualname__} {sorted(estimator.get_params().items(), key=str)}"


def _compare(
    trials: list[_Trial], rows: _TrainingRows, plan: Plan, on_step: OnStep
) -> list[_Trial]:
    """Run the folds until a single setting is left; returns those that are left after the last."""
    running, count = trials, len(rows.usable_folds)
    if count < plan.folds:
        logger.warning("folds=%d of %d: the others lack reviews of a class", count, plan.folds)
    for number, fold in enumerate(rows.usable_folds, start=1):
        on_step(f"comparing {len(running)} settings on fold {number} of {count}")
        _run_fold(running, rows, rows.folds == fold)
        if number < count:
            kept = survivors({trial.name: trial.loss for trial in running}, plan.keep_share)
            running = [trial for trial in running if trial.name in kept]
        if len(running) == 1 and number >= FEWEST_FOLDS:
            break
    for trial in running:
        logger.info("setting=%s log_loss=%.5f folds=%d", trial.name, trial.loss, len(trial.losses))
    return running


def _run_fold(trials: list[_Trial], rows: _TrainingRows, is_out: NDArray[np.bool_]) -> None:
    for key in dict.fromkeys(_key(trial.model[0]) for trial in trials):
        group = [trial for trial in trials if _key(trial.model[0]) == key]
        with _fitting(group[0].name, len(rows.rows)):
            fold = _Fold(rows.shared(group[0].model), is_out)
        for trial in sorted(group, key=_smoothing):
            with _fitting(trial.name, int(np.sum(~is_out))):
                _judge(trial, fold)


def _smoothing(trial: _Trial) -> float:
    """So that settings which share weighted rows are tried one after the other."""
    last = _margin_step(trial.model)
    return 0.0 if last is None else last.alpha


class _Fold:
    """The rows inside and outside of a fit, and these weighted, for one smoothing count at a time.

    What occurs inside is what occurs at all, but for what occurs outside: so no fold is counted
    more than once.
    """

    def __init__(self, shared: _Shared, is_out: NDArray[np.bool_]) -> None:
        self.X, self.is_out, self._shared = shared.X, is_out, shared
        self.labels_inside, self.labels_outside = shared.labels[~is_out], shared.labels[is_out]
        self._weighted: dict[float, tuple[Weighted, Any]] = {}

    @cached_property
    def _counts(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        first, second = self._shared.counts
        first_out, second_out = class_counts(self.X[self.is_out], self.labels_outside == 1)
        return first - first_out, second - second_out

    def weighted(self, alpha: float) -> tuple[Weighted, Any]:
        """The rows inside and outside; those that are not weighted are not kept beside them."""
        if alpha not in self._weighted:
            self._weighted.clear()
            ratio = ratio_of_counts(*self._counts, alpha)
            inside = Weighted.by(ratio, self.X[~self.is_out])
            self._weighted[alpha] = inside, weighted_by(ratio, self.X[self.is_out])
        return self._weighted[alpha]


def _judge(trial: _Trial, fold: _Fold) -> None:
    """Fit without a fold and score the fold."""
    last = _margin_step(trial.model)
    if last is None:
        inside, outside = _as_floats(fold.X[~fold.is_out]), _as_floats(fold.X[fold.is_out])
        fitted = clone(trial.model[1:]).fit(inside, fold.labels_inside)
        column = list(fitted.classes_).index(1)
        probability = fitted.predict_proba(outside)[:, column]
    else:
        weighted, held_out = fold.weighted(last.alpha)
        svm = clone(last).fit_weighted(weighted, fold.labels_inside)
        margins = svm.margins_of_weighted(held_out)
        # Slope and offset are two numbers learned from a whole fold: they hardly flatter.
        svm.calibrate(margins, fold.labels_outside)
        probability = expit(svm.slope_ * margins + svm.offset_)
        trial.margins.append(margins)
    trial.losses.append(float(log_loss(fold.labels_outside, probability, labels=[0, 1])))
    trial.accuracies.append(float(accuracy_score(fold.labels_outside, probability >= 0.5)))


def _fit_to_all(trial: _Trial, rows: _TrainingRows) -> Pipeline:
    last = _margin_step(trial.model)
    with _fitting(trial.name, len(rows.rows)):
        shared = rows.shared(trial.model)
        first, X = shared.first, shared.X
        if last is None:
            rest = trial.model[1:].fit(_as_floats(X), rows.labels)
        elif trial.margins:
            folds = rows.usable_folds[: len(trial.margins)]
            judged = np.concatenate([rows.labels[rows.folds == fold] for fold in folds])
            ratio = ratio_of_counts(*shared.counts, last.alpha)
            svm = last.fit_weighted(Weighted.by(ratio, X), rows.labels)
            rest = [svm.calibrate(np.concatenate(trial.margins), judged)]
        else:
            rest = [last.fit(X, rows.labels, held_out=_calibration_rows(rows))]
    names = [name for name, _ in trial.model.steps]
    return Pipeline(list(zip(names, [first, *rest], strict=True)))


def _fit_streamed(trial: _Trial, dataset: Dataset, rows: _TrainingRows) -> Pipeline:
    held_out = _calibration_rows(rows)
    with _fitting(trial.name, len(rows.rows)):
        held_out = every_fifth(rows.labels) if held_out is None else held_out
        return fit_streamed(trial.model, dataset, rows.rows, held_out)


def _calibration_rows(rows: _TrainingRows) -> NDArray[np.bool_] | None:
    """The selection films, if both classes are found among them and among the others."""
    is_fit = _are_both_classes_on_both_sides(rows.labels, rows.is_selection)
    return rows.is_selection if is_fit else None


def _are_both_classes_on_both_sides(labels: NDArray[np.int8], is_out: NDArray[np.bool_]) -> bool:
    return len(np.unique(2 * labels + is_out)) == 4


def _margin_step(model: Pipeline) -> NaiveBayesSvm | None:
    is_margin = len(model) == 2 and isinstance(model[-1], NaiveBayesSvm)
    return cast("NaiveBayesSvm", model[-1]) if is_margin else None


@contextmanager
def _fitting(name: str, row_count: int) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise FitError(
            f"candidate {name} cannot be fitted on {row_count:,} reviews: {error}"
        ) from error
