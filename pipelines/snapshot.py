"""Pin which accepted reviews a model may see. A snapshot is named by its own bytes."""

from __future__ import annotations

import logging

from pipelines import standings
from pipelines.config import SplitSettings
from pipelines.errors import NoReviewsError
from pipelines.records import Snapshot
from pipelines.store import Bucket

logger = logging.getLogger(__name__)


def take(reviews: Bucket, split: SplitSettings) -> tuple[str, Snapshot]:
    """Pin every partition that the ledger says counts.

    Returns
    -------
    key, snapshot : str, Snapshot
        The same ledger gives the same key.

    Raises
    ------
    NoReviewsError
        If no delivery was ever accepted.
    """
    accepted = {
        partition.key: partition
        for standing in standings.every(reviews)
        for partition in standing.accepted
    }
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
    key = f"snapshots/{snapshot.digest()}.json"
    reviews.put_record(key, snapshot)
    logger.info("snapshot=%s partitions=%d rows=%d", key, len(partitions), snapshot.rows)
    return key, snapshot
