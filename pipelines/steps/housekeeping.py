"""The steps of `sentiment_housekeeping`: say what is no longer needed, then delete it."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from pipelines.steps.context import open_loop, settings_of

if TYPE_CHECKING:
    from pipelines.records.housekeeping import Doomed, Housekeeping

logger = logging.getLogger(__name__)


def plan_housekeeping() -> list[Doomed]:
    """What would be deleted now; nothing is changed."""
    from pipelines.registry import housekeeping

    loop, settings = open_loop("housekeeping"), settings_of()
    return housekeeping.plan(
        loop.reviews, loop.registries(), settings.retention,
        sources=[settings.of(name).model.sources for name in settings.model_names],
    )  # fmt: skip


def count_deletable() -> dict[str, int]:
    """How many objects would be deleted now, by reason; each is in the log."""
    doomed = plan_housekeeping()
    for each in doomed:
        logger.info("bucket=%s key=%s would be deleted: %s", each.bucket, each.key, each.why)
    return dict(Counter(each.why for each in doomed))


def tidy_up(actor: str) -> str | None:
    """Delete what is no longer needed; returns the URI of the record of it, None for nothing."""
    from pipelines.registry import housekeeping

    loop, doomed = open_loop("housekeeping"), plan_housekeeping()
    record = housekeeping.apply(loop.reviews, loop.registries(), doomed, actor=actor)
    return loop.reviews.uri(record.object_key) if record is not None else None


def read_housekeeping(uri: str) -> Housekeeping:
    """What one run deleted."""
    from pipelines.records.housekeeping import Housekeeping

    loop = open_loop("housekeeping")
    return loop.reviews.get_record(loop.key(uri), Housekeeping)
