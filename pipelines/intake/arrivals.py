"""Record a landed file as a delivery, keep its bytes, and read its rows."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from datetime import date
from typing import BinaryIO

from pipelines.core.errors import DigestMismatchError, UnreadableDeliveryError
from pipelines.core.keys import delivery_key
from pipelines.core.keys import raw_key as raw_key_of
from pipelines.core.record import NO_BYTES
from pipelines.core.settings.data import IntakeSettings
from pipelines.core.settings.settings import Settings
from pipelines.core.store.bucket import Bucket
from pipelines.intake.files import decoder
from pipelines.intake.files.reading import reading_of
from pipelines.intake.files.spooled_rows import SpooledRows
from pipelines.intake.landing import (
    FIRST_DAY,
    LAST_DAY,
    checked_night,
    delivery_digest,
    is_reckonable,
    parse_name,
)
from pipelines.records.deliveries import Arrival, Delivery, NameClaim
from pipelines.records.validations import Basis, RuleResult, Validation

logger = logging.getLogger(__name__)

_SPOOL_BYTES = 32 * 1024 * 1024


def receive(
    reviews: Bucket, landing_key: str, *, night: str, intake: IntakeSettings
) -> tuple[str, Arrival]:
    """Copy one landing file to its immutable place in the ledger.

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
    """The delivery that came earlier under this name with other bytes, if any."""
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
            stored = reviews.find(raw_key)
            if stored is None or stored.size_bytes != size:
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


def read_rows(reviews: Bucket, delivery: Delivery, settings: Settings) -> SpooledRows:
    """The rows of a delivery, decoded from its immutable bytes by a process without privileges.

    Raises
    ------
    UnreadableDeliveryError
        If they cannot be decoded.
    DecoderGoneError
        If the decoding process was ended from outside, which says nothing about the bytes.
    DigestMismatchError
        If the bytes were changed in the ledger.
    """
    if not is_reckonable(date.fromisoformat(delivery.night)):
        raise UnreadableDeliveryError(
            "day_out_of_range",
            f"its folder says {delivery.night}; a day from {FIRST_DAY} to {LAST_DAY} is expected.",
        )
    intake = settings.intake
    if delivery.raw_key is None:
        raise UnreadableDeliveryError(
            "too_large",
            f"the file has {delivery.size_bytes:,} bytes, "
            f"intake.max_delivery_bytes is {intake.max_delivery_bytes:,}.",
        )
    with decoder.unnamed_file(delivery.size_bytes) as file:
        _copy(reviews, delivery, delivery.raw_key, file)
        return decoder.decode_apart(
            file, delivery.file_format, is_gzipped=delivery.is_gzipped, intake=intake,
            reading=reading_of(settings, delivery.source, delivery.night),
        )  # fmt: skip


def _copy(reviews: Bucket, delivery: Delivery, key: str, file: BinaryIO) -> None:
    """Copy the delivery's bytes; stop as soon as there are more than the recorded size."""
    digest, size = delivery_digest(parse_name(delivery.landing_key)), 0
    _, chunks = reviews.stream(key)
    for chunk in chunks:
        size += len(chunk)
        digest.update(chunk)
        if size > delivery.size_bytes:
            break
        file.write(chunk)
    if digest.hexdigest() != delivery.sha256:
        raise DigestMismatchError(
            uri=reviews.uri(key), expected=delivery.sha256, found=digest.hexdigest()
        )


def unreadable(delivery: Delivery, error: UnreadableDeliveryError, basis: Basis) -> Validation:
    finding = RuleResult(
        rule=error.reason,
        severity="critical",
        is_passed=False,
        observed=None,
        limit="a readable file with the agreed columns",
        rows=error.rows,
        sentence=f"The file cannot be used: {error.detail}",
    )
    return Validation(
        delivery=delivery.sha256,
        verdict="HELD",
        why=finding.sentence,
        basis=basis,
        delivered_rows=error.rows,
        accepted_rows=0,
        quarantined_rows=0,
        held_rows=error.rows,
        reasons={error.reason: error.rows},
        rules=(finding,),
        accepted=None,
        quarantined=None,
        page_sha256=NO_BYTES,
    )
