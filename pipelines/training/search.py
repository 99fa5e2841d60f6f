"""Choose between settings by cross-validation over films, and fit the best to all rows.

The first step of every pipeline does not use labels. So it is fitted once to all training rows, and
all folds and all settings with the same first step share its matrix. Within a fold, settings with
the same log-count ratios share the weighted rows. After each fold the worse part of the remaining
settings is dropped, as in successive halving [1]_. The search ends when a single setting is left,
but not before the second fold.

The margins of the held out rows of all folds then calibrate the model that is fitted to all rows,
at no extra cost.

References
----------
.. [1] K. Jamieson and A. Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
   Optimization", AISTATS, 2016.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import clone
from sklearn.metrics import accuracy_score, log_loss
from sklearn.pipeline import Pipeline

from pipelines.core.errors import ConfigError, FitError
from pipelines.models.log_count_ratio import Weighted, ratio_of_counts
from pipelines.models.nbsvm import NaiveBayesSvm, every_fifth
from pipelines.records.versions import CandidateScore, Plan
from pipelines.training.candidates import build
from pipelines.training.dataset import Dataset
from pipelines.training.folds import (
    Fold,
    TrainingRows,
    are_both_classes_on_both_sides,
    as_floats,
    parameters_key,
)
from pipelines.training.streaming import fit_streamed, streams

logger = logging.getLogger(__name__)

OnStep = Callable[[str], None]

FEWEST_FOLDS = 2
"""Folds that even the last setting runs, since their margins calibrate it."""


@dataclass(frozen=True)
class Selection:
    """The chosen setting, its model fitted to all training rows, and the scores of all settings."""

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


def find_best(dataset: Dataset, plan: Plan, on_step: OnStep) -> Selection:
    """Fit the plan's best setting to all training rows; a single setting is not compared.

    Folds that lack a class, inside or outside, are skipped. If all folds are skipped, the first
    setting by name is fitted.

    Raises
    ------
    ConfigError
        If a candidate is not a pipeline of at least two steps.
    FitError
        If a candidate cannot be fitted to these reviews.
    """
    rows = TrainingRows(dataset, plan.folds)
    trials = [_Trial(name, _built(plan, name)) for name in sorted(plan.candidates)]
    running, is_compared = trials, len(trials) > 1 and bool(rows.usable_folds)
    if is_compared:
        running = _compare(trials, rows, plan, on_step)
    best = min(running, key=lambda trial: (trial.losses and trial.loss, trial.name))
    on_step(f"fitting {best.name} on all training rows")
    if len(trials) == 1 and streams(best.model):
        return Selection(best.name, _fit_streamed(best, dataset, rows), ())
    model = _fit_to_all(best, rows)
    scores = tuple(trial.score() for trial in trials) if is_compared else ()
    return Selection(best.name, model, scores)


def survivors(losses: dict[str, float], keep_share: float) -> set[str]:
    """The settings worth another fold: those of lowest log loss, at least one."""
    ranked = sorted(losses, key=lambda name: (losses[name], name))
    return set(ranked[: max(1, math.ceil(keep_share * len(ranked)))])


def _built(plan: Plan, name: str) -> Pipeline:
    model = build(plan, name)
    if not isinstance(model, Pipeline) or len(model) < 2:
        raise ConfigError(
            f"candidates.{name}: {plan.candidates[name]['factory']} must return a Pipeline whose "
            "first step makes a matrix of the reviews and whose last step classifies its rows"
        )
    return model


def _compare(trials: list[_Trial], rows: TrainingRows, plan: Plan, on_step: OnStep) -> list[_Trial]:
    """Run the folds until a single setting is left; returns the remaining settings."""
    running, count = trials, len(rows.usable_folds)
    if count < plan.folds:
        logger.warning("folds=%d of %d: the others lack reviews of one class", count, plan.folds)
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


def _run_fold(trials: list[_Trial], rows: TrainingRows, is_out: NDArray[np.bool_]) -> None:
    for key in dict.fromkeys(parameters_key(trial.model[0]) for trial in trials):
        group = [trial for trial in trials if parameters_key(trial.model[0]) == key]
        with _fitting(group[0].name, len(rows.rows)):
            fold = Fold(rows.shared(group[0].model), is_out)
        for trial in sorted(group, key=_smoothing):
            with _fitting(trial.name, int(np.sum(~is_out))):
                _score_fold(trial, fold)


def _smoothing(trial: _Trial) -> float:
    """A sort key that puts settings which share weighted rows next to each other."""
    last = _margin_step(trial.model)
    return 0.0 if last is None else last.alpha


def _score_fold(trial: _Trial, fold: Fold) -> None:
    """Fit without a fold and score the fold."""
    last = _margin_step(trial.model)
    if last is None:
        inside, outside = as_floats(fold.X[~fold.is_out]), as_floats(fold.X[fold.is_out])
        fitted = clone(trial.model[1:]).fit(inside, fold.labels_inside)
        column = list(fitted.classes_).index(1)
        probability = fitted.predict_proba(outside)[:, column]
    else:
        weighted, held_out = fold.weighted(last.alpha)
        svm = clone(last).fit_weighted(weighted, fold.labels_inside)
        margins = svm.margins_of_weighted(held_out)
        # Two numbers learned from a whole fold hardly bias its score.
        svm.calibrate(margins, fold.labels_outside)
        probability = expit(svm.slope_ * margins + svm.offset_)
        trial.margins.append(margins)
    trial.losses.append(float(log_loss(fold.labels_outside, probability, labels=[0, 1])))
    trial.accuracies.append(float(accuracy_score(fold.labels_outside, probability >= 0.5)))


def _fit_to_all(trial: _Trial, rows: TrainingRows) -> Pipeline:
    last = _margin_step(trial.model)
    with _fitting(trial.name, len(rows.rows)):
        shared = rows.shared(trial.model)
        first, X = shared.first, shared.X
        if last is None:
            rest = trial.model[1:].fit(as_floats(X), rows.labels)
        elif trial.margins:
            folds = rows.usable_folds[: len(trial.margins)]
            labels = np.concatenate([rows.labels[rows.folds == fold] for fold in folds])
            ratio = ratio_of_counts(*shared.counts, last.alpha)
            svm = last.fit_weighted(Weighted.by(ratio, X), rows.labels)
            rest = [svm.calibrate(np.concatenate(trial.margins), labels)]
        else:
            rest = [last.fit(X, rows.labels, held_out=_calibration_rows(rows))]
    names = [name for name, _ in trial.model.steps]
    return Pipeline(list(zip(names, [first, *rest], strict=True)))


def _fit_streamed(trial: _Trial, dataset: Dataset, rows: TrainingRows) -> Pipeline:
    held_out = _calibration_rows(rows)
    with _fitting(trial.name, len(rows.rows)):
        held_out = every_fifth(rows.labels) if held_out is None else held_out
        return fit_streamed(trial.model, dataset, rows.rows, held_out)


def _calibration_rows(rows: TrainingRows) -> NDArray[np.bool_] | None:
    """The selection films, if both classes occur among them and among the other films."""
    is_fit = are_both_classes_on_both_sides(rows.labels, rows.is_selection)
    return rows.is_selection if is_fit else None


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
