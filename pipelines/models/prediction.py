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
from pipelines.models import answers as of_models
from pipelines.models.blend import joined_by, members_of
from pipelines.models.fingerprint_reader import FingerprintReader
from pipelines.models.nbsvm import NaiveBayesSvm, scaled
from pipelines.models.one_vs_rest import OneVsRest, joined, shares

CHUNK_CHARACTERS = 1 << 18
"""Size of one thread's chunk: about 200 reviews. Threads with smaller ones wait for each other."""

MAX_THREADS = 8


def probabilities(
    model: Pipeline, inputs: Any, *, most_threads: int = MAX_THREADS
) -> NDArray[np.float64]:
    """What a model answers, in the form of `pipelines.models.answers`.

    Parameters
    ----------
    model : Pipeline
        Fitted, with the classes 0, 1, ...
    inputs, most_threads : sequence of str or Fingerprints, int
        As for `positive_probability`.

    Returns
    -------
    probability : ndarray of float64, shape (n_reviews,) or (n_reviews, n_classes)
        Of the second of two classes, or else of each class, in [0, 1].
    """
    scorer = scorer_of(model)
    if scorer is not None:
        return scorer.probabilities(inputs, most_threads)
    order = np.argsort(model.classes_)
    return of_models.of_columns(model.predict_proba(inputs)[:, order])


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

    Raises
    ------
    ValueError
        If the model has more than two classes, or others.
    """
    answers = probabilities(model, inputs, most_threads=most_threads)
    if sorted(model.classes_) != [0, 1]:
        raise ValueError(f"the classes are {list(model.classes_)}, none of which is positive")
    return answers


@dataclass(frozen=True, eq=False)
class _Places:
    """Where the n-grams of some reviews are, in the order of `FingerprintReader.places`.

    Attributes
    ----------
    found : Occurrences
        The n-grams.
    places : ndarray of int, shape (n_found,)
        Of each n-gram.
    kinds : ndarray of int, shape (n_found,)
        Known, known and late, unknown, unknown and late.
    """

    found: Occurrences
    places: NDArray[np.intp]
    kinds: NDArray[np.intp]

    @classmethod
    def of(cls, reader: FingerprintReader, found: Occurrences) -> _Places:
        places, is_known = reader.places(found.ids)
        kinds = (found.is_late.view(np.uint8) + np.uint8(2) * ~is_known).astype(np.intp)
        return cls(found, places, kinds)


@dataclass(frozen=True, eq=False)
class _Sums:
    """What n-grams add to a review's sum, and to its squared length.

    Attributes
    ----------
    pairs : ndarray of complex64, shape (n_columns + 1,)
        Both for a value of 1, as one number, so that one access to memory finds them; in the order
        of `FingerprintReader.places`. Exact: ratios and weights have 11 bits, a product has 22.
    values, squares : ndarray of float64, shape (4,)
        The value of an n-gram of each kind and its square.
    intercept : float
        Added to the margin.
    """

    pairs: NDArray[np.complex64]
    values: NDArray[np.float64]
    squares: NDArray[np.float64]
    intercept: float

    @classmethod
    def of(cls, reader: FingerprintReader, svm: NaiveBayesSvm) -> _Sums:
        ratio = svm.ratio_.astype(np.float64)
        pairs = np.zeros(len(ratio) + 1, np.complex64)
        pairs.real[:-1], pairs.imag[:-1] = reader.placed(ratio * svm.coef_), reader.placed(ratio**2)
        values = np.array([1, reader.late_weight, 0, 0], np.float32)  # as in a matrix
        doubles = values.astype(np.float64), (values * values).astype(np.float64)
        return cls(pairs, *doubles, svm.intercept_)

    def margins(self, at: _Places) -> NDArray[np.float64]:
        """The margin of each review, as `NaiveBayesSvm.margins`."""
        pairs = self.pairs.take(at.places)
        sums = _sums(at.found, pairs.real * self.values.take(at.kinds))
        squared_lengths = _sums(at.found, pairs.imag * self.squares.take(at.kinds))
        margins: NDArray[np.float64] = scaled(sums, squared_lengths) + self.intercept
        return margins


@dataclass(frozen=True, eq=False)
class Scorer:
    """The steps of a fingerprint model, fused.

    Attributes
    ----------
    sums : tuple of _Sums
        Of each machine: one, or one per member of a blend or per class.
    made_of : tuple of ndarray
        The learned arrays; a model that is fitted again has other ones.
    """

    model: weakref.ref[Pipeline]
    sums: tuple[_Sums, ...]
    made_of: tuple[NDArray[Any], ...]
    class_count: int

    @classmethod
    def of(cls, model: Pipeline) -> Scorer:
        """Prepare the learned arrays of a fitted model for `probabilities`."""
        sums = tuple(_Sums.of(reader, svm) for reader, svm in _machines(model))
        return cls(weakref.ref(model), sums, _learned(model), len(model.classes_))

    def is_current(self, model: Pipeline) -> bool:
        """Whether the model has not been fitted again since."""
        now = _learned(model)
        return len(now) == len(self.made_of) and all(
            mine is its for mine, its in zip(self.made_of, now, strict=True)
        )

    def probabilities(
        self, inputs: Sequence[str] | Fingerprints, most_threads: int
    ) -> NDArray[np.float64]:
        """What `probabilities` returns, computed in as many threads as there are cores."""
        model = self.model()
        parts = list(chunks(inputs))
        threads = min(len(parts), len(os.sched_getaffinity(0)), most_threads)
        if threads < 2:
            answers = [self._answer(model, part) for part in parts]
        else:
            with ThreadPoolExecutor(threads) as pool:
                answers = list(pool.map(partial(self._answer, model), parts))
        nothing = np.empty(0 if self.class_count == 2 else (0, self.class_count))
        return np.concatenate([nothing, *answers])

    def _answer(self, model: Pipeline, chunk: Sequence[str] | Fingerprints) -> NDArray[np.float64]:
        if isinstance(model[-1], OneVsRest):
            return self._answer_of_many(model, chunk)
        members, (slopes, offset) = members_of(model), joined_by(model)
        answers = []
        for views in _occurrences(members, chunk):
            log_odds = offset
            for member, sums, slope, found in zip(members, self.sums, slopes, views, strict=True):
                log_odds = log_odds + slope * sums.margins(_Places.of(member[0], found))
            answers.append(expit(log_odds))
        return np.concatenate(answers)

    def _answer_of_many(
        self, model: Pipeline, chunk: Sequence[str] | Fingerprints
    ) -> NDArray[np.float64]:
        """Each n-gram is looked up once for all classes."""
        reader, last = model
        answers = []
        for (found,) in _occurrences([model], chunk):
            at = _Places.of(reader, found)
            margins = np.column_stack([sums.margins(at) for sums in self.sums])
            answers.append(shares(joined(margins, last.weights_, last.offsets_)))
        return of_models.of_columns(np.concatenate(answers))


_SCORERS: weakref.WeakKeyDictionary[Pipeline, Scorer] = weakref.WeakKeyDictionary()


def scorer_of(model: Pipeline) -> Scorer | None:
    """Return the model's fused steps, built once; None if its steps cannot be fused."""
    scorer = _SCORERS.get(model)
    if scorer is not None and scorer.is_current(model):
        return scorer
    if not _is_fusible(model):
        return None
    check_is_fitted(model[-1])
    if list(model.classes_) != list(range(len(model.classes_))):
        return None
    scorer = _SCORERS[model] = Scorer.of(model)
    return scorer


def _is_fusible(model: Any) -> bool:
    return bool(members_of(model)) or _has_machines(model)


def _has_machines(model: Any) -> bool:
    return (
        isinstance(model, Pipeline)
        and len(model) == 2
        and isinstance(model[0], FingerprintReader)
        and isinstance(model[1], OneVsRest)
    )


def _machines(model: Pipeline) -> list[tuple[FingerprintReader, NaiveBayesSvm]]:
    """Each machine of a fitted model with what reads the reviews for it."""
    if _has_machines(model):
        return [(model[0], machine) for machine in model[1].machines_]
    return [(reader, svm) for reader, svm in members_of(model)]


def _occurrences(
    members: list[Pipeline], chunk: Sequence[str] | Fingerprints
) -> Iterable[tuple[Occurrences, ...]]:
    """What each member reads of a chunk, part by part."""
    if isinstance(chunk, Fingerprints):
        return [tuple(member[0].read(chunk).occurrences() for member in members)]
    readers = [member[0] for member in members]
    return occurrence_parts(chunk, [(reader.view, reader.may_know) for reader in readers])


def _sums(found: Occurrences, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the values of each row in order, so that a review has the same sum in any batch."""
    sums = np.bincount(found.rows, values, found.review_count)
    return sums.astype(np.float64)  # without values it would count


def _learned(model: Pipeline) -> tuple[NDArray[Any], ...]:
    return tuple(
        array
        for reader, svm in _machines(model)
        for array in (*reader.learned(), svm.ratio_, svm.coef_)
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
