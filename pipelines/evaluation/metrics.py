"""Scores of one model on rows: accuracy, loss, calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.models.answers import confidence, of_class, predicted
from pipelines.records.evaluations import (
    DECIMALS,
    AnyMetrics,
    CalibrationBin,
    ClassMetrics,
    Metrics,
)

Labels = NDArray[np.int8]
Probabilities = NDArray[np.float64]
Mask = NDArray[np.bool_]

CALIBRATION_BINS = 10
_LARGEST_GAP = 1e-6  # by which the probabilities of all classes may miss 1
_SMALLEST_PROBABILITY = 1e-15


def rounded(value: float) -> float:
    """The value as stored in records."""
    return round(float(value), DECIMALS)


def is_usable(probability: Probabilities) -> bool:
    """Whether every value is a number in [0, 1], and those of all classes add up to 1."""
    are_shares = np.isfinite(probability).all() and ((probability >= 0) & (probability <= 1)).all()
    if probability.ndim == 1 or not are_shares:
        return bool(are_shares)
    return bool((np.abs(probability.sum(axis=1) - 1.0) <= _LARGEST_GAP).all())


def metrics(labels: Labels, probability: Probabilities) -> AnyMetrics | None:
    """Scores of one model, or None if they cannot be computed.

    Parameters
    ----------
    labels : ndarray of shape (n_reviews,)
        1 positive, 0 negative; or numbers of classes.
    probability : ndarray of shape (n_reviews,) or (n_reviews, n_classes)
        Of the positive class, or of each.

    Returns
    -------
    metrics : Metrics, ClassMetrics or None
        None if a probability is not a number in [0, 1], or a class is not present.
    """
    if probability.ndim == 2:
        return _of_classes(labels, probability)
    if len(np.unique(labels)) != 2 or not is_usable(probability):
        return None
    answer, truth = probability >= 0.5, labels == 1
    hit, miss = int((answer & truth).sum()), int((~answer & truth).sum())
    calm, alarm = int((~answer & ~truth).sum()), int((answer & ~truth).sum())
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


def _of_classes(labels: Labels, probability: Probabilities) -> ClassMetrics | None:
    count = probability.shape[1]
    if len(np.unique(labels)) != count or not is_usable(probability):
        return None
    answer = predicted(probability)
    confusion = np.bincount(count * labels.astype(np.int64) + answer, minlength=count**2)
    confusion = confusion.reshape(count, count)
    hits, of_class_or_called = confusion.diagonal(), confusion.sum(axis=0) + confusion.sum(axis=1)
    curves = [_roc_auc(labels == number, probability[:, number]) for number in range(count)]
    bins = calibration((answer == labels).astype(np.int8), confidence(probability))
    return ClassMetrics(
        rows=len(labels),
        accuracy=rounded(hits.sum() / len(labels)),
        f1=rounded((2 * hits / of_class_or_called).mean()),
        roc_auc=rounded(sum(curves) / count),
        log_loss=rounded(review_losses(labels, probability).mean()),
        calibration_error=calibration_error(bins),
        confusion=tuple(map(tuple, confusion.tolist())),
        calibration=bins,
    )


def _roc_auc(truth: Mask, probability: Probabilities) -> float:
    """Share of pairs of a positive and a negative review in the right order; ties count half."""
    positive, negative = probability[truth], np.sort(probability[~truth])
    below = np.searchsorted(negative, positive, side="left")
    not_above = np.searchsorted(negative, positive, side="right")
    return float((below + not_above).sum() / (2 * len(positive) * len(negative)))


def calibration(labels: Labels, probability: Probabilities) -> tuple[CalibrationBin, ...]:
    """Predicted and true share of positives per tenth of the probability, if not empty."""
    tenth = np.minimum((probability * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    rows = np.bincount(tenth, minlength=CALIBRATION_BINS)
    predicted = np.bincount(tenth, weights=probability, minlength=CALIBRATION_BINS)
    positive = np.bincount(tenth[labels == 1], minlength=CALIBRATION_BINS)
    return tuple(
        CalibrationBin(
            rows=int(rows[number]),
            mean_probability=rounded(predicted[number] / rows[number]),
            positive_share=rounded(positive[number] / rows[number]),
        )
        for number in np.flatnonzero(rows)
    )


def calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Expected calibration error: mean gap between predicted and true share, weighted by reviews.

    References
    ----------
    .. [1] C. Guo et al., "On Calibration of Modern Neural Networks", ICML, 2017.
    """
    rows = sum(tenth.rows for tenth in bins)
    gaps = (tenth.rows * abs(tenth.mean_probability - tenth.positive_share) for tenth in bins)
    return rounded(sum(gaps) / rows)


def review_losses(labels: Labels, probability: Probabilities) -> Probabilities:
    """Log loss of each review, in nats, shape (n_reviews,)."""
    of_truth = of_class(probability, labels)
    losses: Probabilities = -np.log(np.clip(of_truth, _SMALLEST_PROBABILITY, 1.0))
    return losses
