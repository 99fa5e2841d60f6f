"""Read what the monitoring kept: windows, days of answers and decisions on triggers, newest first.

Each kind lies in one folder per month, so the newest of them cost as many requests in the tenth
year as in the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from itertools import groupby, islice
from typing import TypeVar

from pipelines.core import keys
from pipelines.core.parallel import in_parallel
from pipelines.core.store import clock
from pipelines.core.store.answers import ObjectInfo
from pipelines.core.store.bucket import Bucket
from pipelines.records.monitoring import AnsweredDay, TriggerDecision, Window

MOST_MONTHS_WITHOUT = 13  # that are listed although nothing is in them, before the search ends

AnyKept = TypeVar("AnyKept", Window, AnsweredDay, TriggerDecision)


def newest_windows(
    reviews: Bucket, model: str, until: str, count: int, *, nights: int
) -> list[Window]:
    """The window that counts of each of the newest nights, newest first.

    Of a night, that is the first that is proven in the order of `best_first`.
    """

    def of_one_night(names: list[str]) -> list[Window]:
        return list(islice(reviews.proven(best_first(names, nights), Window), 1))

    return _enough(of_one_night, _days(reviews, keys.windows_folder, model, until), count)


def window_keys(
    reviews: Bucket, model: str, until: str, count: int, *, nights: int
) -> list[list[str]]:
    """Keys of all windows of each of the newest nights, newest first, in order of `best_first`."""
    found = islice(_days(reviews, keys.windows_folder, model, until), count)
    return [best_first(of_one_night, nights) for of_one_night in found]


def best_first(windows: Iterable[str], nights: int) -> list[str]:
    """Keys of windows of one night, in the order in which they count if they are proven.

    First those of so many ``nights``: others were judged by an earlier setting. Of them first
    those of most rows.
    """
    wanted = f"{nights:03d}"
    return sorted(
        windows, key=lambda key: (keys.nights_of_window(key) == wanted, key), reverse=True
    )


def of_night(reviews: Bucket, model: str, night: str, *, nights: int) -> list[str]:
    """Keys of all windows of a night, in order of `best_first`."""
    infos = reviews.list(f"{keys.windows_folder(model, night[:7])}{night}-")
    return best_first((info.key for info in infos), nights)


def first_proven(reviews: Bucket, names: Iterable[str], kind: type[AnyKept]) -> AnyKept | None:
    """The first of these records that is proven to be ours; None if none is."""
    return next(reviews.proven(names, kind), None)


def newest_answers(reviews: Bucket, model: str, until: str, count: int) -> list[AnsweredDay]:
    """What the answers of the newest days showed, newest first."""

    def of_one_day(names: list[str]) -> list[AnsweredDay]:
        return list(islice(reviews.proven(names, AnsweredDay), 1))

    return _enough(of_one_day, _days(reviews, keys.answers_folder, model, until), count)


def newest_decisions(reviews: Bucket, model: str, until: str, count: int) -> list[TriggerDecision]:
    """The newest decisions on triggers, by day and then by when they were made, newest first."""

    def of_one_day(names: list[str]) -> list[TriggerDecision]:
        return list(reviews.proven(names, TriggerDecision))

    made = _enough(of_one_day, _days(reviews, keys.triggers_folder, model, until), count)
    return sorted(made, key=lambda one: (one.day, one.at, one.token), reverse=True)[:count]


def _enough(
    read: Callable[[list[str]], list[AnyKept]], days: Iterator[list[str]], count: int
) -> list[AnyKept]:
    """What was read of day after day, until it is so many; several days are read at a time."""
    found: list[AnyKept] = []
    while len(found) < count and (few := list(islice(days, count - len(found)))):
        for of_one_day in in_parallel(read, few):
            found += of_one_day
    return found


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
    decisions = in_parallel(lambda info: first_proven(reviews, [info.key], TriggerDecision), infos)
    starts = [clock.read(each.at) for each in decisions if each is not None and each.is_started]
    return max((at for at in starts if at is not None and at >= first), default=None)


def _months(first: date, last: date) -> Iterator[str]:
    """``YYYY-MM`` of each month from one day to another."""
    month = first.replace(day=1)
    while month <= last:
        yield month.isoformat()[:7]
        month = (month + timedelta(days=31)).replace(day=1)


def _days(
    reviews: Bucket, folder: Callable[[str, str], str], model: str, until: str
) -> Iterator[list[str]]:
    """The keys of each night or day below the months' folders, newest first.

    A day lies in one month's folder, so its last key ends it: no older month is listed to see that.
    """
    for infos in _by_month(reviews, lambda month: folder(model, month), until):
        for _, of_one_day in groupby((info.key for info in infos), keys.day_of_monitoring):
            yield list(of_one_day)


def _by_month(
    reviews: Bucket, folder: Callable[[str], str], until: str
) -> Iterator[list[ObjectInfo]]:
    """What each month's folder holds, by the keys, which begin with the night, newest first."""
    month, empty = until[:7], 0
    while empty < MOST_MONTHS_WITHOUT:
        infos = [
            info
            for info in reviews.list(folder(month))
            if keys.day_of_monitoring(info.key) <= until
        ]
        yield sorted(infos, key=lambda info: info.key, reverse=True)
        empty = 0 if infos else empty + 1
        month = (date.fromisoformat(f"{month}-01") - timedelta(days=1)).isoformat()[:7]
