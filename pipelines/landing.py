"""What upstream drops: ``landing/<source>/<YYYY-MM-DD>/<file>``, and which of it is due.

The date folder is the day the file was delivered for; a file without one is due in the next run.
Which files were dealt with is known from the receipts, never from names or clocks, so a late file
is picked up by the next night and a repeated night finds its own files again.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from pipelines.answers import ObjectInfo
from pipelines.errors import DataError, ObjectMissingError, TrustError
from pipelines.keys import RECEIPTS, arrival_id
from pipelines.records import FileFormat, Receipt
from pipelines.store import Bucket

logger = logging.getLogger(__name__)

LANDING_PREFIX = "landing/"
UNSORTED = "unsorted"
_PARALLEL_READS = 8

_SOURCE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_UNFINISHED = (".part", ".tmp", "/")
_FORMATS: dict[str, FileFormat] = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}


@dataclass(frozen=True)
class LandingName:
    """What a landing key says of its file."""

    source: str
    delivered_for: date | None
    file_format: FileFormat
    is_gzipped: bool


def delivery_digest(name: LandingName, data: bytes = b"") -> hashlib._Hash:
    """A sha256 in progress that will name a delivery: its format, then its bytes.

    The format is part of it, so that a file that was held for its name alone can be sent again
    under the right one.
    """
    named = f"{name.file_format}{'.gz' if name.is_gzipped else ''}\n".encode()
    return hashlib.sha256(named + data)


def parse_name(key: str) -> LandingName:
    """Read source, day and format off a landing key. Any key is understood somehow."""
    *folders, file_name = key.removeprefix(LANDING_PREFIX).split("/")
    source = folders[0] if folders and _SOURCE.fullmatch(folders[0]) else UNSORTED
    plain_name = file_name.lower().removesuffix(".gz")
    suffix = "." + plain_name.rpartition(".")[2]
    return LandingName(
        source=source,
        delivered_for=_first_date(folders[1:]),
        file_format=_FORMATS.get(suffix, "unknown"),
        is_gzipped=file_name.lower().endswith(".gz"),
    )


def _first_date(folders: list[str]) -> date | None:
    for folder in folders:
        try:
            return date.fromisoformat(folder.removeprefix("date="))
        except ValueError:
            continue
    return None


def discover(reviews: Bucket, night: str, *, most: int, today: date | None = None) -> list[str]:
    """Landing keys that the given night has to deal with: new ones first, then by key.

    These are the files delivered for that night or earlier that have no receipt yet, and the
    night's own files again when it is repeated. A file without a day is due in the last complete
    night only, so that a backfill does not date it into the past.

    Parameters
    ----------
    reviews : Bucket
        Where the landing prefix is.
    night : str
        The day whose deliveries are complete, ``YYYY-MM-DD``; not after today.
    most : int
        How many to return; the rest stays due.
    today : date, optional
        For tests; the present day in UTC.
    """
    last_day, today = checked_night(night), today or datetime.now(UTC).date()
    if last_day > today:
        raise DataError(f"night is {night}, which is after today, {today}: it is not complete")
    landed = [info for info in reviews.list(LANDING_PREFIX) if _is_finished(info)]
    receipts = nights_by_arrival(reviews, {_arrival_of(info) for info in landed})
    is_newest = last_day >= today - timedelta(days=1)
    due = [info for info in landed if _is_due(info, last_day, receipts, takes_undated=is_newest)]
    due.sort(key=lambda info: (_arrival_of(info) in receipts, info.key))
    if len(due) > most:
        logger.warning("night=%s due=%d taken=%d: the rest stays due", night, len(due), most)
    logger.info("night=%s landed=%d due=%d", night, len(landed), len(due))
    return sorted(info.key for info in due[:most])


def checked_night(night: str) -> date:
    """The night as a date.

    Raises
    ------
    DataError
        If it is not ``YYYY-MM-DD``.
    """
    if not is_night(night):
        raise DataError(f"night is {night!r}; it must be a day like 2026-01-05")
    return date.fromisoformat(night)


def is_night(text: str) -> bool:
    """Whether it is a day, written ``YYYY-MM-DD``."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _is_finished(info: ObjectInfo) -> bool:
    return not info.key.endswith(_UNFINISHED)


def _arrival_of(info: ObjectInfo) -> str:
    return arrival_id(info.key, info.version_tag)


def _is_due(
    info: ObjectInfo, last_day: date, receipts: dict[str, set[str]], *, takes_undated: bool
) -> bool:
    nights = receipts.get(_arrival_of(info))
    if nights:
        return last_day.isoformat() in nights
    delivered_for = parse_name(info.key).delivered_for
    return takes_undated if delivered_for is None else delivered_for <= last_day


def nights_by_arrival(reviews: Bucket, arrivals: Collection[str]) -> dict[str, set[str]]:
    """The nights in which each of these versions of a landing file got a receipt.

    The name of an object proves nothing: each receipt is read. One that is not proven to be a
    receipt counts for nothing, so the file stays due, and its own task says what is wrong.
    """
    listed = [info.key for info in reviews.list(RECEIPTS)]
    wanted = [key for key in listed if _arrival_named_by(key) in arrivals]
    with ThreadPoolExecutor(_PARALLEL_READS) as readers:
        found = list(readers.map(lambda key: _find_receipt(reviews, key), wanted))
    nights: dict[str, set[str]] = {}
    for receipt in found:
        if receipt is not None:
            arrival = arrival_id(receipt.landing_key, receipt.version_tag)
            nights.setdefault(arrival, set()).add(receipt.night)
    return nights


def _arrival_named_by(key: str) -> str:
    return key.rpartition("/")[2].removesuffix(".json")


def _find_receipt(reviews: Bucket, key: str) -> Receipt | None:
    try:
        return reviews.get_record(key, Receipt)
    except (TrustError, ObjectMissingError) as error:
        logger.error("receipt=%s counts for nothing: %s", key, error)  # noqa: TRY400
        return None
