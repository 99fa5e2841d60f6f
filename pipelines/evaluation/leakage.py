"""Find held out reviews that a model was trained on, word for word or nearly.

Exact copies have equal text ids. Near copies (a word changed, a sentence added) share most of their
n-grams, so they share most of the smallest hashes of these. A sketch of `SKETCH` numbers per review
finds them without comparing every pair [1]_.

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
"""Of `SKETCH`; reviews with this many hashes in common share about half of their n-grams."""

MAX_HOLDERS = 64
"""A hash in more reviews belongs to a common word and is no evidence of copying."""

MIN_RARE_SHARED = 3
"""Pairs that share fewer hashes of rare words are not compared."""

BLOCK_REVIEWS = 4096
"""Held out reviews that are looked up at once; bounds the memory of the pairs."""

_NO_HASH = np.uint64(2**64 - 1)


Sketches = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Sketched:
    """The sketches of both sides of a split."""

    held_out: Sketches
    trained_on: Sketches


def near_copies(ours: Sketches, theirs: Sketches) -> NDArray[np.bool_]:
    """Which held out reviews are nearly the same as a training review.

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
        others = theirs[right]
        shared = np.zeros(len(left), np.int64)
        for column in range(SKETCH):
            shared += (block[left, column, None] == others).any(axis=1)
        is_copy[start + left[shared >= MIN_SHARED]] = True
    return is_copy


def sketches(reviews: Fingerprints) -> Sketches:
    """The smallest hashes of each review, shape (n_reviews, SKETCH).

    A review's fingerprints are in ascending order. Rows of shorter reviews are all `_NO_HASH`.
    """
    smallest = np.full((len(reviews), SKETCH), _NO_HASH, np.uint64)
    is_long = reviews.lengths >= SKETCH
    starts = reviews.bounds()[:-1][is_long]
    smallest[is_long] = reviews.ids[starts[:, None] + np.arange(SKETCH)]
    return smallest


def _holders(reviews: Sketches) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """All hashes, ascending, and the review that holds each."""
    order = np.argsort(reviews, axis=None)
    hashes = reviews.ravel()[order]
    order //= SKETCH
    return hashes, order.astype(np.int32)


def _candidates(
    ours: Sketches, hashes: NDArray[np.uint64], holders: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of reviews that share `MIN_RARE_SHARED` hashes that occur in few reviews."""
    own = ours.ravel()
    first = np.searchsorted(hashes, own, side="left")
    count = np.searchsorted(hashes, own, side="right") - first
    count[(count > MAX_HOLDERS) | (own == _NO_HASH)] = 0
    rows = np.repeat(np.arange(len(own)) // SKETCH, count)
    offsets = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    pairs = (rows << 32) | holders[np.repeat(first, count) + offsets]
    pairs, times = np.unique(pairs, return_counts=True)
    pairs = pairs[times >= MIN_RARE_SHARED]
    return pairs >> 32, pairs & 0xFFFF_FFFF
