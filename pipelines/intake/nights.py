"""Which sources are overdue: a night without files is fine, a source that fell silent is not."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta

from pipelines.core.errors import ObjectMissingError, TrustError
from pipelines.core.escaping import visible
from pipelines.core.keys import RECEIPTS
from pipelines.core.settings import SourceSettings
from pipelines.core.store.bucket import Bucket
from pipelines.intake import landing, standings
from pipelines.intake.landing import checked_night
from pipelines.records.deliveries import MissingDelivery, NightSummary, Receipt

logger = logging.getLogger(__name__)

MOST_NAMED = 20  # files that a summary names, so that it stays short whatever lands


def night_summary(
    reviews: Bucket, night: str, sources: Mapping[str, SourceSettings]
) -> NightSummary:
    """What a night brought and left alone, and which sources were overdue.

    The latter is recorded, too. A receipt that cannot be read is named and not counted.
    """
    summary = summarize(reviews, night, skips_torn=True)
    missing = tuple(_recorded(reviews, one) for one in overdue(reviews, night, sources))
    aside = landing.set_aside(reviews, night)
    for one in aside[:MOST_NAMED]:
        logger.log(
            logging.WARNING if one.needs_person else logging.INFO,
            "night=%s set_aside=%s %s", night, one.landing_key, one.why,
        )  # fmt: skip
    is_empty = missing and summary.status == "NO_NEW_DATA"
    return summary.model_copy(update={
        "missing": missing,
        "status": "MISSING_DELIVERY" if is_empty else summary.status,
        "set_aside": tuple(aside[:MOST_NAMED]),
        "set_aside_deliveries": len(aside),
        "unreadable": tuple(_unreadable(reviews, night, summary.receipts)),
    })  # fmt: skip


def _unreadable(reviews: Bucket, night: str, receipts: Sequence[Receipt]) -> list[str]:
    """Keys below the night's receipts where no receipt of that name was read."""
    known = {one.object_key for one in receipts}
    listed = (info.key for info in reviews.list(f"{RECEIPTS}{night}/"))
    return [visible(key) for key in listed if key not in known][:MOST_NAMED]


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
    except (TrustError, ObjectMissingError) as error:  # the source is overdue all the same
        logger.warning("what was recorded of source=%s is lost: %s", missing.source, error)
        return missing


def sentence(missing: MissingDelivery) -> str:
    last = missing.last_delivered_for or "never"
    return (
        f"source {missing.source!r} is overdue: expected every {missing.expected_every_days} days, "
        f"last delivered for: {last}"
    )


def _receipts(reviews: Bucket, night: str, *, skips_torn: bool) -> Iterator[Receipt]:
    for info in reviews.list(f"{RECEIPTS}{night}/"):
        try:
            yield reviews.get_record(info.key, Receipt)
        except (TrustError, ObjectMissingError) as error:
            if not skips_torn:
                raise
            logger.warning("night=%s is summed up without a receipt: %s", night, error)


def summarize(reviews: Bucket, night: str, *, skips_torn: bool = False) -> NightSummary:
    """What a night brought, counted from its receipts alone.

    Parameters
    ----------
    reviews : Bucket
        Where the receipts are.
    night : str
        ``YYYY-MM-DD``.
    skips_torn : bool
        Leave out, with a warning, what cannot be read: for those who must tell the others.

    Raises
    ------
    TrustError
        If a receipt cannot be read, unless it is to be left out.
    """
    checked_night(night)
    receipts = sorted(
        _receipts(reviews, night, skips_torn=skips_torn), key=lambda receipt: receipt.landing_key
    )
    held = sum(receipt.verdict == "HELD" for receipt in receipts)
    accepted_rows = sum(receipt.accepted_rows for receipt in receipts)
    return NightSummary(
        night=night,
        status="NEW_REVIEWS" if accepted_rows else "ALL_HELD" if held else "NO_NEW_DATA",
        deliveries=len(receipts),
        held_deliveries=held,
        duplicate_deliveries=sum(receipt.verdict == "DUPLICATE" for receipt in receipts),
        delivered_rows=sum(receipt.delivered_rows for receipt in receipts),
        accepted_rows=accepted_rows,
        quarantined_rows=sum(receipt.quarantined_rows for receipt in receipts),
        held_rows=sum(receipt.held_rows for receipt in receipts),
        receipts=tuple(receipts),
    )
