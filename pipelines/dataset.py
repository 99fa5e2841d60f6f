"""The rows of a snapshot: who is trained on, who is held out, and what a model reads of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines import corpora
from pipelines.corpus import Corpus
from pipelines.features import partition_fingerprints
from pipelines.fingerprints import Fingerprints
from pipelines.identity import fold_shares, is_holdout, is_selection
from pipelines.partitions import read_partition
from pipelines.records import Partition, Snapshot, sha256_of
from pipelines.slices import Described
from pipelines.store import Bucket

logger = logging.getLogger(__name__)

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """The distinct reviews of a snapshot, in its order.

    Attributes
    ----------
    position : ndarray of shape (n_reviews,)
        Row number among all rows of all partitions, duplicates included.
    text_id : ndarray of shape (n_reviews,)
        Hex digest of the normalized text.
    fold_share : ndarray of shape (n_reviews,)
        In [0, 1), by film: reviews of one film are never in different folds.
    label : ndarray of shape (n_reviews,)
        1 positive, 0 negative.
    is_holdout, is_selection : ndarray of shape (n_reviews,)
        Boolean, by film; never both.
    duplicate_rows : int
        Rows left out because an earlier row has the same text.
    """

    reviews: Bucket
    snapshot: Snapshot
    position: Rows
    text_id: NDArray[np.str_]
    fold_share: NDArray[np.float64]
    label: NDArray[np.int8]
    is_holdout: NDArray[np.bool_]
    is_selection: NDArray[np.bool_]
    duplicate_rows: int

    @property
    def training_rows(self) -> Rows:
        return np.flatnonzero(~self.is_holdout)

    @property
    def holdout_rows(self) -> Rows:
        return np.flatnonzero(self.is_holdout)

    def folds(self, count: int) -> NDArray[np.int64]:
        """Fold of each review by film, 0 to ``count - 1``, shape (n_reviews,)."""
        return (self.fold_share * count).astype(np.int64)

    def texts(self, rows: Rows) -> list[str]:
        """The texts of the given reviews, in the given order."""
        texts: list[str] = self._columns(rows, ["text"]).column("text").to_pylist()
        return texts

    def described(self, rows: Rows) -> Described:
        """Text, stars and source of the given reviews, for cutting slices."""
        columns = ["text", "rating", "source"]
        table = self._columns(rows, columns)
        return Described(*(table.column(name).to_pylist() for name in columns))

    def _columns(self, rows: Rows, columns: list[str]) -> pa.Table:
        tables = [
            read_partition(self.reviews, partition, columns=columns)
            for partition in self.snapshot.partitions
        ]
        return pa.concat_tables(tables).combine_chunks().take(pa.array(self.position[rows]))

    def nights(self, rows: Rows) -> NDArray[np.str_]:
        """The day each of the given reviews was delivered for, ``YYYY-MM-DD``."""
        partitions = self.snapshot.partitions
        ends = np.cumsum([partition.rows for partition in partitions])
        nights = np.array([partition.night for partition in partitions])
        return nights[np.searchsorted(ends, self.position[rows], side="right")]

    def fingerprints_by_partition(
        self, rows: Rows, *, ngram_max: int, bits: int
    ) -> Iterator[tuple[Rows, Fingerprints]]:
        """The fingerprints of the given reviews, partition by partition, in the snapshot's order.

        Yields
        ------
        rows, fingerprints : ndarray, Fingerprints
            The reviews that lie in the next partition, ascending, and their fingerprints.
        """
        for partition, mine, local in self._by_partition(np.sort(rows)):
            found = partition_fingerprints(self.reviews, partition, ngram_max=ngram_max, bits=bits)
            yield mine, found.take(local)

    def _by_partition(self, rows: Rows) -> Iterator[tuple[Partition, Rows, Rows]]:
        """Partitions with the given ascending reviews in them, and their rows inside of it."""
        start = 0
        for partition in self.snapshot.partitions:
            low, high = np.searchsorted(self.position[rows], [start, start + partition.rows])
            mine = rows[low:high]
            if len(mine):
                yield partition, mine, self.position[mine] - start
            start += partition.rows

    def corpus(self, rows: Rows, *, min_df: int, ngram_max: int, bits: int) -> Corpus:
        """Which of the given ascending reviews contains which n-gram; yesterday's is extended."""
        parts = [(partition, local) for partition, _, local in self._by_partition(rows)]
        return corpora.grown(self.reviews, parts, min_df=min_df, ngram_max=ngram_max, bits=bits)

    def fingerprints(self, rows: Rows, *, ngram_max: int, bits: int) -> Fingerprints:
        """The fingerprints of the given reviews, in the given order."""
        nothing = Fingerprints(np.empty(0, np.uint64), np.empty(0, np.int64), ngram_max, bits)
        parts = self.fingerprints_by_partition(rows, ngram_max=ngram_max, bits=bits)
        ascending = Fingerprints.concat([nothing, *(found for _, found in parts)])
        if (np.diff(rows) >= 0).all():
            return ascending
        return ascending.take(np.argsort(np.argsort(rows, kind="stable"), kind="stable"))

    def locate(self, row: int) -> tuple[str, int]:
        """Partition digest and row number inside it of one review."""
        position = int(self.position[row])
        for partition in self.snapshot.partitions:
            if position < partition.rows:
                return partition.sha256, position
            position -= partition.rows
        raise IndexError(row)


def ids_digest(text_ids: Sequence[str] | NDArray[np.str_]) -> str:
    """sha256 over a set of text ids, whatever their order."""
    return sha256_of("\n".join(sorted(str(identity) for identity in text_ids)).encode())


def load_dataset(reviews: Bucket, snapshot: Snapshot) -> Dataset:
    """Read ids, films and labels of a snapshot and split them.

    A text that occurs more than once counts once, where it first occurs: so the same text is
    never on both sides of the split.
    """
    columns = ["text_id", "movie_id", "label"]
    tables = [read_partition(reviews, part, columns=columns) for part in snapshot.partitions]
    table = pa.concat_tables(tables)
    text_id = np.asarray(table.column("text_id").to_pylist(), dtype=np.str_)
    _, first = np.unique(text_id, return_index=True)
    position = np.sort(first).astype(np.int64)
    split_by = [
        movie or text
        for movie, text in zip(table.column("movie_id").to_pylist(), text_id.tolist(), strict=True)
    ]
    keys = [split_by[row] for row in position]
    held = is_holdout(keys, share=snapshot.holdout_share, salt=snapshot.salt)
    chosen = is_selection(keys, share=snapshot.selection_share, salt=snapshot.salt)
    shares = fold_shares(keys, salt=snapshot.salt)
    dataset = Dataset(
        reviews=reviews,
        snapshot=snapshot,
        position=position,
        text_id=text_id[position],
        fold_share=np.array([shares[key] for key in keys]),
        label=table.column("label").to_numpy().astype(np.int8)[position],
        is_holdout=np.array([held[key] for key in keys], dtype=np.bool_),
        is_selection=np.array([chosen[key] and not held[key] for key in keys], dtype=np.bool_),
        duplicate_rows=len(text_id) - len(position),
    )
    logger.info(
        "rows=%d distinct=%d training=%d holdout=%d",
        len(text_id), len(position), len(dataset.training_rows), len(dataset.holdout_rows),
    )  # fmt: skip
    return dataset
