"""Read what the monitoring kept: windows, days of answers and decisions on triggers, newest first.

Each kind lies in one folder per month, so the newest of them cost as many requests in the tenth
year as in the first.
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
from pipelines.records.monitoring import AnsweredDay, TriggerDecision, Window

MOST_MONTHS_WITHOUT = 13  # that are listed although nothing is in them, before the search ends

AnyKept = TypeVar("AnyKept", Window, TriggerDecision)


def newest_windows(reviews: Bucket, model: str, until: str, count: int) -> list[Window]:
    """The newest window of each of the newest nights, newest first."""
    chosen = window_keys(reviews, model, until, count)
    return list(in_parallel(lambda key: reviews.get_record(key, Window), chosen))


def window_keys(reviews: Bucket, model: str, until: str, count: int) -> list[str]:
    """Keys of the newest window of each of the newest nights, newest first."""
    infos = _newest(reviews, lambda month: keys.windows_folder(model, month), until)
    return [info.key for info in islice(one_per_night(infos), count)]


def newest_answers(reviews: Bucket, model: str, until: str, count: int) -> list[AnsweredDay]:
    """What the answers of the newest days showed, newest first."""
    infos = _newest(reviews, lambda month: keys.answers_folder(model, month), until)
    chosen = list(islice(infos, count))
    return list(in_parallel(lambda info: reviews.get_record(info.key, AnsweredDay), chosen))


def of_night(reviews: Bucket, model: str, night: str) -> list[str]:
    """Keys of all windows of a night, that of most rows first."""
    infos = reviews.list(f"{keys.windows_folder(model, night[:7])}{night}-")
    return sorted((info.key for info in infos), reverse=True)


def newest_decisions(reviews: Bucket, model: str, until: str, count: int) -> list[TriggerDecision]:
    """The newest decisions on triggers, by day and then by when they were made, newest first."""
    days: list[str] = []
    chosen: list[str] = []
    for info in _newest(reviews, lambda month: keys.triggers_folder(model, month), until):
        day = keys.day_of_monitoring(info.key)
        if day not in days:
            if len(chosen) >= count:
                break
            days.append(day)
        chosen.append(info.key)
    made = list(in_parallel(lambda key: reviews.get_record(key, TriggerDecision), chosen))
    return sorted(made, key=lambda one: (one.day, one.at, one.token), reverse=True)[:count]


def last_start(reviews: Bucket, model: str, now: datetime, within: timedelta) -> datetime | None:
    """When a trigger last started a retraining, if that is no longer ago than ``within``.

    Decisions lie in the month of the run that made them.
    """
    first = now - within
    oldest = (first - timedelta(days=2)).date()
    infos = [
        info
        for month in _months(oldest, now.date())
        for info in reviews.list(keys.triggers_folder(model, month))
        if keys.day_of_monitoring(info.key) >= oldest.isoformat()
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
    """The window of each night whose key is the last: the one of most rows that count."""
    night = ""
    for info in infos:
        if keys.day_of_monitoring(info.key) != night:
            night = keys.day_of_monitoring(info.key)
            yield info


def _newest(reviews: Bucket, folder: Callable[[str], str], until: str) -> Iterator[ObjectInfo]:
    """All below the months' folders, by their keys, which begin with the night, newest first."""
    month, empty = until[:7], 0
    while empty < MOST_MONTHS_WITHOUT:
        infos = [
            info
            for info in reviews.list(folder(month))
            if keys.day_of_monitoring(info.key) <= until
        ]
        yield from sorted(infos, key=lambda info: info.key, reverse=True)
        empty = 0 if infos else empty + 1
        month = (date.fromisoformat(f"{month}-01") - timedelta(days=1)).isoformat()[:7]
