"""Do two groups of reviews differ, by how much, and what does chance alone reach?

Everything is a pure function of arrays, and resampling has a fixed seed: the same arrays give the
same numbers. Each comparison returns its `Difference`: an effect that does not grow with the number
of reviews, and ``chance``, the effect that two groups of one origin exceed with a given
probability. So a limit of ``max(floor, chance)`` neither cries wolf on small groups nor calls a
difference important because the groups are large.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

from pipelines.monitoring.word_table import Documents

Values = NDArray[np.float64]

_SEED = 20260105
DOCUMENT_PERMUTATIONS = 100
CLASSIFIER_PERMUTATIONS = 20
LEAST_REVIEWS_WITH_WORD = 5  # a rarer one tells more about one review than about a night
LEAST_DEVIATIONS = 2.0  # by which a word's share must change for the classifier to use it
_LEAST_P_VALUE = 1e-12  # smaller ones differ between processors, and mean the same
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Difference:
    """An effect, what chance reaches at a significance, and the p-value of the effect."""

    value: float
    chance: float
    p_value: float


def deviations(significance: float) -> float:
    """How many standard deviations chance exceeds with this probability, on one side."""
    return _NORMAL.inv_cdf(1 - significance)


def _tail(deviations_seen: float, sides: int) -> float:
    if not np.isfinite(deviations_seen):
        return 1.0 if deviations_seen < 0 else _LEAST_P_VALUE
    return float(min(1.0, max(_LEAST_P_VALUE, sides * _NORMAL.cdf(-deviations_seen))))


def kolmogorov_smirnov(one: Values, other: Values, *, significance: float) -> Difference:
    """Largest distance of two distribution functions, in [0, 1], by its asymptotic distribution.

    Parameters
    ----------
    one, other : ndarray of shape (n,) and (m,)
        Neither empty.
    significance : float
        Chance exceeds ``chance`` with at most this probability; ties make it rarer.

    References
    ----------
    .. [1] N. Smirnov, "Table for estimating the goodness of fit of empirical distributions", Annals
       of Mathematical Statistics 19(2), 1948.
    """
    one, other = np.sort(one), np.sort(other)
    both = np.concatenate([one, other])
    below = np.searchsorted(one, both, side="right") / len(one)
    distance = float(np.abs(below - np.searchsorted(other, both, side="right") / len(other)).max())
    per_square = len(one) * len(other) / (len(one) + len(other))
    p_value = 2 * float(np.exp(-2 * per_square * distance**2))
    chance = float(np.sqrt(-np.log(significance / 2) / (2 * per_square)))
    return Difference(distance, chance, min(1.0, max(_LEAST_P_VALUE, p_value)))


def shares(
    part: int, rows: int, usual_part: int, usual_rows: int, *, significance: float
) -> Difference:
    """How much one share differs from another, by the normal approximation; two-sided."""
    pooled = (part + usual_part) / (rows + usual_rows)
    error = _share_error(pooled, rows, usual_rows)
    value = abs(part / rows - usual_part / usual_rows)
    return Difference(value, deviations(significance / 2) * error, _tail(value / error, sides=2))


def fall(
    part: int, rows: int, usual_part: int, usual_rows: int, *, significance: float
) -> Difference:
    """How much lower a share is than usual; negative where it is higher. One-sided."""
    usual = usual_part / usual_rows
    error = _share_error(usual, rows, usual_rows)
    value = usual - part / rows
    return Difference(value, deviations(significance) * error, _tail(value / error, sides=1))


def _share_error(share: float, rows: int, other_rows: int) -> float:
    """Standard error of the difference of two equal shares; never 0."""
    spread = max(share * (1 - share), 0.5 / (rows + other_rows))
    return float(np.sqrt(spread * (1 / rows + 1 / other_rows)))


def rise(one: Values, usual: Values, *, significance: float) -> Difference:
    """How much higher a mean is than usual, by Welch's statistic; one-sided.

    References
    ----------
    .. [1] B. L. Welch, "The generalization of Student's problem when several different population
       variances are involved", Biometrika 34, 1947.
    """
    error = float(np.sqrt(one.var() / len(one) + usual.var() / len(usual)))
    value = float(one.mean() - usual.mean())
    if error == 0:
        return Difference(value, 0.0, _LEAST_P_VALUE if value > 0 else 1.0)
    return Difference(value, deviations(significance) * error, _tail(value / error, sides=1))


def presence(
    one: NDArray[np.float32], usual: NDArray[np.float32], *, significance: float
) -> Difference:
    """How much the shares of reviews that have a word of each bucket differ.

    The effect is the mean over the buckets of the squared change of that share, in units of its own
    variance, less what chance makes of it. A review fills many buckets, which so depend on each
    other: chance is measured by dealing whole reviews to the two groups at random, many times,
    instead of being read from a chi-square table.

    Parameters
    ----------
    one, usual : ndarray of 0 and 1, shape (n, n_buckets) and (m, n_buckets)
        Whether each review has a word of each bucket.
    significance : float
        Chance exceeds ``chance`` with about this probability.

    References
    ----------
    .. [1] P. Good, "Permutation, Parametric and Bootstrap Tests of Hypotheses", 2005, chapter 3.
    """
    both = np.concatenate([one, usual])
    total = both.sum(axis=0)
    rng = np.random.default_rng([_SEED, len(one), len(usual)])
    chosen = np.zeros((DOCUMENT_PERMUTATIONS, len(both)), np.float32)
    for line in chosen:
        line[rng.permutation(len(both))[: len(one)]] = 1.0
    dealt = _squared_changes(chosen @ both, total, len(one), len(usual))
    seen = float(_squared_changes(one.sum(axis=0)[None, :], total, len(one), len(usual))[0])
    by_chance, variance = float(dealt.mean()), max(float(dealt.var(ddof=1)), 1e-24)
    if by_chance <= 0:
        return Difference(0.0, 0.0, 1.0)
    # A mean of squares leans to the right, the more the fewer the reviews: as a gamma distribution.
    by_dealing = stats.gamma(by_chance**2 / variance, scale=variance / by_chance)
    return Difference(
        max(0.0, seen - by_chance),
        float(by_dealing.ppf(1 - significance)) - by_chance,
        min(1.0, max(_LEAST_P_VALUE, float(by_dealing.sf(seen)))),
    )


def _squared_changes(
    counts: NDArray[np.float32], total: NDArray[np.float32], rows: int, usual_rows: int
) -> Values:
    """Mean squared change over the buckets that differ at all, per line of counts."""
    pooled = total / (rows + usual_rows)
    variance = np.asarray(pooled * (1 - pooled), np.float64)
    varies = variance > 0
    if not varies.any():
        return np.zeros(len(counts))
    change = counts / rows - (total - counts) / usual_rows
    squared = change[:, varies].astype(np.float64) ** 2 / variance[varies]
    return np.asarray(squared.mean(axis=1), np.float64)


@dataclass(frozen=True, eq=False)
class Told:
    """How well a classifier tells two groups apart, and by which words."""

    difference: Difference  # of the area under its curve from 0.5, out of fold
    words: NDArray[np.int64]  # numbers of the words that changed most, strongest first
    shares: Values  # of the reviews of the one group that have them
    usual_shares: Values


def tell_apart(
    one: Documents, usual: Documents, *, words: int, significance: float, most_words: int = 12
) -> Told:
    """Train a classifier to tell two groups of reviews apart: a naive Bayes model on their words.

    Each half of the reviews is scored by a model that learned the other half. Chance is measured
    by the same on groups that are dealt at random; its spread is at least that of Mann and
    Whitney's statistic.

    Parameters
    ----------
    one, usual : Documents
        By the same table.
    words : int
        How many words the table has.
    significance : float
        Chance exceeds ``chance`` with about this probability.
    most_words : int
        How many of the words that changed most are named.

    References
    ----------
    .. [1] D. Lopez-Paz, M. Oquab, "Revisiting Classifier Two-Sample Tests", ICLR, 2017.
    .. [2] S. Rabanser, S. Guennemann, Z. Lipton, "Failing Loudly: An Empirical Study of Methods for
       Detecting Dataset Shift", NeurIPS, 2019.
    """
    both = Documents.concat([one, usual])
    has = _kept_words(both, words)
    rng = np.random.default_rng([_SEED, len(one), len(usual), 1])
    is_one = np.arange(len(both)) < len(one)
    fold = rng.permutation(len(both)) % 2 == 0
    dealt = [rng.permutation(is_one) for _ in range(CLASSIFIER_PERMUTATIONS)]
    seen, *by_dealing = _areas(has, np.stack([is_one, *dealt], axis=1), fold)
    least = np.sqrt((len(both) + 1) / (12 * len(one) * len(usual)))
    spread = float(max(np.std(by_dealing, ddof=1), least))
    by_chance = max(float(np.mean(by_dealing)), 0.5)
    difference = Difference(
        max(0.0, seen - 0.5), by_chance - 0.5 + deviations(significance) * spread,
        _tail((seen - by_chance) / spread, sides=1),
    )  # fmt: skip
    return Told(difference, *_most_moved(one, usual, words, most_words))


def _kept_words(both: Documents, words: int) -> sparse.csr_array:
    """Which reviews have which of the words that are not rare, shape (n_reviews, n_kept)."""
    counts = np.bincount(both.ids, minlength=words)
    is_kept = counts >= LEAST_REVIEWS_WITH_WORD
    column = np.cumsum(is_kept) - 1
    chosen = is_kept[both.ids]
    rows, columns = both.rows()[chosen], column[both.ids[chosen]]
    ones = np.ones(len(rows))
    return sparse.csr_array((ones, (rows, columns)), shape=(len(both), int(is_kept.sum())))


def _areas(
    has: sparse.csr_array, is_one: NDArray[np.bool_], fold: NDArray[np.bool_]
) -> list[float]:
    """Areas under the curves of out-of-fold scores, one per way to deal the reviews.

    Parameters
    ----------
    has : sparse array of 0 and 1, shape (n_reviews, n_words)
        Which reviews have which words.
    is_one : ndarray of bool, shape (n_reviews, n_deals)
        Which reviews are in the first group.
    fold : ndarray of bool, shape (n_reviews,)
        Which half a review is in.
    """
    lengths = np.sqrt(np.maximum(has.sum(axis=1), 1))[:, None]
    scores = np.empty(is_one.shape)
    for learned in (fold, ~fold):
        weights = _log_ratios(has[learned], is_one[learned])
        asked = (has[~learned] @ weights) / lengths[~learned]
        # The two models' scores need not be on one scale: each half is ranked by itself.
        scores[~learned] = stats.rankdata(asked, axis=0) / max(len(asked), 1)
    return [
        _area_of(line[mine], line[~mine]) for line, mine in zip(scores.T, is_one.T, strict=True)
    ]


def _log_ratios(has: sparse.csr_array, is_one: NDArray[np.bool_]) -> Values:
    """A naive Bayes model of each deal, shape (n_words, n_deals)."""
    ones = is_one.sum(axis=0)
    in_one = has.T @ is_one.astype(np.float64)
    in_usual = has.sum(axis=0)[:, None] - in_one
    weights = np.log((in_one + 1.0) / (ones + 2.0)) - np.log(
        (in_usual + 1.0) / (len(is_one) - ones + 2.0)
    )
    # A word whose share did not change for certain adds noise alone: there are thousands of them.
    error = np.sqrt(1.0 / (in_one + 1.0) + 1.0 / (in_usual + 1.0))
    return np.where(np.abs(weights) >= LEAST_DEVIATIONS * error, weights, 0.0)


def _area_of(one: Values, other: Values) -> float:
    if not len(one) or not len(other):
        return 0.5
    other = np.sort(other)
    below = np.searchsorted(other, one, side="left")
    not_above = np.searchsorted(other, one, side="right")
    return float((below + not_above).sum() / (2 * len(one) * len(other)))


def _most_moved(
    one: Documents, usual: Documents, words: int, most: int
) -> tuple[NDArray[np.int64], Values, Values]:
    """The words whose shares changed most, by the statistic of two shares; none that is rare."""
    in_one = np.bincount(one.ids, minlength=words)
    in_usual = np.bincount(usual.ids, minlength=words)
    pooled = (in_one + in_usual) / (len(one) + len(usual))
    error = np.sqrt(np.maximum(pooled * (1 - pooled), 1e-12) * (1 / len(one) + 1 / len(usual)))
    now, before = in_one / len(one), in_usual / len(usual)
    moved = np.abs(now - before) / error
    moved[in_one + in_usual < LEAST_REVIEWS_WITH_WORD] = 0.0
    order = np.lexsort((np.arange(words), -moved))[:most]
    order = order[moved[order] > 0]
    return order.astype(np.int64), now[order], before[order]
