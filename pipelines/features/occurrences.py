"""Occurrences of fingerprints, processed in pieces of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipelines.features.fingerprints import bounds_of

CHUNK_OCCURRENCES = 1 << 17

Ids = NDArray[np.uint64]
Rows = NDArray[np.int32]
Counts = NDArray[np.int64]


@dataclass(eq=False)
class Rare:
    """Occurrences of n-grams that are rare.

    New ones are merged only when `in_order` is called, which a night that is not saved never does.

    Attributes
    ----------
    occurrences : ndarray of uint64
        Ascending: the fingerprint in the upper ``bits`` bits, the row below.
    gone : ndarray of int64
        Positions of those that are not rare any more.
    new : ndarray of uint64
        Occurrences that are still to be merged, ascending.
    """

    occurrences: Ids
    gone: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    new: Ids = field(default_factory=lambda: np.empty(0, np.uint64))

    def __len__(self) -> int:
        return len(self.occurrences) - len(self.gone) + len(self.new)

    def in_order(self) -> Ids:
        """Return all that are rare, ascending."""
        if not len(self.occurrences):
            self.occurrences, self.new = self.new, self.occurrences
        elif len(self.gone) or len(self.new):
            still = np.delete(self.occurrences, self.gone)
            self.occurrences = np.insert(still, np.searchsorted(still, self.new), self.new)
            self.gone, self.new = self.gone[:0], self.new[:0]
        return self.occurrences


@dataclass(frozen=True, eq=False)
class Sorted:
    """New occurrences, sorted by what they do to the corpus.

    ``ids`` get columns: ``counts`` occurrences each, in ``rows``, and ``births`` is the row with
    the occurrence that was missing. ``moved`` are positions in `Rare` that are no longer rare,
    ``rare`` the new rare occurrences. ``known_rows`` contain columns that existed before.
    """

    ids: Ids
    counts: Counts
    rows: Rows
    births: Rows
    moved: NDArray[np.int64]
    rare: Ids
    known_rows: Rows = field(default_factory=lambda: np.empty(0, np.int32))
    known_columns: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))

    @classmethod
    def nothing(cls) -> Sorted:
        ids, rows, counts = np.empty(0, np.uint64), np.empty(0, np.int32), np.empty(0, np.int64)
        return cls(ids, counts, rows, rows, counts, ids)

    def by_birth(self) -> Sorted:
        """The same, with the n-grams that get columns in the order of their births."""
        order = stable_order(self.births)  # where births are equal, the ids stay ascending
        counts = self.counts[order]
        rows = _gathered(self.rows, bounds_of(self.counts)[order], counts)
        return replace(
            self, ids=self.ids[order], counts=counts, rows=rows, births=self.births[order]
        )


def cut_points(keys: Ids, row_bits: int) -> Iterator[int]:
    """Where to cut ascending keys into stretches, never between two of the same n-gram."""
    start = 0
    while start < len(keys):
        yield start
        start += CHUNK_OCCURRENCES
        if start < len(keys):
            last = keys[start - 1] | np.uint64((1 << row_bits) - 1)
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


def ranges(starts: NDArray[np.intp], counts: Counts) -> NDArray[np.int64]:
    """``starts[i], starts[i] + 1, ...``, ``counts[i]`` of them, one range after the other."""
    positions = np.repeat(starts - bounds_of(counts)[:-1], counts)
    positions += np.arange(len(positions))
    return positions


def _gathered(rows: Rows, starts: Counts, counts: Counts) -> Rows:
    """The rows of each range, one range after the other."""
    bounds = bounds_of(counts)
    gathered = np.empty(bounds[-1], np.int32)
    cuts = np.searchsorted(bounds, np.arange(0, bounds[-1], CHUNK_OCCURRENCES))
    for start, stop in pairwise([*np.unique(cuts).tolist(), len(counts)]):
        chosen = ranges(starts[start:stop], counts[start:stop])
        gathered[bounds[start] : bounds[stop]] = rows[chosen]
    return gathered
