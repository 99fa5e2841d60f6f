"""Pin which accepted reviews a model may use. A snapshot is named by its digest."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from datetime import timedelta

from pipelines.core.errors import NoReviewsError, ObjectMissingError, TrustError
from pipelines.core.keys import snapshot_key
from pipelines.core.settings.data import SplitSettings
from pipelines.core.store import clock
from pipelines.core.store.bucket import Bucket
from pipelines.intake import standings
from pipelines.intake.standings import Standing
from pipelines.records.data import Snapshot
from pipelines.records.versions import Plan

logger = logging.getLogger(__name__)

_YOUNG = timedelta(days=1)


def pinned(reviews: Bucket, plan: Plan) -> Snapshot:
    """The snapshot that a plan was made from."""
    return reviews.get_record(snapshot_key(plan.snapshot), Snapshot)


def check_nothing_lost(standings: Iterable[Standing], before: Snapshot | None) -> None:
    """Check that the ledger still has every row that the champion was trained on.

    The ledger only grows, so a missing entry was removed.

    Raises
    ------
    TrustError
        If the ledger no longer names a partition.
    """
    counted = {part.key for standing in standings for part in standing.accepted}
    lost = [part.key for part in before.partitions if part.key not in counted] if before else []
    if lost:
        raise TrustError(
            f"the ledger has lost entries: no delivery names {len(lost)} partitions that the "
            f"champion was trained on, the first is {lost[0]}. Nothing is trained or validated "
            "with the rest. Find out who removed them: python -m pipelines champion fsck"
        )


def take(
    reviews: Bucket,
    split: SplitSettings,
    *,
    before: Snapshot | None = None,
    sources: Collection[str] = (),
) -> Snapshot:
    """Pin every partition that counts; the same ledger gives the same snapshot.

    Parameters
    ----------
    reviews : Bucket
        Where the ledger is.
    split : SplitSettings
        How rows are held out.
    before : Snapshot, optional
        What the champion was trained on; all of it must still be in the ledger.
    sources : collection of str
        Whose reviews are pinned; empty for all.

    Raises
    ------
    NoReviewsError
        If no delivery of these sources was ever accepted.
    TrustError
        If an entry of the ledger is not authentic, or was removed.
    """
    every = standings.every(reviews)
    check_nothing_lost(every, before)
    accepted = {
        part.key: part
        for standing in standings.of_sources(every, sources)
        for part in standing.accepted
    }
    if not accepted:
        of = f" of the sources {', '.join(sources)}" if sources else ""
        raise NoReviewsError(
            f"no accepted reviews{of} in bucket {reviews.name!r}: nothing to train on. "
            "Put deliveries under landing/ and run: python -m pipelines ingest"
        )
    partitions = tuple(accepted[key] for key in sorted(accepted))
    snapshot = Snapshot(
        partitions=partitions,
        rows=sum(partition.rows for partition in partitions),
        holdout_share=split.holdout_share,
        selection_share=split.selection_share,
        salt=split.salt,
    )
    reviews.put_record(snapshot)
    _keep_young(reviews, snapshot)
    logger.info(
        "snapshot=%s partitions=%d rows=%d", snapshot.object_key, len(partitions), snapshot.rows
    )
    return snapshot


def _keep_young(reviews: Bucket, snapshot: Snapshot) -> None:
    """Store an old snapshot again, byte for byte: housekeeping deletes old ones without a plan."""
    key = snapshot.object_key
    moments = [info.moment for info in reviews.list(key) if info.moment is not None]
    if any(clock.now(reviews) - moment > _YOUNG for moment in moments):
        try:
            reviews.put(key, reviews.get(key))
        except ObjectMissingError:
            reviews.put_record(snapshot)
