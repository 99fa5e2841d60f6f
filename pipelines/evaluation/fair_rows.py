"""Select rows for a fair comparison: no model was trained on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import StalePlanError
from pipelines.core.store.bucket import Bucket
from pipelines.evaluation.metrics import Mask
from pipelines.features.signatures import COPIED_SHARE, near_known
from pipelines.intake.snapshot import pinned
from pipelines.records.succession import LogEntry
from pipelines.records.versions import Manifest
from pipelines.registry.registry import Registry
from pipelines.training.dataset import Dataset, Loader, Rows, ids_digest


@dataclass(frozen=True)
class Opponents:
    """Whom the challenger is compared with; either all are set, or none."""

    entry: LogEntry | None
    champion: Manifest | None
    reference: Manifest | None


def find_opponents(registry: Registry) -> Opponents:
    entry = registry.log.champion()
    if entry is None:
        return Opponents(None, None, None)
    return Opponents(
        entry,
        registry.versions.champion_manifest(entry),
        registry.versions.reference_manifest(entry),
    )


def check_split(dataset: Dataset, manifest: Manifest) -> None:
    """Check that the held out rows are the ones that were held out in training."""
    if ids_digest(dataset.text_id[dataset.training_rows]) != manifest.training_digest:
        raise StalePlanError(
            f"version {manifest.version} cannot be evaluated: the split was changed after it was "
            "trained, so the holdout may contain reviews it was trained on. "
            "Start a new run: python -m pipelines retrain"
        )


# Which rows are fair


@dataclass(frozen=True, eq=False)
class Signed:
    """The signatures of both sides of a split, uint16 of shape (n_reviews, 32)."""

    held_out: NDArray[np.uint16]
    trained_on: NDArray[np.uint16]


@dataclass(frozen=True)
class Fair:
    """The rows to score, and how many were left out for which reason."""

    rows: Rows
    overlap_rows: int
    seen_rows: int


def fair_rows(dataset: Dataset, signed: Signed, seen: Iterable[NDArray[np.bytes_]]) -> Fair:
    """The held out rows that none of the models was trained on.

    A film never changes side, but the settings of the split may change, and a text may occur again
    under another film.
    """
    held = dataset.holdout_rows
    rows = unseen = held[~_copies(dataset, signed)]
    for text_ids in seen:
        rows = rows[~np.isin(dataset.text_id[rows], text_ids)]
    return Fair(rows, overlap_rows=len(held) - len(unseen), seen_rows=len(unseen) - len(rows))


def _copies(dataset: Dataset, signed: Signed) -> Mask:
    """Which held out rows are copies, exact or nearly, of training rows."""
    held, trained = dataset.holdout_rows, dataset.training_rows
    is_copy: Mask = np.isin(dataset.text_id[held], dataset.text_id[trained])
    return is_copy | near_known(signed.held_out, signed.trained_on, similar_share=COPIED_SHARE)


def seen_in_training(
    loader: Loader, reviews: Bucket, opponents: Opponents
) -> Iterator[NDArray[np.bytes_]]:
    """The text ids that champion and reference were trained on."""
    older = {old.version: old for old in (opponents.champion, opponents.reference) if old}
    for manifest in older.values():
        dataset = loader.load(pinned(reviews, manifest.plan))
        trained_on = dataset.text_id[dataset.training_rows]
        is_split_alike = ids_digest(trained_on) == manifest.training_digest
        # It was split by other code, so it may have been trained on any review.
        yield trained_on if is_split_alike else dataset.text_id


def newest_mask(nights: NDArray[np.str_], enough_rows: int) -> Mask:
    """The reviews of the newest nights: as many whole nights as it takes to have enough.

    Parameters
    ----------
    nights : ndarray of str, shape (n_reviews,)
        ``YYYY-MM-DD`` per review.
    enough_rows : int
        How many reviews are enough; all of them are taken when there are fewer.
    """
    names, rows = np.unique(nights, return_counts=True)
    so_far = np.cumsum(rows[::-1])
    taken = int(np.searchsorted(so_far, enough_rows)) + 1
    newest: Mask = np.isin(nights, names[::-1][:taken])
    return newest
