"""The order of the champion log, and what its dates can say."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime

from pipelines.core.store.bucket import Bucket
from pipelines.core.store.clock import CLOCKS_AGREE, now, read, written
from pipelines.records.succession import LogEntry

logger = logging.getLogger(__name__)


def withdrawn_among(history: Iterable[LogEntry]) -> dict[str, LogEntry]:
    """Versions that were rolled back and not released since, with the entry that says so."""
    withdrawn: dict[str, LogEntry] = {}
    for entry in history:
        if entry.kind == "rollback" and entry.subject is not None:
            withdrawn[entry.subject] = entry
        elif entry.kind == "release" and entry.subject is not None:
            withdrawn.pop(entry.subject, None)
    return withdrawn


def time_after(bucket: Bucket, before: LogEntry | None) -> str:
    """When the entry after ``before`` is made, by the store's clock.

    It is never earlier than the entry before, unless that one's date is further ahead than clocks
    of one store differ: then that date is wrong, and is not carried on.
    """
    told = now(bucket)
    then = read(before.at) if before else None
    if before is None or then is None or then <= told:
        return written(told)
    if then - told <= CLOCKS_AGREE:
        return before.at
    logger.warning(
        "Generation %d is dated %s, and the store's clock says %s: one of the two is wrong. "
        "What follows is dated by the store's clock.", before.generation, before.at, written(told),
    )  # fmt: skip
    return written(told)


def answering_at(history: Sequence[LogEntry], moment: datetime, now: datetime) -> LogEntry | None:
    """Who was champion at a moment; None before the first promotion.

    An entry dated after ``now``, or against the order of most others, has a wrong date. It is
    taken to have begun when the next one did whose date fits; the last one, now.
    """
    begun = [
        entry for entry, began in zip(history, _begun(history, now), strict=True) if began <= moment
    ]
    return begun[-1] if begun else None


def misdated(history: Sequence[LogEntry], now: datetime) -> list[LogEntry]:
    """The entries whose date is wrong by more than clocks of one store differ."""
    return [
        entry
        for entry, began in zip(history, _begun(history, now), strict=True)
        if (at := read(entry.at)) is None or abs(at - began) > CLOCKS_AGREE
    ]


def _begun(history: Sequence[LogEntry], now: datetime) -> list[datetime]:
    dates = [read(entry.at) for entry in history]
    fitting = set(_in_order([None if at is None or at > now else at for at in dates]))
    begun, following = [], now
    for place in reversed(range(len(history))):
        at = dates[place]
        following = at if at is not None and place in fitting else following
        begun.append(following)
    return begun[::-1]


def _in_order(dates: Sequence[datetime | None]) -> list[int]:
    """Places of the longest run of dates that never goes back, by patience sorting."""
    ends: list[datetime] = []  # the earliest date that a run of each length can end with
    last: list[int] = []  # and its place
    before: dict[int, int | None] = {}
    for place, at in enumerate(dates):
        if at is None:
            continue
        length = bisect_right(ends, at)
        before[place] = last[length - 1] if length else None
        ends[length : length + 1], last[length : length + 1] = [at], [place]
    found: list[int] = []
    here = last[-1] if last else None
    while here is not None:
        found.append(here)
        here = before[here]
    return found
