"""Sources that fell silent: one incident per silence, settled when the source delivers again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from pipelines.core.keys import MISSING, arrival_id
from pipelines.core.store.bucket import Bucket
from pipelines.intake import nights as intake_nights
from pipelines.intake.landing import LANDING_PREFIX, parse_name
from pipelines.pages.read import Unreadable
from pipelines.pages.views.listing import Incident
from pipelines.records.deliveries import MissingDelivery, Receipt


def of_sources(
    reviews: Bucket,
    missing: Iterable[tuple[str, MissingDelivery | Unreadable]],
    receipts: Iterable[tuple[str, Receipt | Unreadable]],
    names: set[str],
) -> list[Incident]:
    """One incident per silence: a source that stays overdue is one incident, not one per night."""
    silences: dict[tuple[str, str], list[MissingDelivery]] = defaultdict(list)
    for _, record in missing:
        if isinstance(record, MissingDelivery):
            silences[record.source, record.last_delivered_for or ""].append(record)
    days = [_day_of(receipt) for _, receipt in receipts if isinstance(receipt, Receipt)]
    incidents = []
    for (source, last), records in silences.items():
        came = [day for of_source, day in days if of_source == source and day > last]
        came = came or _landed_since(reviews, source, last, names)
        incidents.append(_of_silence(sorted(records, key=lambda record: record.night), came))
    return incidents


def _day_of(receipt: Receipt) -> tuple[str, str]:
    name = parse_name(receipt.landing_key)
    return name.source, name.delivered_for.isoformat() if name.delivered_for else receipt.night


def _landed_since(reviews: Bucket, source: str, last: str, names: set[str]) -> list[str]:
    """Days after ``last`` for which files of the source were processed, on any page."""
    return [
        day.isoformat()
        for info in reviews.list(f"{LANDING_PREFIX}{source}/")
        if (day := parse_name(info.key).delivered_for) is not None
        and day.isoformat() > last
        and arrival_id(info.key, info.version_tag) in names
    ]


def _of_silence(missing: Sequence[MissingDelivery], came: Sequence[str]) -> Incident:
    newest = missing[-1]
    sentence = f"{intake_nights.sentence(newest)}."
    if came:
        sentence += f" It delivered again, for {max(came)}."
    return Incident(
        "MISSING_DELIVERY", "settled" if came else "open",
        f"{MISSING}{newest.night}/{newest.source}",
        tuple(record.night for record in missing), newest.source, newest.source, sentence,
    )  # fmt: skip
