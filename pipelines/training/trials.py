"""One setting on its way through the folds of a search, and the parts of it that are fitted."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import accuracy_score, log_loss
from sklearn.pipeline import Pipeline

from pipelines.models import answers as of_models
from pipelines.models.blend import members_of
from pipelines.models.nbsvm import NaiveBayesSvm, calibration
from pipelines.models.one_vs_rest import OneVsRest, joined, joining, shares
from pipelines.records.versions import CandidateScore


class Part(NamedTuple):
    """What is fitted by itself, and the setting that it belongs to.

    ``of`` is the class that a margin separates from the others.
    """

    name: str
    model: Pipeline
    of: int = 1

    @property
    def has_margin(self) -> bool:
        return isinstance(self.model[-1], NaiveBayesSvm)

    @property
    def weighted_by(self) -> tuple[float, float, int]:
        """A sort key that puts parts which share weighted rows next to each other."""
        last = self.model[-1]
        return (last.alpha, last.floor, self.of) if self.has_margin else (0.0, 0.0, 0)


@dataclass
class Trial:
    """One setting on its way through the folds."""

    name: str
    model: Pipeline
    class_count: int
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    margins: list[NDArray[np.float64]] = field(default_factory=list)

    @cached_property
    def parts(self) -> list[Part]:
        """What is fitted by itself: what has a margin that is joined, or the whole model."""
        last = self.model[-1]
        if isinstance(last, OneVsRest):
            machine = steps_of(self.model, self.model[0], last.svm)
            return [Part(self.name, machine, of) for of in range(self.class_count)]
        return [Part(self.name, part) for part in members_of(self.model) or [self.model]]

    @property
    def has_margins(self) -> bool:
        return self.parts[0].has_margin

    def add_fold(self, answers: NDArray[np.float64], labels: NDArray[np.int8]) -> None:
        """Score the parts' answers for a fold that they did not see, shape (n_rows, n_answers)."""
        probability = answers if answers.shape[1] > 1 else answers[:, 0]
        if self.has_margins:
            # A few numbers learned from a whole fold hardly bias its score.
            probability = self._joined(answers, labels)
            self.margins.append(answers)
        classes = list(range(self.class_count))
        self.losses.append(float(log_loss(labels, probability, labels=classes)))
        self.accuracies.append(float(accuracy_score(labels, of_models.predicted(probability))))

    def _joined(
        self, margins: NDArray[np.float64], labels: NDArray[np.int8]
    ) -> NDArray[np.float64]:
        """Probabilities from margins, by a regression that is fitted to these very rows."""
        if isinstance(self.model[-1], OneVsRest):
            weights, offsets = joining(margins, labels)
            return of_models.of_columns(shares(joined(margins, weights, offsets)))
        slopes, offset = calibration(margins, labels)
        probability: NDArray[np.float64] = expit(margins @ slopes + offset)
        return probability

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


def steps_of(model: Pipeline, *steps: Any) -> Pipeline:
    """These steps, fitted, under the names that they have in the model."""
    return Pipeline([(name, step) for (name, _), step in zip(model.steps, steps, strict=True)])
