"""Compare two models review by review: paired losses, McNemar's test, Holm's correction.

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

from pipelines.evaluation.metrics import (
    Labels,
    Mask,
    Probabilities,
    is_usable,
    review_losses,
    rounded,
)
from pipelines.models.answers import predicted
from pipelines.records.evaluations import PairedComparison

POWER = 0.8
_BOOTSTRAP_SEED = 20260105
_BLOCK_CELLS = 1 << 20


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
        """The changes; None if a probability is not a number, or there are no reviews."""
        if not len(labels) or not (is_usable(other) and is_usable(challenger)):
            return None
        right = (predicted(challenger) == labels).astype(np.float64)
        right -= predicted(other) == labels
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
    drawn = np.maximum(counts, 1.0)  # a small part may be missing from a resample
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
    """The p-values, adjusted so that all can be compared with one level; order is kept.

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
