"""The rows on which models can be compared fairly: none was trained on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import StalePlanError
from pipelines.core.store.bucket import Bucket
from pipelines.evaluation.leakage import Sketched, near_copies
from pipelines.evaluation.metrics import Mask
from pipelines.intake.snapshot import pinned
from pipelines.records.succession import LogEntry
from pipelines.records.versions import Manifest
from pipelines.registry.registry import Registry
from pipelines.training.dataset import Dataset, Loader, Rows, ids_digest

OVERLAP_FINGERPRINTS = (3, 40), (2, 40)  # tokens of the longest n-gram, bits


@dataclass(frozen=True)
class Opponents:
    """Who the challenger is compared with: all of them, or none."""

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
    """The rows that are held out here must be those that were held out in training."""
    if ids_digest(dataset.text_id[dataset.training_rows]) != manifest.training_digest:
        raise StalePlanError(
            f"version {manifest.version} was trained on other reviews than this code would train "
            "on: the split was changed since, so its holdout would flatter it. "
            "Start a new run: python -m pipelines retrain"
        )


# Which rows are fair


@dataclass(frozen=True)
class Fair:
    """The rows to score on, and how many were left out, for which reason."""

    rows: Rows
    overlap_rows: int
    seen_rows: int


def fair_rows(dataset: Dataset, found: Sketched, seen: Iterable[NDArray[np.bytes_]]) -> Fair:
    """The held out rows that none of the models was trained on.

    A film never changes side, but the settings of the split may, and a text may turn up again
    under another film.
    """
    held = dataset.holdout_rows
    rows = unseen = held[~_copies(dataset, found)]
    for text_ids in seen:
        rows = rows[~np.isin(dataset.text_id[rows], text_ids)]
    return Fair(rows, overlap_rows=len(held) - len(unseen), seen_rows=len(unseen) - len(rows))


def _copies(dataset: Dataset, found: Sketched) -> Mask:
    """Held out rows that are, word for word or nearly, among those trained on."""
    held, trained = dataset.holdout_rows, dataset.training_rows
    is_copy: Mask = np.isin(dataset.text_id[held], dataset.text_id[trained])
    return is_copy | near_copies(found.held_out, found.trained_on)


def seen_in_training(
    loader: Loader, reviews: Bucket, opponents: Opponents
) -> Iterator[NDArray[np.bytes_]]:
    """The text ids that champion and reference were trained on."""
    older = {one.version: one for one in (opponents.champion, opponents.reference) if one}
    for manifest in older.values():
        dataset = loader.load(pinned(reviews, manifest.plan))
        trained_on = dataset.text_id[dataset.training_rows]
        is_split_alike = ids_digest(trained_on) == manifest.training_digest
        # Split by other code: it may have been trained on any of them.
        yield trained_on if is_split_alike else dataset.text_id


def newest_mask(nights: NDArray[np.str_], wanted_rows: int) -> Mask:
    """The reviews of the newest nights: as many whole nights as it takes to have enough.

    Parameters
    ----------
    nights : ndarray of str, shape (n_reviews,)
        ``YYYY-MM-DD`` per review.
    wanted_rows : int
        How many reviews are enough; all of them are taken when there are fewer.
    """
    names, rows = np.unique(nights, return_counts=True)
    so_far = np.cumsum(rows[::-1])
    taken = int(np.searchsorted(so_far, wanted_rows)) + 1
    newest: Mask = np.isin(nights, names[::-1][:taken])
    return newest
