"""What upstream drops: ``landing/<source>/<YYYY-MM-DD>/<file>``, and which of it is due.

The date folder is the day the file was delivered for; a file without one is due at once. Which
files were dealt with is known from the receipts, never from names or clocks, so a late file is
picked up by the next night and a repeated night finds its own files again.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from datetime import date

from pipelines.errors import DataError
from pipelines.records import FileFormat
from pipelines.store import Bucket, ObjectInfo

logger = logging.getLogger(__name__)

LANDING_PREFIX = "landing/"
RECEIPTS_PREFIX = "receipts/"
UNSORTED = "unsorted"

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


def receipt_key(night: str, *, landing_key: str, version_tag: str) -> str:
    return f"{RECEIPTS_PREFIX}{night}/{arrival_id(landing_key, version_tag)}.json"


def arrival_id(landing_key: str, version_tag: str) -> str:
    """Names one version of one landing file; changed content under the same name differs."""
    named = f"{landing_key}\n{version_tag}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(named).hexdigest()[:32]


def discover(reviews: Bucket, night: str) -> list[str]:
    """Landing keys that the given night has to deal with, sorted.

    These are the files delivered for that night or earlier that have no receipt yet, and the
    night's own files again when it is repeated.

    ``night`` is the day whose deliveries are complete, ``YYYY-MM-DD``.
    """
    last_day = checked_night(night)
    receipts = _nights_by_arrival(reviews)
    landed = [info for info in reviews.list(LANDING_PREFIX) if _is_finished(info)]
    due = [info.key for info in landed if _is_due(info, last_day, receipts)]
    logger.info("night=%s landed=%d due=%d", night, len(landed), len(due))
    return due


def checked_night(night: str) -> date:
    """The night as a date.

    Raises
    ------
    DataError
        If it is not ``YYYY-MM-DD``.
    """
    try:
        day = date.fromisoformat(night)
    except ValueError:
        day = None
    if day is None or day.isoformat() != night:
        raise DataError(f"night is {night!r}; it must be a day like 2026-01-05")
    return day


def _is_finished(info: ObjectInfo) -> bool:
    return not info.key.endswith(_UNFINISHED)


def _is_due(info: ObjectInfo, last_day: date, receipts: dict[str, set[str]]) -> bool:
    delivered_for = parse_name(info.key).delivered_for
    if delivered_for is not None and delivered_for > last_day:
        return False
    nights = receipts.get(arrival_id(info.key, info.version_tag))
    return not nights or last_day.isoformat() in nights


def _nights_by_arrival(reviews: Bucket) -> dict[str, set[str]]:
    nights: dict[str, set[str]] = {}
    for info in reviews.list(RECEIPTS_PREFIX):
        night, _, name = info.key.removeprefix(RECEIPTS_PREFIX).partition("/")
        nights.setdefault(name.removesuffix(".json"), set()).add(night)
    return nights
