"""Compute a model's probabilities, for one review or for a million.

Gate, clean room, confirmation and services compare probabilities to 1e-9, so all of them use this
module. For the default kind of model the steps of the pipeline are fused: fingerprints are looked
up and summed directly, without building a matrix. Each review is summed on its own in a fixed
order, so neither the other reviews nor the number of threads change a bit of its probability.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from pipelines.features.fingerprints import Fingerprints, view_parts
from pipelines.models.blend import joined_by, members_of
from pipelines.models.nbsvm import NaiveBayesSvm, scaled

CHUNK_CHARACTERS = 1 << 16
"""Size of one thread's chunk: about 50 reviews, whose fingerprints fit into its cache."""

MAX_THREADS = 8


def positive_probability(
    model: Pipeline, inputs: Any, *, most_threads: int = MAX_THREADS
) -> NDArray[np.float64]:
    """Probability of the positive class per review.

    Parameters
    ----------
    model : Pipeline
        Fitted, with the classes 0 and 1.
    inputs : sequence of str, or Fingerprints
        The reviews; fingerprints only if the model reads those of a single view.
    most_threads : int
        Also bounded by the number of cores; of the default kind of model alone.

    Returns
    -------
    probability : ndarray of float64, shape (n_reviews,)
        In [0, 1].
    """
    scorer = scorer_of(model)
    if scorer is not None:
        return scorer.positive_probability(inputs, most_threads)
    column = list(model.classes_).index(1)
    probabilities: NDArray[np.float64] = model.predict_proba(inputs)[:, column]
    return probabilities


@dataclass(frozen=True, eq=False)
class _Sums:
    """What an n-gram of value 1 adds to a review's sum, and to its squared length.

    One per column, and 0 for those that are not known.
    """

    weights: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, svm: NaiveBayesSvm) -> _Sums:
        ratio = np.append(svm.ratio_, 0).astype(np.float64)
        return cls(ratio * np.append(svm.coef_, 0), ratio * ratio)

    def margins(self, member: Pipeline, reviews: Fingerprints) -> NDArray[np.float64]:
        """The margin of each review, as `NaiveBayesSvm.margins`."""
        reader, svm = member[0], member[-1]
        columns, is_known = reader.find(reviews.ids)
        columns[(~is_known).nonzero()[0]] = len(self.weights) - 1
        weights, squares = self.weights.take(columns), self.squares.take(columns)
        is_late, value = reviews.is_late.nonzero()[0], np.float32(reader.late_weight)
        weights[is_late] *= value
        squares[is_late] *= value * value
        rows = np.repeat(np.arange(len(reviews)), reviews.lengths)
        sums = _sums(rows, weights, len(reviews))
        squared_lengths = _sums(rows, squares, len(reviews))
        margins: NDArray[np.float64] = scaled(sums, squared_lengths) + svm.intercept_
        return margins


@dataclass(frozen=True, eq=False)
class Scorer:
    """The steps of a fingerprint model, fused.

    Attributes
    ----------
    sums : tuple of _Sums
        Of each member of a blend; of the model itself, if it is none.
    made_of : tuple of ndarray
        The learned arrays; a model that is fitted again has other ones.
    """

    model: weakref.ref[Pipeline]
    sums: tuple[_Sums, ...]
    made_of: tuple[NDArray[Any], ...]

    @classmethod
    def of(cls, model: Pipeline) -> Scorer:
        """Prepare the learned arrays of a fitted model for `positive_probability`."""
        sums = tuple(_Sums.of(member[-1]) for member in members_of(model))
        return cls(weakref.ref(model), sums, _learned(model))

    def is_current(self, model: Pipeline) -> bool:
        """Whether the model has not been fitted again since."""
        now = _learned(model)
        return len(now) == len(self.made_of) and all(
            mine is its for mine, its in zip(self.made_of, now, strict=True)
        )

    def positive_probability(
        self, inputs: Sequence[str] | Fingerprints, most_threads: int
    ) -> NDArray[np.float64]:
        """Probability of class 1 per review, in as many threads as there are cores."""
        model = self.model()
        parts = list(chunks(inputs))
        threads = min(len(parts), len(os.sched_getaffinity(0)), most_threads)
        if threads < 2:
            answers = [self._answer(model, part) for part in parts]
        else:
            with ThreadPoolExecutor(threads) as pool:
                answers = list(pool.map(partial(self._answer, model), parts))
        return np.concatenate([np.empty(0), *answers])

    def _answer(self, model: Pipeline, chunk: Sequence[str] | Fingerprints) -> NDArray[np.float64]:
        members, (slopes, log_odds) = members_of(model), joined_by(model)
        views = _views(members, chunk)
        for member, sums, slope, own in zip(members, self.sums, slopes, views, strict=True):
            log_odds = log_odds + slope * sums.margins(member, own)
        probability: NDArray[np.float64] = expit(log_odds)
        return probability


_SCORERS: weakref.WeakKeyDictionary[Pipeline, Scorer] = weakref.WeakKeyDictionary()


def scorer_of(model: Pipeline) -> Scorer | None:
    """Return the model's fused steps, built once; None if its steps cannot be fused."""
    scorer = _SCORERS.get(model)
    if scorer is not None and scorer.is_current(model):
        return scorer
    if not members_of(model):
        return None
    check_is_fitted(model[-1])
    if list(model.classes_) != [0, 1]:
        return None
    scorer = _SCORERS[model] = Scorer.of(model)
    return scorer


def _views(members: list[Pipeline], chunk: Sequence[str] | Fingerprints) -> list[Fingerprints]:
    """What each member reads of a chunk."""
    if isinstance(chunk, Fingerprints):
        return [member[0].read(chunk) for member in members]
    parts = zip(*view_parts(chunk, [member[0].view for member in members]), strict=True)
    return [own[0] if len(own) == 1 else Fingerprints.concat(own) for own in parts]


def _sums(
    rows: NDArray[np.int64], values: NDArray[np.float64], row_count: int
) -> NDArray[np.float64]:
    """Sum the values of each row in order, so that a review has the same sum in any batch."""
    return np.bincount(rows, values, row_count).astype(np.float64)  # without values it would count


def _learned(model: Pipeline) -> tuple[NDArray[Any], ...]:
    members = members_of(model)
    return tuple(
        array for reader, svm in members for array in (*reader.learned(), svm.ratio_, svm.coef_)
    )


def chunks(inputs: Sequence[str] | Fingerprints) -> Iterator[Sequence[str] | Fingerprints]:
    """Cut reviews into parts of about `CHUNK_CHARACTERS`, at least one review each."""
    if isinstance(inputs, Fingerprints):
        sizes = inputs.lengths
    else:
        sizes = np.fromiter((len(text) for text in inputs), np.int64, len(inputs))
    if len(sizes) == 1:
        yield inputs
        return
    parts = np.cumsum(sizes) // CHUNK_CHARACTERS
    starts = np.flatnonzero(np.diff(parts, prepend=-1)).tolist()
    for start, stop in pairwise([*starts, len(inputs)]):
        yield inputs[start:stop]
