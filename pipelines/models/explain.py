"""Say why: the n-grams of one text that moved a model's answer, and by how much.

The log-odds of a model on fingerprints are a sum over the known n-grams of a text, so each n-gram's
part is exact. For more than two classes this sum is how far the logarithm of one class's
probability is above the mean of all classes. Nothing is stored for it: the n-grams are spelled from
the text itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from pipelines.features.ngram_texts import spelled
from pipelines.models.blend import joined_by, members_of
from pipelines.models.factories import reads_fingerprints
from pipelines.models.fingerprint_reader import FingerprintReader
from pipelines.models.log_count_ratio import LogCountRatio
from pipelines.models.one_vs_rest import OneVsRest, joined, shares


@dataclass(frozen=True)
class Explanation:
    """What a probability is made of.

    The log-odds are ``intercept``, plus the contributions, plus ``remainder``.

    Attributes
    ----------
    probability : float or tuple of float
        Of the positive class, in [0, 1]; of each, if there are more than two.
    of : int
        The class that is explained: the positive one, or else the likeliest.
    intercept : float
        Log-odds of a text without known n-grams.
    ngrams : tuple of (str, float)
        The n-grams of largest influence, in descending order of it, and their contributions to the
        log-odds; above 0 speaks for the class that is explained.
    remainder : float
        Sum of the contributions of all other n-grams.
    """

    probability: float | tuple[float, ...]
    of: int
    intercept: float
    ngrams: tuple[tuple[str, float], ...]
    remainder: float

    @property
    def log_odds(self) -> float:
        """What the parts add up to."""
        return self.intercept + sum(part for _, part in self.ngrams) + self.remainder


def explain(pipeline: Pipeline, text: str, top: int = 10) -> Explanation:
    """Name the n-grams of a text that moved the model's answer most.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted, of a kind that reads fingerprints, with the classes 0, 1, ...
    text : str
        The review.
    top : int, default=10
        How many n-grams to name at most, not negative.

    Raises
    ------
    TypeError
        If the model is of a kind that cannot be explained in this way: check `is_explainable`.
    ValueError
        If ``top`` is negative.
    """
    if top < 0:
        raise ValueError(f"top must not be negative, got {top}")
    if not is_explainable(pipeline):
        raise TypeError(
            "only models of fingerprints, a log-count ratio and linear weights can be explained, "
            f"not {' and '.join(type(step).__name__ for _, step in pipeline.steps)}"
        )
    check_is_fitted(pipeline[-1])
    probability: float | tuple[float, ...]
    if isinstance(pipeline[-1], OneVsRest):
        probability, of, intercept, named = _of_many(pipeline, text)
    else:
        of, (weights, intercept) = 1, _weights(pipeline)
        named = [part for own in weights for part in own.parts(text)]
        probability = float(expit(intercept + sum(part for _, part in named)))
    named.sort(key=lambda part: (-abs(part[1]), part[0]))
    chosen = tuple(part for part in named[:top] if part[1])
    remainder = sum(part for _, part in named[len(chosen) :])
    return Explanation(probability, of, intercept, chosen, float(remainder))


def is_explainable(pipeline: Pipeline) -> bool:
    """Whether `explain` can take the model's answers apart."""
    if members_of(pipeline):
        return True
    if not reads_fingerprints(pipeline):
        return False
    if len(pipeline) == 2:
        return isinstance(pipeline[1], OneVsRest)
    return (
        len(pipeline) == 3
        and isinstance(pipeline[1], LogCountRatio)
        and hasattr(pipeline[2], "coef_")
    )


@dataclass(frozen=True, eq=False)
class _Weights:
    """What one view adds to the log-odds: ``slope`` times the weighted sum over the length."""

    reader: FingerprintReader
    ratio: NDArray[np.float32]
    coefficients: NDArray[np.float32]
    slope: float

    def parts(self, text: str) -> list[tuple[str, float]]:
        """Each n-gram of a text with what it adds, 0 if it is not known."""
        fingerprints, ngrams = spelled(text, self.reader.view)
        columns, is_known = self.reader.find(fingerprints.ids)
        columns = np.where(is_known, columns, 0)
        late_weight = np.float32(self.reader.late_weight)
        values = np.where(fingerprints.is_late, late_weight, 1) * is_known
        weighted = self.ratio[columns].astype(np.float64) * values
        length = float(np.sqrt(np.sum(weighted * weighted))) or 1.0
        parts = self.slope * weighted * self.coefficients[columns] / length
        return list(zip(ngrams, parts.tolist(), strict=True))


def _of_many(
    pipeline: Pipeline, text: str
) -> tuple[tuple[float, ...], int, float, list[tuple[str, float]]]:
    """Each class's probability, the likeliest class, its intercept, and what each n-gram adds."""
    reader, last = pipeline
    machines = [_Weights(reader, svm.ratio_, svm.coef_, 1.0) for svm in last.machines_]
    by_machine = [machine.parts(text) for machine in machines]
    ngrams = [ngram for ngram, _ in by_machine[0]]
    parts = np.array([[part for _, part in own] for own in by_machine]).reshape(len(machines), -1)
    base = np.array([svm.intercept_ for svm in last.machines_])
    margins = (base + parts.sum(axis=1))[None]
    probability = shares(joined(margins, last.weights_, last.offsets_))[0]
    of = int(probability.argmax())
    weights = last.weights_[of] - last.weights_.mean(axis=0)
    intercept = float(weights @ base + last.offsets_[of] - last.offsets_.mean())
    named = list(zip(ngrams, (weights @ parts).tolist(), strict=True))
    return tuple(probability.tolist()), of, intercept, named


def _weights(pipeline: Pipeline) -> tuple[list[_Weights], float]:
    """The weights of each view, and the log-odds of a text without known n-grams."""
    members = members_of(pipeline)
    if not members:
        ratio, linear = pipeline[1].ratio_, pipeline[2]
        return [_Weights(pipeline[0], ratio, linear.coef_[0], 1.0)], float(linear.intercept_[0])
    slopes, intercept = joined_by(pipeline)
    weights = []
    for (reader, svm), slope in zip(members, slopes.tolist(), strict=True):
        weights.append(_Weights(reader, svm.ratio_, svm.coef_, slope))
        intercept += slope * svm.intercept_
    return weights, float(intercept)
