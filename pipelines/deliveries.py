"""The delivery ledger: content-addressed, write-once.

A delivery is named by the sha256 of its format and its bytes. ``outcome.json``, written last, is
its ledger entry: rows count because an outcome names them, and for no other reason. The same bytes
under another name are a duplicate: recorded, and otherwise without effect.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from pipelines.config import IntakeSettings
from pipelines.errors import ObjectMissingError, TrustError
from pipelines.keys import (
    RECEIPTS,
    arrival_id,
    delivery_key,
    outcome_key,
    receipt_key,
)
from pipelines.keys import raw_key as raw_key_of
from pipelines.landing import checked_night, delivery_digest, nights_by_arrival, parse_name
from pipelines.records import (
    Arrival,
    Delivery,
    NameClaim,
    NightSummary,
    Outcome,
    Receipt,
    Validation,
)
from pipelines.store import Bucket

logger = logging.getLogger(__name__)

_SPOOL_BYTES = 32 * 1024 * 1024
_PARALLEL_READS = 8


def receive(
    reviews: Bucket, landing_key: str, *, night: str, intake: IntakeSettings
) -> tuple[str, Arrival]:
    """Copy one landing file into the ledger's own, immutable place.

    Returns
    -------
    arrival_key, arrival : str, Arrival
        Where the arrival was recorded, and the record.
    """
    checked_night(night)
    version_tag, chunks = reviews.stream(landing_key)
    sha256 = _keep_bytes(reviews, landing_key, chunks, night=night, intake=intake)
    arrival = Arrival(
        landing_key=landing_key,
        version_tag=version_tag,
        night=night,
        delivery=sha256,
        conflicts_with=_claim_name(reviews, landing_key, sha256),
    )
    reviews.put_record(arrival)
    logger.info("arrival=%s delivery=%s night=%s", arrival.object_key, sha256, night)
    return arrival.object_key, arrival


def _claim_name(reviews: Bucket, landing_key: str, sha256: str) -> str | None:
    """Other bytes that came under this name before, if any. The first claim stands."""
    first = reviews.put_first(NameClaim(landing_key=landing_key, delivery=sha256)).delivery
    if first == sha256:
        return None
    logger.warning("landing_key=%r conflict: %s came first, now %s", landing_key, first, sha256)
    return first


def _keep_bytes(
    reviews: Bucket,
    landing_key: str,
    chunks: Iterator[bytes],
    *,
    night: str,
    intake: IntakeSettings,
) -> str:
    digest, size = delivery_digest(parse_name(landing_key)), 0
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as spool:
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            if size <= intake.max_delivery_bytes:
                spool.write(chunk)
        sha256 = digest.hexdigest()
        raw_key = raw_key_of(sha256) if size <= intake.max_delivery_bytes else None
        if raw_key is not None:
            known = reviews.find(raw_key)
            if known is None or known.size_bytes != size:
                spool.seek(0)
                reviews.put_file(raw_key, spool)
    _record_delivery(reviews, sha256, landing_key, night=night, size=size, raw_key=raw_key)
    return sha256


def _record_delivery(
    reviews: Bucket, sha256: str, landing_key: str, *, night: str, size: int, raw_key: str | None
) -> None:
    name = parse_name(landing_key)
    day = name.delivered_for.isoformat() if name.delivered_for else night
    delivery = Delivery(
        sha256=sha256,
        source=name.source,
        landing_key=landing_key,
        file_format=name.file_format,
        is_gzipped=name.is_gzipped,
        size_bytes=size,
        night=day,
        raw_key=raw_key,
    )
    if reviews.put_first(delivery) != delivery:
        logger.info("delivery=%s landing_key=%r is a redelivery", sha256, landing_key)


def read_arrival(reviews: Bucket, key: str) -> tuple[Arrival, Delivery]:
    arrival = reviews.get_record(key, Arrival)
    return arrival, reviews.get_record(delivery_key(arrival.delivery), Delivery)


def find_outcome(reviews: Bucket, sha256: str) -> Outcome | None:
    """The ledger entry of a delivery; None when it was never concluded."""
    return reviews.find_record(outcome_key(sha256), Outcome)


def conclude(
    reviews: Bucket,
    arrival: Arrival,
    delivery: Delivery,
    validation: Validation,
    validation_key: str,
) -> Outcome:
    """Commit what becomes of a delivery. The first conclusion stands.

    The outcome names the arrival that led to it; every other arrival of the bytes is a duplicate.

    Raises
    ------
    TrustError
        If accepted, quarantined and held rows do not add up to the delivered ones.
    """
    counted = validation.accepted_rows + validation.quarantined_rows + validation.held_rows
    if counted != validation.delivered_rows or validation.delivery != delivery.sha256:
        raise TrustError(
            f"validation of delivery {delivery.sha256} does not add up: "
            f"{validation.delivered_rows} delivered, {counted} accounted for"
        )
    outcome = Outcome(
        delivery=delivery.sha256,
        source=delivery.source,
        night=delivery.night,
        landing_key=arrival.landing_key,
        version_tag=arrival.version_tag,
        counted_in=arrival.night,
        verdict=validation.verdict,
        why=validation.why,
        delivered_rows=validation.delivered_rows,
        accepted_rows=validation.accepted_rows,
        quarantined_rows=validation.quarantined_rows,
        held_rows=validation.held_rows,
        accepted=validation.accepted,
        quarantined=validation.quarantined,
        sketch=validation.sketch,
        validation_key=validation_key,
    )
    return reviews.put_first(outcome)


def give_receipt(reviews: Bucket, arrival: Arrival, outcome: Outcome) -> Receipt:
    """Record that a landing file was dealt with. The first receipt of a night stands."""
    is_duplicate = _is_counted_elsewhere(reviews, arrival, outcome)
    is_held = outcome.verdict == "HELD"  # sending a held file again does not make it good
    receipt = Receipt(
        landing_key=arrival.landing_key,
        version_tag=arrival.version_tag,
        night=arrival.night,
        delivery=arrival.delivery,
        verdict="DUPLICATE" if is_duplicate and not is_held else outcome.verdict,
        why=_conflict(arrival) + (_why_duplicate(outcome) if is_duplicate else outcome.why),
        delivered_rows=0 if is_duplicate else outcome.delivered_rows,
        accepted_rows=0 if is_duplicate else outcome.accepted_rows,
        quarantined_rows=0 if is_duplicate else outcome.quarantined_rows,
        held_rows=0 if is_duplicate else outcome.held_rows,
        conflicts_with=arrival.conflicts_with,
    )
    return reviews.put_first(receipt)


def _conflict(arrival: Arrival) -> str:
    if arrival.conflicts_with is None:
        return ""
    return (
        f"CONFLICT: this name was delivered before with other content, as delivery "
        f"{arrival.conflicts_with}; each is judged by itself. "
    )


def _is_counted_elsewhere(reviews: Bucket, arrival: Arrival, outcome: Outcome) -> bool:
    """Whether another file, or the same file in another night, has the rows in its receipt."""
    landing_key, version_tag = arrival.landing_key, arrival.version_tag
    if (landing_key, version_tag) != (outcome.landing_key, outcome.version_tag):
        return True
    # The night that concluded it may have been killed before it gave the receipt. Then a later one
    # counts the rows, and goes on doing so when the first one is repeated.
    arrived = arrival_id(landing_key, version_tag)
    others = nights_by_arrival(reviews, {arrived}).get(arrived, set()) - {arrival.night}
    keys = (receipt_key(one, landing_key=landing_key, version_tag=version_tag) for one in others)
    return outcome.counted_in in others or any(
        reviews.get_record(key, Receipt).delivered_rows for key in keys
    )


def _why_duplicate(outcome: Outcome) -> str:
    return (
        f"The same bytes were delivered as {outcome.landing_key!r}, counted in the night of "
        f"{outcome.counted_in} ({outcome.verdict}); nothing is counted twice. {outcome.why}"
    )


def all_outcomes(reviews: Bucket) -> list[Outcome]:
    """Every first conclusion, sorted by delivery; what people decided since is in `standings`."""
    keys = [info.key for info in reviews.list("deliveries/") if info.key.endswith("/outcome.json")]
    with ThreadPoolExecutor(_PARALLEL_READS) as readers:
        return list(readers.map(lambda key: reviews.get_record(key, Outcome), keys))


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
