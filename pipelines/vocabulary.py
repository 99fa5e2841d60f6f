"""Which n-grams are known, and which review contains which of them.

The vocabulary is exact: every n-gram that occurs in at least ``min_df`` reviews, ascending by
fingerprint. Labels play no part in it, so all folds and all candidates can share one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pipelines.fingerprints import Fingerprints, bounds_of


class FingerprintIndex:
    """Find fingerprints in a sorted vocabulary, in a step or two each.

    A table addressed by a fingerprint's top bits says where to start looking. It has two to four
    slots per entry, so an average search reads less than one entry too many.

    Parameters
    ----------
    vocabulary : ndarray of uint64, shape (n_entries,)
        Ascending, distinct, each in [0, 2**bits).
    bits : int
        Bits per fingerprint.
    """

    def __init__(self, vocabulary: NDArray[np.uint64], bits: int) -> None:
        top_bits = min(bits, len(vocabulary).bit_length() + 1)
        self._shift = np.uint64(bits - top_bits)
        slots = (vocabulary >> self._shift).astype(np.intp)
        per_slot = np.bincount(slots, minlength=1 << top_bits)
        self._first_in_slot = bounds_of(per_slot).astype(np.int32)
        # A last entry above every fingerprint ends each search inside the array.
        self._entries = np.append(vocabulary, np.uint64(2**64 - 1))

    def find(self, ids: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Return where each id is or would be in the vocabulary, and whether it is there."""
        positions = self._first_in_slot.take((ids >> self._shift).astype(np.intp))
        entries = self._entries.take(positions)
        unsettled = np.flatnonzero(entries < ids)
        while len(unsettled):
            here, wanted = positions.take(unsettled) + 1, ids.take(unsettled)
            positions[unsettled] = here
            entries[unsettled] = found = self._entries.take(here)
            unsettled = unsettled[found < wanted]
        return positions, entries == ids


def seen_in(ids: NDArray[np.uint64], min_df: int) -> NDArray[np.uint64]:
    """Return the distinct ids that occur at least ``min_df`` times, ascending."""
    ids = np.sort(ids)
    if len(ids) < min_df:
        return ids[:0]
    is_first = np.ones(len(ids), np.bool_)
    np.not_equal(ids[1:], ids[:-1], out=is_first[1:])
    candidates = ids[: len(ids) - min_df + 1]
    # In sorted order, an id that is still there min_df - 1 places on occurs min_df times.
    is_frequent: NDArray[np.bool_] = candidates == ids[min_df - 1 :]
    return candidates[is_frequent & is_first[: len(candidates)]]


def presence_of(reviews: Fingerprints, min_df: int) -> tuple[NDArray[np.uint64], sparse.csr_array]:
    """Find the vocabulary and mark it in the same reviews, by one sort instead of many searches.

    Parameters
    ----------
    reviews : Fingerprints
        At most 2**(64 - bits) of them: 16 million at 40 bits.
    min_df : int
        Fewest reviews an n-gram must occur in, at least 1.

    Returns
    -------
    vocabulary : ndarray of uint64, shape (n_ngrams,)
        Ascending.
    presence : csr_array of float32, shape (n_reviews, n_ngrams)
        Ones where a review contains the n-gram, columns ascending in each row.

    Raises
    ------
    ValueError
        If there are too many reviews.
    """
    ids, rows = _sorted_occurrences(reviews)
    starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]])[: len(ids)])
    counts = np.diff(starts, append=len(ids))
    is_frequent = counts >= min_df
    vocabulary = ids[starts[is_frequent]]
    rows = rows[np.repeat(is_frequent, counts)]
    by_column = sparse.csc_array(
        (np.ones(len(rows), np.float32), rows, _as_indices(bounds_of(counts[is_frequent]))),
        shape=(len(reviews), len(vocabulary)),
    )
    return vocabulary, by_column.tocsr()


def _sorted_occurrences(reviews: Fingerprints) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Return each fingerprint and the row it occurs in, ascending by both."""
    row_bits = np.uint64(64 - reviews.bits)
    if len(reviews) > 1 << int(row_bits):
        raise ValueError(
            f"{len(reviews):,} reviews do not fit beside {reviews.bits} bits; "
            f"at most {1 << int(row_bits):,} do. Use fewer bits, or a model that streams."
        )
    keys = reviews.ids << row_bits
    keys |= np.repeat(np.arange(len(reviews), dtype=np.uint64), reviews.lengths)
    keys.sort()
    rows = (keys & np.uint64((1 << int(row_bits)) - 1)).astype(np.int32)
    keys >>= row_bits
    return keys, rows


def known_columns(
    index: FingerprintIndex, reviews: Fingerprints
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the columns of the n-grams that are known, review after review, and their bounds."""
    positions, is_known = index.find(reviews.ids)
    return positions[is_known], bounds_of(is_known)[reviews.bounds()]


def presence(
    columns: NDArray[np.int32], bounds: NDArray[np.int64], column_count: int
) -> sparse.csr_array:
    """Return ones in the given columns of each row."""
    return sparse.csr_array(
        (np.ones(len(columns), np.float32), columns, _as_indices(bounds)),
        shape=(len(bounds) - 1, column_count),
    )


def _as_indices(bounds: NDArray[np.int64]) -> NDArray[np.integer]:
    # scikit-learn's solvers want 32-bit positions; beyond 2**31 of them, they say so.
    narrow: NDArray[np.integer] = bounds.astype(sparse.get_index_dtype(maxval=int(bounds[-1])))
    return narrow
