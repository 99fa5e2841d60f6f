"""Read what the monitoring kept: windows and decisions on triggers, newest first.

Both lie in one folder per month, so the newest of them cost as many requests in the tenth year as
in the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from itertools import islice
from typing import TypeVar

from pipelines.core import keys
from pipelines.core.parallel import in_parallel
from pipelines.core.store import clock
from pipelines.core.store.answers import ObjectInfo
from pipelines.core.store.bucket import Bucket
from pipelines.records.monitoring import TriggerDecision, Window

MOST_MONTHS_WITHOUT = 13  # that are listed although nothing is in them, before the search ends

AnyKept = TypeVar("AnyKept", Window, TriggerDecision)


def newest_windows(reviews: Bucket, model: str, until: str, count: int) -> list[Window]:
    """The newest window of each of the newest nights, newest first."""
    infos = _newest(reviews, lambda month: keys.windows_folder(model, month), until)
    chosen = list(islice(one_per_night(infos), count))
    return list(in_parallel(lambda info: reviews.get_record(info.key, Window), chosen))


def newest_decisions(reviews: Bucket, model: str, until: str, count: int) -> list[TriggerDecision]:
    """The newest decisions on triggers, by the store's clock, newest first."""
    infos = _newest(reviews, lambda month: keys.triggers_folder(model, month), until)
    chosen = list(islice(infos, count))
    return list(in_parallel(lambda info: reviews.get_record(info.key, TriggerDecision), chosen))


def last_start(reviews: Bucket, model: str, now: datetime, within: timedelta) -> datetime | None:
    """When a trigger last started a retraining, if that is no longer ago than ``within``.

    A decision is about the last complete day, so those of that time lie in the last months.
    """
    first = now - within
    oldest = (first - timedelta(days=2)).date()
    infos = [
        info
        for month in _months(oldest, now.date())
        for info in reviews.list(keys.triggers_folder(model, month))
        if keys.night_of_window(info.key) >= oldest.isoformat()
    ]
    decisions = in_parallel(lambda info: reviews.get_record(info.key, TriggerDecision), infos)
    starts = [clock.read(each.at) for each in decisions if each.is_started]
    return max((at for at in starts if at is not None and at >= first), default=None)


def _months(first: date, last: date) -> Iterator[str]:
    """``YYYY-MM`` of each month from one day to another."""
    month = first.replace(day=1)
    while month <= last:
        yield month.isoformat()[:7]
        month = (month + timedelta(days=31)).replace(day=1)


def one_per_night(infos: Iterator[ObjectInfo]) -> Iterator[ObjectInfo]:
    """The window of each night that was stored last: the one of most rows that count."""
    night = ""
    for info in infos:
        if keys.night_of_window(info.key) != night:
            night = keys.night_of_window(info.key)
            yield info


def _newest(reviews: Bucket, folder: Callable[[str], str], until: str) -> Iterator[ObjectInfo]:
    """All below the months' folders, by night and then by when they were stored, newest first."""
    month, empty = until[:7], 0
    while empty < MOST_MONTHS_WITHOUT:
        infos = [
            info for info in reviews.list(folder(month)) if keys.night_of_window(info.key) <= until
        ]
        yield from sorted(
            infos, key=lambda info: (keys.night_of_window(info.key), info.stored_at, info.key),
            reverse=True,
        )  # fmt: skip
        empty = 0 if infos else empty + 1
        month = (date.fromisoformat(f"{month}-01") - timedelta(days=1)).isoformat()[:7]
