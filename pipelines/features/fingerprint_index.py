"""Find the columns of known n-grams, and mark which review contains which of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pipelines.features.fingerprints import Fingerprints, bounds_of

_SPARSE_BITS = 3  # 8 to 16 bits per known fingerprint: most unknown ones meet an empty bit


class FingerprintIndex:
    """Find the columns of fingerprints, in a step or two each.

    A table addressed by a fingerprint's top bits gives the position to start from. It has one or
    two slots per entry, so an average search reads about one entry too many; a larger table takes
    longer to make than it saves. A table of single bits, addressed by a few more of them, shows of
    most unknown fingerprints that they have no column.

    Parameters
    ----------
    vocabulary : ndarray of uint64, shape (n_columns,)
        The fingerprint of each column. Distinct, each in [0, 2**bits), in any order.
    bits : int
        Bits per fingerprint.
    """

    def __init__(self, vocabulary: NDArray[np.uint64], bits: int) -> None:
        ascending, columns = _sorted(vocabulary, bits)
        # A last entry above every fingerprint ends each search inside the array.
        self._entries = np.append(ascending, np.uint64(2**64 - 1))
        self._columns = np.append(columns, np.int32(-1))
        top_bits = min(bits, len(vocabulary).bit_length())
        self._shift = np.uint64(bits - top_bits)
        slots = (self._entries[:-1] >> self._shift).astype(np.intp)
        per_slot = np.bincount(slots, minlength=1 << top_bits)
        self._first_in_slot = bounds_of(per_slot).astype(np.int32)
        self._mark_bits = min(bits, top_bits + _SPARSE_BITS)
        marks = np.zeros(1 << self._mark_bits, np.bool_)
        marks[(self._entries[:-1] >> np.uint64(bits - self._mark_bits)).view(np.int64)] = True
        self._marks = np.packbits(marks, bitorder="little")

    def may_hold(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return False only where no column has the fingerprint of a whole 64-bit hash.

        Costs less than to find it, and needs no order.
        """
        places = hashes >> np.uint64(64 - self._mark_bits)
        marks = self._marks.take((places >> np.uint64(3)).view(np.int64))
        marks >>= places.astype(np.uint8) & np.uint8(7)
        marks &= np.uint8(1)
        return marks.view(np.bool_)

    def find(self, ids: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Return each id's column, and whether it has one; otherwise the column is meaningless."""
        places, is_known = self.places(ids)
        return self._columns.take(places), is_known

    @property
    def columns(self) -> NDArray[np.int32]:
        """The column of each known fingerprint, in the order of `places`."""
        return self._columns[:-1]

    def places(self, ids: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return where each id stands in the ascending vocabulary, and whether it is there.

        The place of one that is not there is that of the next above it, at most the vocabulary's
        size.
        """
        places = self._first_in_slot.take((ids >> self._shift).view(np.int64)).astype(np.intp)
        places += self._entries.take(places) < ids  # a third: faster without picking them out
        entries = self._entries.take(places)
        unsettled = np.flatnonzero(entries < ids)
        while len(unsettled):
            following = places.take(unsettled) + 1
            places[unsettled] = following
            entries[unsettled] = candidates = self._entries.take(following)
            unsettled = unsettled[candidates < ids.take(unsettled)]
        return places, entries == ids


def _sorted(
    vocabulary: NDArray[np.uint64], bits: int
) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """The fingerprints, ascending, and their columns: as ``argsort``, but much faster."""
    spare = np.uint64(64 - bits)
    if len(vocabulary).bit_length() > spare:  # column and fingerprint do not fit into one key
        order = np.argsort(vocabulary)
        return vocabulary[order], order.astype(np.int32)
    keys = vocabulary << spare
    keys |= np.arange(len(keys), dtype=np.uint64)
    keys.sort()
    return keys >> spare, (keys & ((np.uint64(1) << spare) - np.uint64(1))).astype(np.int32)


class Marks(NamedTuple):
    """Which columns each review touches, one review after the other.

    Attributes
    ----------
    columns : ndarray of int32, shape (n_marks,)
        The columns.
    is_late : ndarray of bool, shape (n_marks,)
        Whether the n-gram is in the last eighth of the review.
    bounds : ndarray of int64, shape (n_reviews + 1,)
        Where each review begins, and the end of the last.
    """

    columns: NDArray[np.int32]
    is_late: NDArray[np.bool_]
    bounds: NDArray[np.int64]

    def values(self, late_weight: float) -> NDArray[np.float32]:
        """Return ``late_weight`` for each mark that is late, 1 for the others."""
        return np.where(self.is_late, np.float32(late_weight), np.float32(1))

    def matrix(self, column_count: int, late_weight: float) -> sparse.csr_array:
        """Return these values in a csr_array of float32, shape (n_reviews, column_count)."""
        return csr(self.values(late_weight), self.columns, self.bounds, column_count)


def known_marks(index: FingerprintIndex, reviews: Fingerprints) -> Marks:
    """Mark the n-grams that are known."""
    positions, is_known = index.find(reviews.ids)
    bounds = bounds_of(is_known)[reviews.bounds()]
    return Marks(positions[is_known], reviews.is_late[is_known], bounds)


def csr(
    values: NDArray[Any],
    columns: NDArray[np.int32],
    bounds: NDArray[np.int64],
    column_count: int,
) -> sparse.csr_array:
    """Return the given values in the given columns of each row."""
    return sparse.csr_array(
        (values, columns, _as_indices(bounds)), shape=(len(bounds) - 1, column_count)
    )


def _as_indices(bounds: NDArray[np.int64]) -> NDArray[np.integer]:
    # scikit-learn's solvers need 32-bit positions; beyond 2**31 of them, they raise an error.
    narrow: NDArray[np.integer] = bounds.astype(sparse.get_index_dtype(maxval=int(bounds[-1])))
    return narrow
