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
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from pipelines.core.errors import ConfigError, FitError
from pipelines.models import answers as of_models
from pipelines.models.blend import Blend, members_of
from pipelines.models.log_count_ratio import Weighted, two_classes
from pipelines.models.nbsvm import NaiveBayesSvm, Weights, every_fifth
from pipelines.models.one_vs_rest import OneVsRest
from pipelines.records.versions import CandidateScore, Plan
from pipelines.training.candidates import build, check_classes
from pipelines.training.compute import Arrays, Compute, Here
from pipelines.training.dataset import Dataset
from pipelines.training.folds import (
    Fold,
    Shared,
    TrainingRows,
    are_all_classes_on_both_sides,
    parameters_key,
)
from pipelines.training.streaming import fit_streamed, streams
from pipelines.training.trials import Part, Trial, steps_of

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


def find_best(
    dataset: Dataset, plan: Plan, on_step: OnStep, compute: Compute | None = None
) -> Selection:
    """Fit the plan's best setting to all training rows; a single setting is not compared.

    Where the fits run changes nothing in them (`training.compute`). Folds that lack a class, inside
    or outside, are skipped. If all folds are skipped, the first setting by name is fitted.

    Raises
    ------
    ConfigError
        If a candidate is not a pipeline of at least two steps, or cannot answer with as many
        classes.
    FitError
        If a candidate cannot be fitted to these reviews.
    ClusterError
        If the cluster cannot be used.
    """
    count = len(plan.class_names)
    trials = [Trial(name, _built(plan, name), count) for name in sorted(plan.candidates)]
    rows = TrainingRows(dataset, plan.folds, compute or Here())
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
    if not isinstance(model, Pipeline) or (len(model) < 2 and not members_of(model)):
        raise ConfigError(
            f"candidates.{name}: {plan.candidates[name]['factory']} must return a Pipeline whose "
            "first step makes a matrix of the reviews and whose last step classifies its rows, or "
            "a blend of such"
        )
    check_classes(plan, name, model)
    return model


def _compare(trials: list[Trial], rows: TrainingRows, plan: Plan, on_step: OnStep) -> list[Trial]:
    """Run the folds until a single setting is left; returns the remaining settings."""
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


def _run_fold(trials: list[Trial], rows: TrainingRows, is_out: NDArray[np.bool_]) -> None:
    for trial, answers in zip(trials, _answers(trials, rows, is_out), strict=True):
        trial.add_fold(answers, rows.labels[is_out])


def _answers(
    trials: list[Trial], rows: TrainingRows, is_out: NDArray[np.bool_]
) -> list[NDArray[np.float64]]:
    """Per trial, what its parts say of the rows outside: margins, or else probabilities."""
    parts = [part for trial in trials for part in trial.parts]
    groups: list[list[Part]] = []
    for key in dict.fromkeys(parameters_key(part.model[0]) for part in parts):
        group = [part for part in parts if parameters_key(part.model[0]) == key]
        group.sort(key=lambda part: part.weighted_by)
        groups += [[part] for part in group] if rows.compute.has_workers else [group]
    with_rows = [(_kept(group[0], rows), is_out, group) for group in groups]
    answers = rows.compute.run(_answers_of, with_rows)
    found = {
        (id(part.model), part.of): answer
        for group, own in zip(groups, answers, strict=True)
        for part, answer in zip(group, own, strict=True)
    }
    return [
        np.column_stack([found[id(part.model), part.of] for part in trial.parts])
        for trial in trials
    ]


def _kept(part: Part, rows: TrainingRows) -> Any:
    with _fitting(part.name, len(rows.rows)):
        return rows.kept(part.model)


def _answers_of(shared: Shared, is_out: NDArray[np.bool_], group: list[Part]) -> Arrays:
    """Fit parts with the same first step without a fold, and answer for the fold."""
    fold, answers = Fold(shared, is_out), []
    for part in group:
        with _fitting(part.name, int(np.sum(~is_out))):
            answers.append(_answer(part, fold))
    return answers


def _answer(part: Part, fold: Fold) -> NDArray[np.float64]:
    """Fit without a fold and answer for the fold."""
    last = part.model[-1]
    if part.has_margin:
        weighted, held_out = fold.weighted(last.alpha, last.floor, part.of)
        svm = last.in_one_run().fit_weighted(weighted, fold.is_own_inside(part.of))
        margins: NDArray[np.float64] = svm.margins_of_weighted(held_out)
        return margins
    fitted = clone(part.model[1:]).fit(fold.X[~fold.is_out], fold.labels_inside)
    return of_models.of_columns(fitted.predict_proba(fold.X[fold.is_out]))


def _fit_to_all(trial: Trial, rows: TrainingRows) -> Pipeline:
    with _fitting(trial.name, len(rows.rows)):
        if not trial.has_margins:
            shared = rows.shared(trial.model)
            return steps_of(trial.model, shared.first, *trial.model[1:].fit(shared.X, rows.labels))
        margins, labels = _held_out_margins(trial, rows)
        fitted = [_fit_member(member, rows) for member in trial.parts]
        last = trial.model[-1]
        if isinstance(last, Blend):
            return steps_of(trial.model, last.take_over(fitted, margins, labels))
        if isinstance(last, OneVsRest):
            machines = [machine for _, machine in fitted]
            return steps_of(trial.model, fitted[0][0], last.take_over(machines, margins, labels))
        fitted[0][-1].calibrate(margins[:, 0], labels)
        return fitted[0]


def _fit_member(part: Part, rows: TrainingRows) -> Pipeline:
    member, of = part.model, part.of
    shared, svm = rows.shared(member), clone(member[-1])
    numbers = list(range(svm.runs))
    batches = [[run] for run in numbers] if rows.compute.has_workers else [numbers]
    calls = [(rows.kept(member), svm, batch, of) for batch in batches]
    learned = [array for own in rows.compute.run(_runs_of, calls) for array in own]
    runs = list(map(Weights, learned[::2], learned[1::2]))
    return steps_of(
        member,
        shared.first,
        svm.take_over(runs, shared.ratio(svm.alpha, svm.floor, of), two_classes(shared.is_own(of))),
    )


def _runs_of(shared: Shared, svm: NaiveBayesSvm, numbers: list[int], of: int) -> Arrays:
    """What some runs learn from all rows: the `Weights` of each, one after the other."""
    weighted = Weighted.by(shared.ratio(svm.alpha, svm.floor, of), shared.X)
    return [array for run in numbers for array in svm.descend(weighted, shared.is_own(of), run)]


def _held_out_margins(
    trial: Trial, rows: TrainingRows
) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Margins of reviews that their fits did not see, and labels: of the folds, if there were."""
    if trial.margins:
        folds = rows.usable_folds[: len(trial.margins)]
        labels = np.concatenate([rows.labels[rows.folds == fold] for fold in folds])
        return np.concatenate(trial.margins), labels
    is_out = _calibration_rows(rows)
    return _answers([trial], rows, is_out)[0], rows.labels[is_out]


def _fit_streamed(trial: Trial, dataset: Dataset, rows: TrainingRows) -> Pipeline:
    held_out = _calibration_rows(rows)
    with _fitting(trial.name, len(rows.rows)):
        return fit_streamed(trial.model, dataset, rows.rows, held_out, rows.compute)


def _calibration_rows(rows: TrainingRows) -> NDArray[np.bool_]:
    """The selection films, if all classes occur among them and among the other films.

    Otherwise every fifth row of each class.
    """
    is_fit = are_all_classes_on_both_sides(rows.labels, rows.is_selection)
    return rows.is_selection if is_fit else every_fifth(rows.labels, np.unique(rows.labels))


@contextmanager
def _fitting(name: str, row_count: int) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise FitError(
            f"candidate {name} cannot be fitted on {row_count:,} reviews: {error}"
        ) from error
