"""Score models on labelled reviews, and compare two of them review by review.

Everything here is a pure function of arrays. Resampling has a fixed seed, so the same arrays give
the same numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from pipelines.judgement import DECIMALS, CalibrationBin, Metrics, PairedComparison

Labels = NDArray[np.int8]
Probabilities = NDArray[np.float64]
Mask = NDArray[np.bool_]

CALIBRATION_BINS = 10
POWER = 0.8
_SMALLEST_PROBABILITY = 1e-15
_BOOTSTRAP_SEED = 20260105
_BLOCK_CELLS = 1 << 20


def rounded(value: float) -> float:
    """The value as records keep it."""
    return round(float(value), DECIMALS)


def is_usable(probability: Probabilities) -> bool:
    """Whether every value is a number in [0, 1]."""
    return bool(np.isfinite(probability).all() and ((probability >= 0) & (probability <= 1)).all())


def metrics(labels: Labels, probability: Probabilities) -> Metrics | None:
    """Scores of one model, or None when they cannot be had.

    Parameters
    ----------
    labels : ndarray of shape (n_reviews,)
        1 positive, 0 negative.
    probability : ndarray of shape (n_reviews,)
        Of the positive class.

    Returns
    -------
    metrics : Metrics or None
        None if a probability is no number in [0, 1], or only one class is present.
    """
    if len(np.unique(labels)) != 2 or not is_usable(probability):
        return None
    predicted, truth = probability >= 0.5, labels == 1
    hit, miss = int((predicted & truth).sum()), int((~predicted & truth).sum())
    calm, alarm = int((~predicted & ~truth).sum()), int((predicted & ~truth).sum())
    bins = calibration(labels, probability)
    return Metrics(
        rows=len(labels),
        accuracy=rounded((hit + calm) / len(labels)),
        f1=rounded(2 * hit / (2 * hit + alarm + miss)),
        roc_auc=rounded(_roc_auc(truth, probability)),
        log_loss=rounded(review_losses(labels, probability).mean()),
        calibration_error=calibration_error(bins),
        recall_positive=rounded(hit / (hit + miss)),
        recall_negative=rounded(calm / (calm + alarm)),
        true_positive=hit,
        false_positive=alarm,
        true_negative=calm,
        false_negative=miss,
        calibration=bins,
    )


def _roc_auc(truth: Mask, probability: Probabilities) -> float:
    """Share of pairs of a positive and a negative review in the right order; ties count half."""
    positive, negative = probability[truth], np.sort(probability[~truth])
    below = np.searchsorted(negative, positive, side="left")
    not_above = np.searchsorted(negative, positive, side="right")
    return float((below + not_above).sum() / (2 * len(positive) * len(negative)))


def calibration(labels: Labels, probability: Probabilities) -> tuple[CalibrationBin, ...]:
    """What a model promises and what is true, in tenths of the probability; empty ones left out."""
    tenth = np.minimum((probability * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    rows = np.bincount(tenth, minlength=CALIBRATION_BINS)
    promised = np.bincount(tenth, weights=probability, minlength=CALIBRATION_BINS)
    positive = np.bincount(tenth[labels == 1], minlength=CALIBRATION_BINS)
    return tuple(
        CalibrationBin(
            rows=int(rows[number]),
            mean_probability=rounded(promised[number] / rows[number]),
            positive_share=rounded(positive[number] / rows[number]),
        )
        for number in np.flatnonzero(rows)
    )


def calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Expected calibration error: mean gap between promise and truth, weighted by reviews.

    References
    ----------
    .. [1] C. Guo et al., "On Calibration of Modern Neural Networks", ICML, 2017.
    """
    rows = sum(each.rows for each in bins)
    gaps = (each.rows * abs(each.mean_probability - each.positive_share) for each in bins)
    return rounded(sum(gaps) / rows)


def review_losses(labels: Labels, probability: Probabilities) -> Probabilities:
    """Log loss of each review, in nats, shape (n_reviews,)."""
    of_truth = np.where(labels == 1, probability, 1.0 - probability)
    losses: Probabilities = -np.log(np.clip(of_truth, _SMALLEST_PROBABILITY, 1.0))
    return losses


@dataclass(frozen=True, eq=False)
class Changes:
    """What changes from one model to the challenger, review by review.

    ``accuracy`` holds -1, 0 or 1 and ``loss`` nats, both of shape (n_reviews,).
    """

    accuracy: Probabilities
    loss: Probabilities

    @classmethod
    def between(
        cls, labels: Labels, other: Probabilities, challenger: Probabilities
    ) -> Changes | None:
        """None if a probability is no number, or there is no review."""
        if not len(labels) or not (is_usable(other) and is_usable(challenger)):
            return None
        truth = labels == 1
        right = ((challenger >= 0.5) == truth).astype(np.float64)
        right -= (other >= 0.5) == truth
        return cls(right, review_losses(labels, challenger) - review_losses(labels, other))


def compare(changes: Changes, *, confidence: float, repeats: int) -> PairedComparison:
    """Changes on all reviews, with one-sided bounds."""
    everything = np.ones(len(changes.loss), np.bool_)
    return compare_parts(changes, {"all": everything}, confidence=confidence, repeats=repeats)[
        "all"
    ]


def compare_parts(
    changes: Changes, parts: Mapping[str, Mask], *, confidence: float, repeats: int
) -> dict[str, PairedComparison]:
    """Changes on several parts of the same reviews, with one-sided bounds.

    Parameters
    ----------
    changes : Changes
        Of n_reviews reviews.
    parts : mapping of str to ndarray of bool, shape (n_reviews,)
        Which reviews belong to each part; none of them empty.
    confidence : float
        Of each bound on its own, by percentile bootstrap over reviews [1]_.
    repeats : int
        Bootstrap resamples; all parts share them.

    References
    ----------
    .. [1] B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    masks = np.stack(list(parts.values()), axis=1).astype(np.float64)
    columns = np.hstack([masks, masks * changes.accuracy[:, None], masks * changes.loss[:, None]])
    sums = np.concatenate([block @ columns for block in _resamples(len(masks), repeats)])
    counts, *totals = np.hsplit(sums, 3)
    drawn = np.maximum(counts, 1.0)  # a tiny part may be missing from a resample
    accuracy, loss = (
        np.quantile(total / drawn, [1 - confidence, confidence], axis=0) for total in totals
    )
    return {
        name: _paired(changes, mask, accuracy[:, part], loss[:, part], confidence)
        for part, (name, mask) in enumerate(parts.items())
    }


def _paired(
    changes: Changes,
    mask: Mask,
    accuracy_bounds: NDArray[np.float64],
    loss_bounds: NDArray[np.float64],
    confidence: float,
) -> PairedComparison:
    accuracy, loss = changes.accuracy[mask], changes.loss[mask]
    lost, won = int((accuracy < 0).sum()), int((accuracy > 0).sum())
    return PairedComparison(
        rows=len(accuracy),
        only_other_right=lost,
        only_challenger_right=won,
        accuracy_change=rounded(accuracy.mean()),
        accuracy_change_low=rounded(accuracy_bounds[0]),
        accuracy_change_high=rounded(accuracy_bounds[1]),
        accuracy_detectable=detectable(accuracy, confidence=confidence),
        log_loss_change=rounded(loss.mean()),
        log_loss_change_low=rounded(loss_bounds[0]),
        log_loss_change_high=rounded(loss_bounds[1]),
        log_loss_detectable=detectable(loss, confidence=confidence),
        mcnemar_p_value=mcnemar_p_value(lost, won),
        confidence=confidence,
    )


def detectable(changes: Probabilities, *, confidence: float) -> float:
    """Smallest true mean change that a one-sided bound would show four times out of five.

    References
    ----------
    .. [1] J. Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988, chapter 2.
    """
    if len(changes) < 2:
        return 0.0
    standard_error = float(np.std(changes, ddof=1)) / len(changes) ** 0.5
    normal = NormalDist()
    return rounded((normal.inv_cdf(confidence) + normal.inv_cdf(POWER)) * standard_error)


def mcnemar_p_value(only_other_right: int, only_challenger_right: int) -> float:
    """Chance of a split this uneven if both models err equally often: exact, two-sided.

    Parameters
    ----------
    only_other_right, only_challenger_right : int
        Reviews that exactly one of the two models gets right.

    Returns
    -------
    p_value : float
        In (0, 1]; 1.0 when there is no such review.

    References
    ----------
    .. [1] T. G. Dietterich, "Approximate Statistical Tests for Comparing Supervised
       Classification Learning Algorithms", Neural Computation 10(7), 1998.
    """
    discordant = only_other_right + only_challenger_right
    fewer = min(only_other_right, only_challenger_right)
    return rounded(min(1.0, 2.0 * bdtr(fewer, discordant, 0.5))) if discordant else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values made comparable with one level, however many there are; order is kept.

    References
    ----------
    .. [1] S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal
       of Statistics 6(2), 1979.
    """
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = rounded(largest)
    return adjusted


def _resamples(rows: int, repeats: int) -> Iterator[NDArray[np.float64]]:
    """Blocks of how often each review is drawn, shape (n_in_block, rows), ``repeats`` in all."""
    most = max(1, _BLOCK_CELLS // rows)
    for start in range(0, repeats, most):
        yield _drawn(rows, start, min(most, repeats - start)).astype(np.float64)


@functools.lru_cache(maxsize=64)  # of about 1 MiB each, unless there are millions of reviews
def _drawn(rows: int, start: int, count: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng([_BOOTSTRAP_SEED, rows, start])
    drawn = np.empty((count, rows), np.uint8)
    for line in drawn:
        line[:] = np.bincount(rng.integers(rows, size=rows), minlength=rows)
    return drawn
