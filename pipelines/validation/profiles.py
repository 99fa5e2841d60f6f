"""A delivery as a few histograms, and how far two of them are apart.

Distances are population stability indices. Even two samples of the same distribution differ, by
about (bins - 1) * (1 / n + 1 / m) for n and m independent draws. So no limit is below three times
that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.intake.files.reading import POSITIVE
from pipelines.records.validations import Profile
from pipelines.validation.measurements import Measured

LENGTH_EDGES = (
    0, 64, 128, 192, 256, 384, 512, 640, 768, 1024, 1280, 1536, 2048, 3072, 4096, 8192,
)  # characters; the last bin is open  # fmt: skip
CHANCE_FACTOR = 3.0
_SMOOTHING = 0.5


def describe(measured: Measured, rows: NDArray[np.intp]) -> Profile:
    """The profile of the rows at the given positions."""
    chars = measured.frame["text_chars"].to_numpy()[rows]
    bins = np.searchsorted(LENGTH_EDGES, chars, side="right") - 1
    is_positive = (measured.frame["label"] == POSITIVE).to_numpy()[rows]
    return Profile(
        rows=len(rows),
        positive_rows=int(is_positive.sum()),
        chars=_counts(bins, len(LENGTH_EDGES)),
        ngrams=tuple(measured.grams.counts(rows).tolist()),
    )


def _counts(values: NDArray[np.intp], bins: int) -> tuple[int, ...]:
    return tuple(np.bincount(values, minlength=bins).tolist())


def together(profiles: Iterable[Profile]) -> Profile | None:
    """The profile of several deliveries taken together; None without any."""
    parts = list(profiles)
    if not parts:
        return None
    return Profile(
        rows=sum(part.rows for part in parts),
        positive_rows=sum(part.positive_rows for part in parts),
        chars=_sums(part.chars for part in parts),
        ngrams=_sums(part.ngrams for part in parts),
    )


def _sums(histograms: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sum(counts) for counts in zip(*histograms, strict=True))


def distance(counts: Sequence[int], reference: Sequence[int]) -> float:
    """Population stability index of two histograms over the same bins.

    Returns
    -------
    psi : float
        0 for equal shares; each empty bin counts as half an observation.
    """
    now, usual = _shares(counts), _shares(reference)
    return float(((now - usual) * np.log(now / usual)).sum())


def chance(counts: Sequence[int], reference: Sequence[int]) -> float:
    """The expected distance of two samples of one distribution; infinite without observations."""
    draws = sum(counts), sum(reference)
    if not all(draws):
        return float("inf")
    return (len(counts) - 1) * sum(1 / count for count in draws)


def _shares(counts: Sequence[int]) -> NDArray[np.float64]:
    smoothed = np.asarray(counts, np.float64) + _SMOOTHING
    shares: NDArray[np.float64] = smoothed / smoothed.sum()
    return shares
