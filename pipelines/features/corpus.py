"""Which review contains which n-gram: the columns of a corpus, found by one sort.

An n-gram becomes a column when ``min_df`` reviews contain it. Columns are numbered in the order in
which the ``min_df``-th review with the n-gram came. Labels are not used.

N-grams that many reviews contain thus come first, so what a pass over the rows reads and writes
most often stays in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pipelines.features.arrays import Growing
from pipelines.features.fingerprint_index import Marks
from pipelines.features.fingerprints import Fingerprints, bounds_of
from pipelines.features.views import View

CHUNK_OCCURRENCES = 1 << 17

Ids = NDArray[np.uint64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Corpus:
    """The n-grams that occur often enough, and the reviews that contain them.

    Attributes
    ----------
    vocabulary : ndarray of uint64, shape (n_columns,)
        The fingerprint of each column.
    marks : Marks
        The columns of each review, one review after the other, each ascending.
    view : View
        Which n-grams were read.
    min_df : int
        Fewest reviews with a kept n-gram.
    """

    vocabulary: Ids
    marks: Marks
    view: View
    min_df: int

    @classmethod
    def of(cls, parts: Iterable[Fingerprints], view: View, *, min_df: int) -> Corpus:
        """Return the corpus of the reviews of all parts.

        Raises
        ------
        ValueError
            If a part is of another view, or there are too many reviews.
        """
        keys, review_count = _sorted_keys(parts, view)
        kept = _Kept.of(keys, view, min_df)
        del keys
        order = stable_order(kept.births)  # where births are equal, the ids stay ascending
        counts = kept.counts[order]
        codes = _gathered(kept.codes, bounds_of(kept.counts)[order], counts)
        vocabulary = kept.ids[order]
        del kept
        is_late = codes.view(np.uint32).astype(np.uint8)
        is_late &= np.uint8(1)
        codes >>= 1
        by_column = sparse.csc_array(
            (is_late, codes, bounds_of(counts).astype(np.int32)),
            shape=(review_count, len(vocabulary)),
        )
        rows = by_column.tocsr()
        marks = Marks(rows.indices, rows.data.view(np.bool_), rows.indptr.astype(np.int64))
        return cls(vocabulary, marks, view, min_df)

    def __len__(self) -> int:
        return len(self.marks.bounds) - 1

    def matrix(self, late_weight: float) -> sparse.csr_array:
        """As `Marks.matrix`, shape (n_reviews, n_columns)."""
        return self.marks.matrix(len(self.vocabulary), late_weight)


def _sorted_keys(parts: Iterable[Fingerprints], view: View) -> tuple[Ids, int]:
    """All occurrences, ascending (fingerprint, row, 1 if late), and the number of reviews."""
    keys, row, row_bits = Growing(np.uint64), 0, 63 - view.bits
    for part in parts:
        if part.view != view:
            raise ValueError(
                f"fingerprints of {part.view} cannot be added to a corpus of {view}. "
                "Compute them again with that view."
            )
        if row + len(part) > 1 << row_bits:
            raise ValueError(
                f"{row + len(part):,} reviews are too many for fingerprints of {view.bits} bits; "
                f"at most {1 << row_bits:,} fit. Use fewer bits, or a model that streams."
            )
        rows = np.repeat(np.arange(row, row + len(part), dtype=np.uint64), part.lengths)
        own = part.ids << np.uint64(row_bits)
        own |= rows
        own <<= np.uint64(1)
        own |= part.is_late
        keys.append(own)
        row += len(part)
    keys.array.sort()
    return keys.array, row


@dataclass(frozen=True, eq=False)
class _Kept:
    """The n-grams in at least ``min_df`` reviews, ascending.

    Attributes
    ----------
    ids : ndarray of uint64
        Their fingerprints.
    counts : ndarray of int64
        How many reviews contain each.
    births : ndarray of int32
        The ``min_df``-th review with each.
    codes : ndarray of int32
        Twice the row of each occurrence, and 1 more if it is late.
    """

    ids: Ids
    counts: Counts
    births: NDArray[np.int32]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, keys: Ids, view: View, min_df: int) -> _Kept:
        """Drop the others; works on a stretch of keys at a time, to save memory."""
        code_bits = 64 - view.bits
        ids, counts = Growing(np.uint64), Growing(np.int64)
        births, codes = Growing(np.int32), Growing(np.int32)
        for start, stop in pairwise(_cut_points(keys, code_bits)):
            own = keys[start:stop]
            own_ids = own >> np.uint64(code_bits)
            starts = np.flatnonzero(np.concatenate([[True], own_ids[1:] != own_ids[:-1]]))
            own_counts = np.diff(starts, append=len(own))
            is_kept = own_counts >= min_df
            ids.append(own_ids[starts[is_kept]])
            counts.append(own_counts[is_kept])
            births.append(_codes(own[starts[is_kept] + (min_df - 1)], code_bits) >> 1)
            codes.append(_codes(own[np.repeat(is_kept, own_counts)], code_bits))
        return cls(ids.array, counts.array, births.array, codes.array)


def _codes(keys: Ids, code_bits: int) -> NDArray[np.int32]:
    return (keys & np.uint64((1 << code_bits) - 1)).astype(np.int32)


def _cut_points(keys: Ids, code_bits: int) -> Iterator[int]:
    """Where to cut ascending keys into stretches, never between two of the same n-gram."""
    start = 0
    while start < len(keys):
        yield start
        start += CHUNK_OCCURRENCES
        if start < len(keys):
            last = keys[start - 1] | np.uint64((1 << code_bits) - 1)
            start += int(np.searchsorted(keys[start:], last, side="right"))
    if len(keys):
        yield len(keys)


def stable_order(values: NDArray[np.int32]) -> NDArray[np.int64]:
    """As a stable ``argsort`` of values that are not negative, but four times as fast."""
    keys = values.astype(np.int64) << 32
    keys |= np.arange(len(values))
    keys.sort()
    keys &= 0xFFFF_FFFF
    return keys


def _gathered(codes: NDArray[np.int32], starts: Counts, counts: Counts) -> NDArray[np.int32]:
    """The codes of each range, one range after the other."""
    bounds = bounds_of(counts)
    gathered = np.empty(bounds[-1], np.int32)
    cuts = np.searchsorted(bounds, np.arange(0, bounds[-1], CHUNK_OCCURRENCES))
    for start, stop in pairwise([*np.unique(cuts).tolist(), len(counts)]):
        positions = np.repeat(starts[start:stop] - bounds[start:stop], counts[start:stop])
        positions += np.arange(bounds[start], bounds[stop])
        gathered[bounds[start] : bounds[stop]] = codes[positions]
    return gathered
