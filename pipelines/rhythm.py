"""Which sources are overdue: a night without files is fine, a source that fell silent is not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import date, timedelta

from pipelines import standings
from pipelines.config import SourceSettings
from pipelines.deliveries import summarize
from pipelines.errors import TrustError
from pipelines.records import MissingDelivery, NightSummary
from pipelines.store import Bucket

logger = logging.getLogger(__name__)


def night_summary(
    reviews: Bucket, night: str, sources: Mapping[str, SourceSettings], *, skips_torn: bool = False
) -> NightSummary:
    """What a night brought, and which sources were overdue; the latter is recorded, too."""
    summary = summarize(reviews, night, skips_torn=skips_torn)
    missing = tuple(_recorded(reviews, one) for one in overdue(reviews, night, sources))
    if not missing:
        return summary
    is_empty = summary.status == "NO_NEW_DATA"
    status = "MISSING_DELIVERY" if is_empty else summary.status
    return summary.model_copy(update={"missing": missing, "status": status})


def overdue(
    reviews: Bucket, night: str, sources: Mapping[str, SourceSettings]
) -> list[MissingDelivery]:
    """Sources of which nothing came within their rhythm, this night included.

    A held delivery is a delivery: something came. Before its first one a source is not overdue,
    but one that never delivered at all is.
    """
    if not sources:
        return []
    days: dict[str, list[str]] = {}
    for one in standings.every(reviews, skips_torn=True):
        days.setdefault(one.outcome.source, []).append(one.outcome.night)
    found = []
    for source, settings in sorted(sources.items()):
        every = days.get(source, [])
        last = max((day for day in every if day <= night), default=None)
        if every and last is None:
            continue  # an older night than its first
        first = date.fromisoformat(night) - timedelta(days=settings.expected_every_days - 1)
        if last is None or last < first.isoformat():
            found.append(
                MissingDelivery(
                    night=night,
                    source=source,
                    expected_every_days=settings.expected_every_days,
                    last_delivered_for=last,
                )
            )
    return found


def _recorded(reviews: Bucket, missing: MissingDelivery) -> MissingDelivery:
    """The first record of a night stands; the file may come late and make it history."""
    logger.warning(
        "night=%s source=%s is overdue: last=%s",
        missing.night, missing.source, missing.last_delivered_for,
    )  # fmt: skip
    try:
        return reviews.put_first(missing)
    except TrustError as error:  # the source is overdue all the same
        logger.warning("what was recorded of source=%s is lost: %s", missing.source, error)
        return missing


def sentence(missing: MissingDelivery) -> str:
    last = missing.last_delivered_for or "never"
    return (
        f"source {missing.source!r} is overdue: expected every {missing.expected_every_days} days, "
        f"last delivered for: {last}"
    )
