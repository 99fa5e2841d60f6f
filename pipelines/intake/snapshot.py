"""Pin which accepted reviews a model may see. A snapshot is named by its own bytes."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from pipelines.core.errors import NoReviewsError, TrustError
from pipelines.core.keys import snapshot_key
from pipelines.core.settings import SplitSettings
from pipelines.core.store.bucket import Bucket
from pipelines.intake import standings
from pipelines.intake.standings import Standing
from pipelines.records.data import Snapshot
from pipelines.records.versions import Plan

logger = logging.getLogger(__name__)


def pinned(reviews: Bucket, plan: Plan) -> Snapshot:
    """The very snapshot that a plan was made of."""
    return reviews.get_record(snapshot_key(plan.snapshot), Snapshot)


def check_nothing_lost(standings: Iterable[Standing], before: Snapshot | None) -> None:
    """Check that the ledger still has every row that the champion was trained on.

    The ledger only grows, so an entry that was there and is gone was taken away.

    Raises
    ------
    TrustError
        If a partition is no longer named by it.
    """
    counted = {part.key for standing in standings for part in standing.accepted}
    lost = [part.key for part in before.partitions if part.key not in counted] if before else []
    if lost:
        raise TrustError(
            f"the ledger has lost entries: {len(lost)} partitions that the champion was trained on "
            f"are named by no delivery any more, the first is {lost[0]}. Nothing is learned or "
            "judged from what is left. Find out who took them away: "
            "python -m pipelines champion fsck"
        )


def take(reviews: Bucket, split: SplitSettings, *, before: Snapshot | None = None) -> Snapshot:
    """Pin every partition that the ledger says counts; the same ledger gives the same snapshot.

    Parameters
    ----------
    reviews : Bucket
        Where the ledger is.
    split : SplitSettings
        How rows are held out.
    before : Snapshot, optional
        What the champion was trained on. It must all be there still.

    Raises
    ------
    NoReviewsError
        If no delivery was ever accepted.
    TrustError
        If an entry of the ledger is not proven to be one, or was taken away.
    """
    every = standings.every(reviews)
    check_nothing_lost(every, before)
    accepted = {partition.key: partition for one in every for partition in one.accepted}
    if not accepted:
        raise NoReviewsError(
            f"no accepted reviews in bucket {reviews.name!r}: nothing to train on. "
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
    logger.info(
        "snapshot=%s partitions=%d rows=%d", snapshot.object_key, len(partitions), snapshot.rows
    )
    return snapshot
