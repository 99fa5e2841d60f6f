"""How right a model is: measured with labels, or estimated from its own confidence without any.

Pure functions of arrays. No estimate without labels can notice that the labels of the same texts
changed: labels turned round, or another meaning of "positive".
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from pipelines.models.answers import confidence

Probabilities = NDArray[np.float64]

INTERVAL = 0.95
_DEVIATIONS = NormalDist().inv_cdf(0.5 + INTERVAL / 2)


def wilson(right: int, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share.

    References
    ----------
    .. [1] E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
       Journal of the American Statistical Association 22, 1927.
    """
    share, square = right / rows, _DEVIATIONS**2
    middle = (share + square / (2 * rows)) / (1 + square / rows)
    reach = (
        _DEVIATIONS * np.sqrt(share * (1 - share) / rows + square / (4 * rows**2))
        / (1 + square / rows)
    )  # fmt: skip
    return max(0.0, float(middle - reach)), min(1.0, float(middle + reach))


@dataclass(frozen=True)
class AverageConfidence:
    """An accuracy estimated without labels, its 95 % interval, and its standard error."""

    accuracy: float
    low: float
    high: float
    error: float


def average_confidence(
    probability: Probabilities, usual: Probabilities, is_usual_right: NDArray[np.bool_]
) -> AverageConfidence:
    """The mean confidence, corrected by how far it misses the accuracy of the reference.

    Parameters
    ----------
    probability : ndarray of shape (n,) or (n, n_classes)
        Of the positive class or of each, on the reviews without labels.
    usual : ndarray of shape (m,) or (m, n_classes)
        On the reference.
    is_usual_right : ndarray of bool, shape (m,)
        Whether the model is right on each review of the reference.

    Notes
    -----
    Unbiased while the probabilities are as well calibrated as on the reference. The interval is
    that of the Poisson-binomial distribution of how many are right, and of the correction.

    References
    ----------
    .. [1] J. Kivimaeki, J. Bialek, J. Nurminen, W. Kuberski, "Confidence-based Estimators for
       Predictive Performance in Model Monitoring", arXiv 2407.08649, 2024.
    """
    sure, usually_sure = confidence(probability), confidence(usual)
    missed = is_usual_right - usually_sure
    accuracy = float(sure.mean() + missed.mean())
    of_rows = float((sure * (1 - sure)).sum()) / len(sure) ** 2
    error = float(np.sqrt(of_rows + missed.var() / len(missed)))
    low, high = accuracy - _DEVIATIONS * error, accuracy + _DEVIATIONS * error
    accuracy, low, high = (min(1.0, max(0.0, value)) for value in (accuracy, low, high))
    return AverageConfidence(accuracy, low, high, error)


def thresholded_confidence(
    probability: Probabilities, usual: Probabilities, is_usual_right: NDArray[np.bool_]
) -> float:
    """The share of reviews above the confidence that, on the reference, as many exceed as are right.

    References
    ----------
    .. [1] S. Garg et al., "Leveraging Unlabeled Data to Predict Out-of-Distribution Performance",
       ICLR, 2022.
    """  # noqa: E501
    threshold = np.quantile(confidence(usual), 1.0 - is_usual_right.mean())
    return float((confidence(probability) > threshold).mean())


def expected_log_loss(
    probability: Probabilities, usual: Probabilities, usual_log_loss: float
) -> float:
    """The mean entropy in nats, corrected by how far it misses the log loss of the reference."""
    return max(0.0, float(_entropy(probability) + usual_log_loss - _entropy(usual)))


def _entropy(probability: Probabilities) -> float:
    inside = np.clip(probability, 1e-15, 1 - 1e-15)
    if inside.ndim == 2:
        return float(-(inside * np.log(inside)).sum(axis=1).mean())
    return float(-(inside * np.log(inside) + (1 - inside) * np.log(1 - inside)).mean())
