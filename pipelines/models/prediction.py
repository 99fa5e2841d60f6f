"""Compute a model's probabilities, for one review or for a million.

Gate, clean room, confirmation and services compare probabilities to 1e-9, so all of them use this
module. For the default kind of model the steps of the pipeline are fused: fingerprints are looked
up and summed directly, without building a matrix. Each review is summed on its own in a fixed
order, so neither the other reviews nor the number of threads change a bit of its probability.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator, Sequence
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

from pipelines.features.fingerprints import Fingerprints, Occurrences, occurrence_parts
from pipelines.models.blend import joined_by, members_of
from pipelines.models.nbsvm import scaled

CHUNK_CHARACTERS = 1 << 18
"""Size of one thread's chunk: about 200 reviews. Threads with smaller ones wait for each other."""

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
    """What n-grams add to a review's sum, and to its squared length.

    Attributes
    ----------
    pairs : ndarray of complex128, shape (n_columns + 1,)
        Both for a value of 1, as one number, so that one access to memory finds them; in the order
        of `FingerprintReader.places`.
    values, squares : ndarray of float64, shape (4,)
        The value of an n-gram and its square: known, known and late, unknown, unknown and late.
    """

    pairs: NDArray[np.complex128]
    values: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, member: Pipeline) -> _Sums:
        reader, svm = member
        ratio = svm.ratio_.astype(np.float64)
        pairs = np.zeros(len(ratio) + 1, np.complex128)
        pairs.real[:-1], pairs.imag[:-1] = reader.placed(ratio * svm.coef_), reader.placed(ratio**2)
        values = np.array([1, reader.late_weight, 0, 0], np.float32)  # as in a matrix
        return cls(pairs, values.astype(np.float64), (values * values).astype(np.float64))

    def margins(self, member: Pipeline, found: Occurrences) -> NDArray[np.float64]:
        """The margin of each review, as `NaiveBayesSvm.margins`."""
        places, is_known = member[0].places(found.ids)
        kinds = (found.is_late.view(np.uint8) + np.uint8(2) * ~is_known).astype(np.intp)
        pairs = self.pairs.take(places)
        sums = _sums(found, pairs.real * self.values.take(kinds))
        squared_lengths = _sums(found, pairs.imag * self.squares.take(kinds))
        margins: NDArray[np.float64] = scaled(sums, squared_lengths) + member[-1].intercept_
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
        sums = tuple(_Sums.of(member) for member in members_of(model))
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
        members, (slopes, offset) = members_of(model), joined_by(model)
        answers = []
        for views in _occurrences(members, chunk):
            log_odds = offset
            for member, sums, slope, found in zip(members, self.sums, slopes, views, strict=True):
                log_odds = log_odds + slope * sums.margins(member, found)
            answers.append(expit(log_odds))
        return np.concatenate(answers)


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


def _occurrences(
    members: list[Pipeline], chunk: Sequence[str] | Fingerprints
) -> Iterable[tuple[Occurrences, ...]]:
    """What each member reads of a chunk, part by part."""
    if isinstance(chunk, Fingerprints):
        return [tuple(member[0].read(chunk).occurrences() for member in members)]
    return occurrence_parts(chunk, [member[0].view for member in members])


def _sums(found: Occurrences, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the values of each row in order, so that a review has the same sum in any batch."""
    sums = np.bincount(found.rows, values, found.review_count)
    return sums.astype(np.float64)  # without values it would count


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
