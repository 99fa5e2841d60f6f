"""The rows of a snapshot, split into training and holdout, with their texts and fingerprints."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.core.errors import ConfigError
from pipelines.core.record import sha256_of
from pipelines.core.store.bucket import Bucket
from pipelines.features.corpus import Corpus
from pipelines.features.fingerprint_cache import pack_fingerprints
from pipelines.features.fingerprints import Fingerprints
from pipelines.features.packs import Pack, packed, read_pack
from pipelines.features.views import View
from pipelines.records.data import Partition, Snapshot
from pipelines.records.versions import Plan, StarClass
from pipelines.training.identities import (
    ID_BYTES,
    NO_CLASS,
    TEXT_ID,
    Identities,
    bounds_of_parts,
)
from pipelines.training.split import fold_shares, is_holdout, is_selection

logger = logging.getLogger(__name__)

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """The distinct reviews of a snapshot, in its order.

    Attributes
    ----------
    position : ndarray of shape (n_reviews,)
        Row number among all rows of all partitions, duplicates included.
    text_id : ndarray of 32 bytes each, shape (n_reviews,)
        Digest of the normalized text.
    fold_share : ndarray of shape (n_reviews,)
        In [0, 1), by film: reviews of one film are always in the same fold.
    label : ndarray of shape (n_reviews,)
        1 positive, 0 negative; or the number of the class that the stars are in.
    is_holdout, is_selection : ndarray of shape (n_reviews,)
        Boolean, by film; never both.
    duplicate_rows : int
        Rows left out because an earlier row has the same text.
    classless_rows : int
        Rows left out because their stars are in no class of the model.
    """

    reviews: Bucket
    snapshot: Snapshot
    position: Rows
    text_id: NDArray[np.bytes_]
    fold_share: NDArray[np.float64]
    label: NDArray[np.int8]
    is_holdout: NDArray[np.bool_]
    is_selection: NDArray[np.bool_]
    duplicate_rows: int
    classless_rows: int = 0

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
        """The texts of the given ascending reviews."""
        tables = self.tables(rows, ["text"])
        return [text for table in tables for text in table.column("text").to_pylist()]

    def tables(self, rows: Rows, columns: list[str]) -> Iterator[pa.Table]:
        """Columns of the given ascending reviews, pack by pack."""
        for pack, _, local in self.by_pack(rows):
            yield read_pack(self.reviews, pack, columns).take(pa.array(local))

    def nights(self, rows: Rows) -> NDArray[np.str_]:
        """The day each of the given reviews was delivered for, ``YYYY-MM-DD``."""
        nights = np.array([partition.night for partition in self.snapshot.partitions])
        return nights[self._partition_of(self.position[rows])]

    @cached_property
    def _bounds(self) -> NDArray[np.int64]:
        """Position of the first row of each partition, and the end of the last."""
        return bounds_of_parts(self.snapshot.partitions)

    @cached_property
    def _packs(self) -> list[Pack]:
        return list(packed(self.snapshot.partitions))

    def _partition_of(self, position: Rows) -> NDArray[np.intp]:
        """The partition of each row; empty partitions are skipped."""
        return np.searchsorted(self._bounds, position, side="right") - 1

    def fingerprints_by_pack(self, rows: Rows, view: View) -> Iterator[tuple[Rows, Fingerprints]]:
        """The fingerprints of the given ascending reviews, pack by pack.

        Yields
        ------
        rows, fingerprints : ndarray, Fingerprints
            The reviews that lie in the next pack, and their fingerprints.
        """
        for pack, mine, local in self.by_pack(rows):
            yield mine, pack_fingerprints(self.reviews, pack, view).take(local)

    def by_partition(self, rows: Rows) -> Iterator[Rows]:
        """The given ascending reviews, partition by partition."""
        for _, mine in self._cut(rows, self._bounds):
            yield mine

    def by_pack(self, rows: Rows) -> Iterator[tuple[Pack, Rows, Rows]]:
        """Packs that contain given reviews, these reviews, and their rows in the pack."""
        bounds = bounds_of_parts(self._packs)
        for number, mine in self._cut(rows, bounds):
            yield self._packs[number], mine, self.position[mine] - bounds[number]

    def _cut(self, rows: Rows, bounds: NDArray[np.int64]) -> Iterator[tuple[int, Rows]]:
        """The given reviews of each stretch of positions that has some, and its number.

        Raises
        ------
        ValueError
            If the reviews do not ascend.
        """
        if (np.diff(rows) <= 0).any():
            raise ValueError("reviews are read in the order of the snapshot: sort the rows")
        cuts = np.searchsorted(self.position[rows], bounds)
        for number in np.flatnonzero(np.diff(cuts)).tolist():
            yield number, rows[cuts[number] : cuts[number + 1]]

    def corpus(self, rows: Rows, view: View, *, min_df: int) -> Corpus:
        """The corpus of the given ascending reviews; one pack is read after the other."""
        parts = (part for _, part in self.fingerprints_by_pack(rows, view))
        return Corpus.of(parts, view, min_df=min_df)

    def fingerprints(self, rows: Rows, view: View) -> Fingerprints:
        """The fingerprints of the given ascending reviews."""
        parts = (part for _, part in self.fingerprints_by_pack(rows, view))
        return Fingerprints.concat([Fingerprints.nothing(view), *parts])

    def locate(self, row: int) -> tuple[str, int]:
        """The digest of a review's partition, and the row number in it."""
        position = self.position[row]
        number = int(self._partition_of(position))
        return self.snapshot.partitions[number].sha256, int(position - self._bounds[number])


def ids_digest(text_ids: NDArray[np.bytes_]) -> str:
    """sha256 of a set of text ids, sorted, in hex, one per line."""
    return sha256_of(np.sort(text_ids).tobytes().hex("\n", ID_BYTES).encode())


class Loader:
    """Loads snapshots; a partition that several of them share is read once.

    Parameters
    ----------
    reviews : Bucket
        Where the partitions are.
    classes : tuple of StarClass
        What the labels are; without any, those that were delivered.
    """

    def __init__(self, reviews: Bucket, classes: tuple[StarClass, ...] = ()) -> None:
        self._reviews, self._classes = reviews, classes
        self._identities: dict[Partition, Identities] = {}

    def load(self, snapshot: Snapshot) -> Dataset:
        """As `load_dataset`."""
        for pack in packed(snapshot.partitions):
            if not self._identities.keys() >= set(pack.partitions):
                self._identities |= zip(
                    pack.partitions,
                    Identities.read(self._reviews, pack, self._classes),
                    strict=True,
                )
        parts = [self._identities[partition] for partition in snapshot.partitions]
        return _split(self._reviews, snapshot, parts)


def load_dataset(
    reviews: Bucket, snapshot: Snapshot, classes: tuple[StarClass, ...] = ()
) -> Dataset:
    """Read ids, films and labels of a snapshot and split them.

    A text that occurs more than once counts once, at its first occurrence, so the same text is
    never on both sides of the split. Rows that are in no class are left out.
    """
    return Loader(reviews, classes).load(snapshot)


def check_same_classes(plan: Plan, other: Plan) -> None:
    """Refuse to compare models that answer with other classes.

    Raises
    ------
    ConfigError
        If the other one, champion or reference, has others.
    """
    if other.classes != plan.classes:
        raise ConfigError(
            f"version {plan.version} answers with {_named(plan)}, and version {other.version} of "
            f"model {plan.model_name} with {_named(other)}, so they cannot be compared. "
            "A model with other classes needs another name: [model] name"
        )


def _named(plan: Plan) -> str:
    stars = [f"{one.name} ({one.low} to {one.high} stars)" for one in plan.classes]
    return ", ".join(stars or plan.class_names)


def _split(reviews: Bucket, snapshot: Snapshot, parts: Sequence[Identities]) -> Dataset:
    text_id = np.concatenate([np.empty(0, TEXT_ID), *(part.text_id for part in parts)])
    label = np.concatenate([np.empty(0, np.int8), *(part.label for part in parts)])
    names = pa.chunked_array([part.film for part in parts], pa.string()).combine_chunks()
    encoded = names.dictionary_encode()
    rows_left, classless_rows = text_id, 0
    if (label == NO_CLASS).any():
        in_class = np.flatnonzero(label != NO_CLASS)
        rows_left, classless_rows = text_id[in_class], len(text_id) - len(in_class)
    _, first = np.unique(rows_left, return_index=True)
    position = np.sort(first).astype(np.int64)
    if classless_rows:
        position = in_class[position]
    film = encoded.indices.to_numpy()[position]
    films = encoded.dictionary.to_pylist()

    def split(of_film: Mapping[str, float | bool], kind: type) -> NDArray[Any]:
        of_row: NDArray[Any] = np.array([of_film[name] for name in films], kind)[film]
        return of_row

    held = is_holdout(films, share=snapshot.holdout_share, salt=snapshot.salt)
    chosen = is_selection(films, share=snapshot.selection_share, salt=snapshot.salt)
    holdout = split(held, np.bool_)
    dataset = Dataset(
        reviews=reviews,
        snapshot=snapshot,
        position=position,
        text_id=text_id[position],
        fold_share=split(fold_shares(films, salt=snapshot.salt), np.float64),
        label=label[position],
        is_holdout=holdout,
        is_selection=split(chosen, np.bool_) & ~holdout,
        duplicate_rows=len(rows_left) - len(position),
        classless_rows=classless_rows,
    )
    logger.info(
        "rows=%d distinct=%d training=%d holdout=%d classless=%d",
        len(text_id), len(position), len(dataset.training_rows), len(dataset.holdout_rows),
        classless_rows,
    )  # fmt: skip
    return dataset
