"""Find held out reviews that a model was trained on, word for word or nearly.

Exact copies have equal text ids. Near copies (a word changed, a sentence added) share most of their
n-grams, so they share most of the smallest hashes of them: a sketch of `SKETCH` numbers per review
tells, without comparing every pair [1]_.

References
----------
.. [1] A. Z. Broder, "On the resemblance and containment of documents", SEQUENCES, 1997.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.features.fingerprints import Fingerprints

SKETCH = 16
MIN_SHARED = 10
"""Of `SKETCH`: reviews with this many in common share about half of all their n-grams."""

MAX_HOLDERS = 64
"""A hash held by more reviews is of a common word, and says nothing about copying."""

MIN_TELLING = 3
"""Pairs that share fewer hashes of rarer words are not looked at."""

BLOCK_REVIEWS = 4096
"""So many held out reviews are looked up at once: it bounds what the pairs take."""

_NO_HASH = np.uint64(2**64 - 1)


Sketches = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Sketched:
    """The sketches of both sides of a split."""

    held_out: Sketches
    trained_on: Sketches


def near_copies(ours: Sketches, theirs: Sketches) -> NDArray[np.bool_]:
    """Which held out reviews are nearly the same as one that was trained on.

    Parameters
    ----------
    ours, theirs : ndarray of uint64, shape (n_held_out, SKETCH) and (n_trained_on, SKETCH)
        What `sketches` makes of the held out reviews and of those trained on, of fingerprints with
        the same parameters. Reviews of fewer than `SKETCH` n-grams are never near copies.

    Returns
    -------
    is_copy : ndarray of bool, shape (n_held_out,)
    """
    hashes, holders = _holders(theirs)
    is_copy = np.zeros(len(ours), np.bool_)
    for start in range(0, len(ours), BLOCK_REVIEWS):
        block = ours[start : start + BLOCK_REVIEWS]
        left, right = _candidates(block, hashes, holders)
        lines = theirs[right]
        shared = np.zeros(len(left), np.int64)
        for column in range(SKETCH):
            shared += (block[left, column, None] == lines).any(axis=1)
        is_copy[start + left[shared >= MIN_SHARED]] = True
    return is_copy


def sketches(reviews: Fingerprints) -> Sketches:
    """The smallest hashes of each review, shape (n_reviews, SKETCH).

    Fingerprints of a review are ascending already. Lines of shorter reviews are all `_NO_HASH`.
    """
    found = np.full((len(reviews), SKETCH), _NO_HASH, np.uint64)
    is_long = reviews.lengths >= SKETCH
    starts = reviews.bounds()[:-1][is_long]
    found[is_long] = reviews.ids[starts[:, None] + np.arange(SKETCH)]
    return found


def _holders(reviews: Sketches) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """All hashes, ascending, and the review that holds each."""
    order = np.argsort(reviews, axis=None)
    hashes = reviews.ravel()[order]
    order //= SKETCH
    return hashes, order.astype(np.int32)


def _candidates(
    ours: Sketches, hashes: NDArray[np.uint64], holders: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of reviews that share `MIN_TELLING` hashes that few reviews hold."""
    wanted = ours.ravel()
    first = np.searchsorted(hashes, wanted, side="left")
    count = np.searchsorted(hashes, wanted, side="right") - first
    count[(count > MAX_HOLDERS) | (wanted == _NO_HASH)] = 0
    rows = np.repeat(np.arange(len(wanted)) // SKETCH, count)
    offsets = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    pairs = (rows << 32) | holders[np.repeat(first, count) + offsets]
    pairs, times = np.unique(pairs, return_counts=True)
    pairs = pairs[times >= MIN_TELLING]
    return pairs >> 32, pairs & 0xFFFF_FFFF
