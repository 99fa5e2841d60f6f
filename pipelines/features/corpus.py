"""Which review contains which n-gram; new reviews are added without reading the old ones again.

An n-gram becomes a column when the ``min_df``-th review that contains it arrives. Until then it is
*rare*, and stored with the rows it occurs in. Columns are numbered in the order in which they
appear. So later reviews only add columns at the end, and a corpus that grew night by night is
bit for bit the same as a corpus made of all reviews at once. Labels are not used.

The order has a second benefit: n-grams that many reviews contain come first, so what a pass over
the rows reads and writes most often stays in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pipelines.features.arrays import FromTheEnd, Growing
from pipelines.features.fingerprint_index import FingerprintIndex, presence
from pipelines.features.fingerprints import Fingerprints, bounds_of
from pipelines.features.occurrences import (
    Counts,
    Ids,
    Rare,
    Rows,
    Sorted,
    cut_points,
    ranges,
    stable_order,
)


@dataclass(frozen=True, eq=False)
class Corpus:
    """The columns of each review, and what is needed to add more reviews.

    Attributes
    ----------
    vocabulary : ndarray of uint64, shape (n_columns,)
        The fingerprint of each column.
    columns : ndarray of int32, shape (n_marks,)
        The columns of each review, one review after the other, each ascending.
    lengths : ndarray of int32, shape (n_reviews,)
        Number of columns of each review.
    rare : Rare
        Occurrences of n-grams in fewer than ``min_df`` reviews.
    min_df, ngram_max, bits : int
        See `FingerprintVectorizer`.
    """

    vocabulary: Ids
    columns: NDArray[np.int32]
    lengths: Rows
    rare: Rare
    min_df: int
    ngram_max: int = 3
    bits: int = 40

    @classmethod
    def empty(cls, *, min_df: int, ngram_max: int, bits: int) -> Corpus:
        nothing = np.empty(0, np.int32)
        ids = np.empty(0, np.uint64)
        return cls(ids, nothing, nothing, Rare(ids), min_df, ngram_max, bits)

    @classmethod
    def of(cls, reviews: Fingerprints, *, min_df: int) -> Corpus:
        """Return the corpus of these reviews alone."""
        empty = cls.empty(min_df=min_df, ngram_max=reviews.ngram_max, bits=reviews.bits)
        return empty.extended([reviews])

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def parameters(self) -> dict[str, int]:
        """What two corpora must agree on to be comparable."""
        return {"min_df": self.min_df, "ngram_max": self.ngram_max, "bits": self.bits}

    @property
    def row_bits(self) -> int:
        """Bits for the row in an occurrence: at most two to this power reviews fit."""
        return 64 - self.bits

    def presence(self, kind: type[np.float32 | np.uint8] = np.float32) -> sparse.csr_array:
        """Ones where a review contains an n-gram, shape (n_reviews, n_columns)."""
        return presence(self.columns, bounds_of(self.lengths), len(self.vocabulary), kind)

    def extended(self, parts: Iterable[Fingerprints]) -> Corpus:
        """Return this corpus with the reviews of all parts appended.

        Raises
        ------
        ValueError
            If the parts were made with other parameters, or there are too many reviews.
        """
        occurrences, counts = self._occurrences(parts)
        if not len(counts):
            return self
        return self._joined(self._sort_out(occurrences), len(counts))

    def _occurrences(self, parts: Iterable[Fingerprints]) -> tuple[Ids, Counts]:
        """All occurrences in new reviews, ascending, and the number in each review."""
        keys, counts, row = Growing(np.uint64), Growing(np.int64), len(self)
        for part in parts:
            self._check(part, row)
            rows = np.repeat(np.arange(row, row + len(part), dtype=np.uint64), part.lengths)
            keys.append((part.ids << np.uint64(self.row_bits)) | rows)
            counts.append(part.lengths)
            row += len(part)
        keys.array.sort()
        return keys.array, counts.array

    def _check(self, part: Fingerprints, row: int) -> None:
        if part.parameters != (self.ngram_max, self.bits):
            raise ValueError(
                f"fingerprints of (ngram_max, bits) = {part.parameters} cannot be added to a "
                f"corpus of {(self.ngram_max, self.bits)}. Compute them again with those."
            )
        most = 1 << self.row_bits
        if row + len(part) > most:
            raise ValueError(
                f"{row + len(part):,} reviews are too many for fingerprints of {self.bits} bits; "
                f"at most {most:,} fit. Use fewer bits, or a model that streams."
            )

    def _sort_out(self, occurrences: Ids) -> Sorted:
        """Find known, new and rare n-grams among new occurrences, a stretch of them at a time.

        Works from the end and frees the memory of each stretch, so that the occurrences and the
        result are not both in memory as a whole.
        """
        most = len(occurrences) + len(self.rare)
        fields = vars(Sorted.nothing()).items()
        results = {name: FromTheEnd(array, most) for name, array in fields}
        for start, stop in reversed([*pairwise(cut_points(occurrences, self.row_bits))]):
            for name, array in vars(self._sort_out_some(occurrences[start:stop])).items():
                results[name].prepend(array)
            occurrences.resize(start, refcheck=False)
        return Sorted(**{name: result.array for name, result in results.items()})

    def _sort_out_some(self, keys: Ids) -> Sorted:
        """As `_sort_out`, for keys that are all new occurrences of their n-grams."""
        ids = keys >> np.uint64(self.row_bits)
        starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
        counts = np.diff(starts, append=len(ids))
        ids = ids[starts]
        if not len(self.vocabulary):
            return self._promoted(keys, ids, counts)
        columns = self._columns_of(ids)
        is_known = columns >= 0
        is_known_key = np.repeat(is_known, counts)
        fresh = self._promoted(keys[~is_known_key], ids[~is_known], counts[~is_known])
        return replace(
            fresh,
            known_rows=self._rows(keys[is_known_key]),
            known_columns=np.repeat(columns[is_known], counts[is_known]),
        )

    def _columns_of(self, ids: Ids) -> NDArray[np.int32]:
        """The columns of ascending ids; -1 where there is none.

        Looks up the long vocabulary among the few ids, not the other way round, so that no index
        of the vocabulary is needed. Most of the vocabulary has other top bits than all ids.
        """
        columns = np.full(len(ids), -1, np.int32)
        top_bits = min(self.bits, len(ids).bit_length() + 2)
        shift = np.uint64(self.bits - top_bits)
        has_same_top_bits = np.zeros(1 << top_bits, np.bool_)
        has_same_top_bits[ids >> shift] = True
        near = np.flatnonzero(has_same_top_bits.take((self.vocabulary >> shift).view(np.int64)))
        at, is_there = FingerprintIndex(ids, self.bits).find(self.vocabulary[near])
        columns[at[is_there]] = near[is_there]
        return columns

    def _promoted(self, keys: Ids, ids: Ids, counts: Counts) -> Sorted:
        """Which n-grams without a column get one now; earlier rare occurrences count, too."""
        rare = self.rare.in_order()
        starts, earlier = self._rare_before(rare, ids)
        is_promoted = earlier + counts >= self.min_df
        is_promoted_key = np.repeat(is_promoted, counts)
        moved = ranges(starts[is_promoted], earlier[is_promoted])
        occurrences = keys[is_promoted_key]
        if len(moved):
            occurrences = np.sort(np.concatenate([rare[moved], occurrences]))
        counts = (earlier + counts)[is_promoted]
        rows = self._rows(occurrences)
        return Sorted(
            ids=ids[is_promoted],
            counts=counts,
            rows=rows,
            births=rows[bounds_of(counts)[:-1] + self.min_df - 1],
            moved=moved,
            rare=keys[~is_promoted_key],
        )

    def _rare_before(self, rare: Ids, ids: Ids) -> tuple[NDArray[np.intp], Counts]:
        """Where the rare occurrences of ascending ids begin, and their numbers."""
        starts = np.searchsorted(rare, ids << np.uint64(self.row_bits))
        counts = np.zeros(len(ids), np.int64)
        if len(rare):
            for place in range(self.min_df - 1):  # with more, they would not be rare
                at = rare.take(starts + place, mode="clip")
                counts += (starts + place < len(rare)) & (at >> np.uint64(self.row_bits) == ids)
        return starts, counts

    def _rows(self, keys: Ids) -> Rows:
        return (keys & np.uint64((1 << self.row_bits) - 1)).astype(np.int32)

    def _joined(self, occurrences: Sorted, new_reviews: int) -> Corpus:
        occurrences = occurrences.by_birth()
        columns, lengths = self._merged_marks(self._new_marks(occurrences, new_reviews))
        return Corpus(
            vocabulary=np.concatenate([self.vocabulary, occurrences.ids]),
            columns=columns,
            lengths=lengths,
            rare=Rare(self.rare.in_order(), occurrences.moved, occurrences.rare),
            min_df=self.min_df,
            ngram_max=self.ngram_max,
            bits=self.bits,
        )

    def _new_marks(self, occurrences: Sorted, new_reviews: int) -> sparse.csr_array:
        """The new columns of all reviews, ascending in each."""
        by_column = stable_order(occurrences.known_columns)
        known_counts = np.bincount(occurrences.known_columns, minlength=len(self.vocabulary))
        rows = occurrences.rows
        if len(by_column):
            rows = np.concatenate([occurrences.known_rows[by_column], rows])
        bounds = bounds_of(np.concatenate([known_counts, occurrences.counts]))
        marks = sparse.csc_array(
            (np.ones(len(rows), np.uint8), rows, bounds.astype(np.int32)),
            shape=(len(self) + new_reviews, len(bounds) - 1),
        )
        return marks.tocsr()

    def _merged_marks(self, marks: sparse.csr_array) -> tuple[NDArray[np.int32], Rows]:
        """Append new marks to those of the same review: new columns have higher numbers."""
        added = np.diff(marks.indptr)
        if not len(self):
            return marks.indices, added
        late = added[: len(self)]  # an old review gets an n-gram that was rare until now
        gained = bounds_of(late)
        ends = bounds_of(self.lengths)[1:]
        columns = np.empty(len(self.columns) + len(marks.indices), np.int32)
        columns[len(self.columns) + gained[-1] :] = marks.indices[gained[-1] :]
        columns[np.repeat(ends, late) + np.arange(gained[-1])] = marks.indices[: gained[-1]]
        gainers = np.flatnonzero(late)
        cuts = [0, *ends[gainers].tolist(), len(self.columns)]
        shifts = [0, *gained[1:][gainers].tolist()]
        for (start, stop), shift in zip(pairwise(cuts), shifts, strict=True):
            columns[start + shift : stop + shift] = self.columns[start:stop]
        return columns, np.concatenate([self.lengths + late, added[len(self) :]])
