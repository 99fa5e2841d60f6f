"""Say why: the n-grams of one text that moved a model's answer, and by how much.

The log-odds of a model on fingerprints are a sum over the known n-grams of a text, so each n-gram's
part is exact. Nothing is stored for it: the n-grams are spelled from the text itself.
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


@dataclass(frozen=True)
class Explanation:
    """What a probability is made of.

    The log-odds are ``intercept``, plus the contributions, plus ``remainder``.

    Attributes
    ----------
    probability : float
        Of the positive class, in [0, 1].
    intercept : float
        Log-odds of a text without known n-grams.
    ngrams : tuple of (str, float)
        The n-grams of largest influence, in descending order of it, and their contributions to the
        log-odds; above 0 speaks for the positive class.
    remainder : float
        Sum of the contributions of all other n-grams.
    """

    probability: float
    intercept: float
    ngrams: tuple[tuple[str, float], ...]
    remainder: float

    @property
    def log_odds(self) -> float:
        """The logarithm of ``probability / (1 - probability)``."""
        return self.intercept + sum(part for _, part in self.ngrams) + self.remainder


def explain(pipeline: Pipeline, text: str, top: int = 10) -> Explanation:
    """Name the n-grams of a text that moved the model's answer most.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted, of a kind that reads fingerprints, with the classes 0 and 1.
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
    weights, intercept = _weights(pipeline)
    named = [part for own in weights for part in own.parts(text)]
    named.sort(key=lambda part: (-abs(part[1]), part[0]))
    chosen = tuple(part for part in named[:top] if part[1])
    remainder = sum(part for _, part in named[len(chosen) :])
    log_odds = intercept + sum(part for _, part in named)
    return Explanation(float(expit(log_odds)), intercept, chosen, float(remainder))


def is_explainable(pipeline: Pipeline) -> bool:
    """Whether `explain` can take the model's answers apart."""
    if members_of(pipeline):
        return True
    is_other = reads_fingerprints(pipeline) and len(pipeline) == 3
    return is_other and isinstance(pipeline[1], LogCountRatio) and hasattr(pipeline[2], "coef_")


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
