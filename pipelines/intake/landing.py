"""Find the landed files, ``landing/<source>/<YYYY-MM-DD>/<file>``, that a night has to process.

The date folder is the day the file was delivered for; a file without one is due in the next run.
A file dated after the night waits, and `set_aside` reports it.
Receipts alone, never names or clocks, decide which files were processed. So the next night picks up
a late file, and a repeated night finds its own files again.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pipelines.core import keys
from pipelines.core.errors import DataError, ObjectMissingError, TrustError
from pipelines.core.escaping import visible
from pipelines.core.keys import RECEIPTS, arrival_id
from pipelines.core.parallel import in_parallel
from pipelines.core.store import clock
from pipelines.core.store.answers import ObjectInfo
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.rollups import RollUp
from pipelines.intake.side_files import is_side_file
from pipelines.records.deliveries import FileFormat, Receipt, SetAside

logger = logging.getLogger(__name__)

LANDING_PREFIX = "landing/"
UNSORTED = "unsorted"

_SOURCE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2199, 12, 31)  # days that date arithmetic supports
MOST_DAYS_AHEAD = 7  # of today; a folder dated later is a mistake
_UNSPEAKABLE = re.compile("[\x00\ud800-\udfff\ufffd]")  # NUL, and what is not UTF-8
_FORMATS: dict[str, FileFormat] = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}


@dataclass(frozen=True)
class LandingName:
    """What a landing key says about its file."""

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
    """Read source, day and format from a landing key.

    Never fails: unknown parts get defaults (``unsorted``, no date, ``unknown``).
    """
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
    """Landing keys that the given night has to process: new ones first, then by key.

    These are the files delivered for that night or earlier that have no receipt yet, and the
    night's own files again when it is repeated. A file without a day is due only in the last
    complete night, so that a backfill does not date it into the past.

    Parameters
    ----------
    reviews : Bucket
        Where the landing prefix is.
    night : str
        The day whose deliveries are complete, ``YYYY-MM-DD``; not after today.
    most : int
        How many keys to return; the rest stays due.
    today : date, optional
        For tests; the present day in UTC, by the store's clock.
    """
    last_day, today = checked_night(night), today or clock.now(reviews).date()
    if last_day > today:
        raise DataError(f"night is {night}, which is after today, {today}: it is not complete yet")
    landed = [info for info in reviews.list(LANDING_PREFIX) if _is_usable(info)]
    receipts = nights_by_arrival(reviews, {_arrival_of(info) for info in landed}, keeps=True)
    is_newest = last_day >= today - timedelta(days=1)
    due = [info for info in landed if _is_due(info, last_day, receipts, takes_undated=is_newest)]
    due.sort(key=lambda info: (_arrival_of(info) in receipts, info.key))
    if len(due) > most:
        logger.warning("night=%s due=%d taken=%d: the rest stays due", night, len(due), most)
    logger.info("night=%s landed=%d due=%d", night, len(landed), len(due))
    return sorted(info.key for info in due[:most])


def set_aside(
    reviews: Bucket,
    night: str,
    *,
    landed: Sequence[ObjectInfo] | None = None,
    today: date | None = None,
) -> list[SetAside]:
    """The landed files without a receipt that the night skips; those that need a person first.

    Parameters
    ----------
    reviews : Bucket
        Where the landing prefix is.
    night : str
        ``YYYY-MM-DD``.
    landed : sequence of ObjectInfo, optional
        What lies in landing, if it was listed before.
    today : date, optional
        For tests; the present day in UTC, by the store's clock.
    """
    last_day = checked_night(night)
    landed = reviews.list(LANDING_PREFIX) if landed is None else landed
    listed = [info for info in landed if _is_delivery(info)]
    odd = [info for info in listed if not _is_usable(info) or _is_after(info, last_day)]
    if not odd:
        return []
    receipts = nights_by_arrival(reviews, {_arrival_of(info) for info in odd})
    today = max(today or clock.now(reviews).date(), last_day)
    skipped = [_set_aside(info, today) for info in odd if _arrival_of(info) not in receipts]
    skipped.sort(key=lambda file: (file.delivered_for or "", file.landing_key))
    return sorted(skipped, key=lambda file: not file.needs_person)


def _set_aside(info: ObjectInfo, today: date) -> SetAside:
    day = parse_name(info.key).delivered_for
    why, needs_person = _why_set_aside(info, day, today)
    return SetAside(
        landing_key=visible(info.key),
        delivered_for=day.isoformat() if day else None,
        why=why,
        needs_person=needs_person,
    )


def _why_set_aside(info: ObjectInfo, day: date | None, today: date) -> tuple[str, bool]:
    if day is None or not _is_usable(info):
        return (
            "Its name is not UTF-8 or contains a NUL, so no night can process it. Ask the source "
            "to send it again under another name, and delete this file."
        ), True
    ahead = (day - today).days
    if ahead <= MOST_DAYS_AHEAD:
        return f"It is dated {day} and waits for that night.", False
    return (
        f"It is dated {day}, {ahead:,} days after {today}; more than {MOST_DAYS_AHEAD} days "
        "ahead is probably a mistake. No night processes it before that day. Ask the source to "
        "send it again into the folder of the right day, and delete this file."
    ), True


def checked_night(night: str) -> date:
    """The night as a date.

    Raises
    ------
    DataError
        If it is not ``YYYY-MM-DD``, or out of range.
    """
    if not is_night(night):
        raise DataError(
            f"night is {night!r}; it must be a day like 2026-01-05, from {FIRST_DAY} to {LAST_DAY}"
        )
    return date.fromisoformat(night)


def is_night(text: str) -> bool:
    """Whether it is a day in range, written ``YYYY-MM-DD``."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return False
    return day.isoformat() == text and is_reckonable(day)


def is_reckonable(day: date) -> bool:
    """Whether days can be added and subtracted without leaving the calendar."""
    return FIRST_DAY <= day <= LAST_DAY


def side_files(landed: Iterable[ObjectInfo], night: str) -> int:
    """How many files that are no deliveries lie in the folders of a night, or in none of a day."""
    day = checked_night(night)
    names = [info.key for info in landed if not _is_delivery(info)]
    return sum(parse_name(key).delivered_for in {day, None} for key in names if key[-1] != "/")


def _is_delivery(info: ObjectInfo) -> bool:
    return not is_side_file(info.key.removeprefix(LANDING_PREFIX))


def _is_usable(info: ObjectInfo) -> bool:
    """Whether it is a delivery, and its name can be requested and passed between tasks."""
    return _is_delivery(info) and not _UNSPEAKABLE.search(info.key)


def _is_after(info: ObjectInfo, last_day: date) -> bool:
    day = parse_name(info.key).delivered_for
    return day is not None and day > last_day


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


def nights_by_arrival(
    reviews: Bucket, arrivals: Collection[str], *, keeps: bool = False
) -> dict[str, set[str]]:
    """The nights in which each of these versions of a landing file got a receipt.

    The name of an object proves nothing, so each receipt is read, once: a receipt that is rolled
    up was proven before. An unproven receipt is ignored: the file stays due, and its own task
    reports what is wrong.

    Parameters
    ----------
    reviews : Bucket
        Where the receipts are.
    arrivals : collection of str
        Ids of the versions.
    keeps : bool
        Roll up what is not yet, for the readers after this one.
    """
    listed = [info for info in reviews.list(RECEIPTS) if keys.name_of(info.key) in arrivals]
    if not listed:
        return {}
    rolled = RollUp(reviews, "receipts")
    fresh = [info for info in listed if not rolled.has(info.key, info.version_tag)]
    read = in_parallel(lambda info: _is_proven(rolled, info), fresh)
    unproven = {info.key for info, is_proven in zip(fresh, read, strict=True) if not is_proven}
    nights: dict[str, set[str]] = {}
    for info in listed:
        if info.key not in unproven:  # a proven receipt is of the night and arrival in its key
            nights.setdefault(keys.name_of(info.key), set()).add(keys.folder_of(info.key))
    if keeps:
        rolled.keep()
    return nights


def _is_proven(rolled: RollUp, info: ObjectInfo) -> bool:
    try:
        rolled.record(info, Receipt)
    except (TrustError, ObjectMissingError) as error:
        logger.error("receipt=%s is ignored: %s", info.key, error)  # noqa: TRY400
        return False
    return True
