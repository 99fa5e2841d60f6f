"""The newest night that was summed up, for those who watch the loop.

A few requests at any age: keys and the moments of a listing say most of it, and the records that
are read are those of one night.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pipelines.core.keys import ARRIVALS, MISSING, RECEIPTS, folder_of, is_receipt, name_of
from pipelines.core.store.answers import ObjectInfo
from pipelines.core.store.bucket import Bucket
from pipelines.intake.landing import is_night
from pipelines.records.deliveries import MissingDelivery, Receipt

MOST_READ = 100  # records of each kind and night


@dataclass(frozen=True)
class NewestNight:
    """A night of which something is recorded.

    Attributes
    ----------
    night : str
        ``YYYY-MM-DD``.
    silent_sources : int
        Sources that were overdue on it.
    longest_seconds : float or None
        From when a file of it was taken up to when it was decided, by the store's clock; of the
        file that took longest. None where nothing was delivered.
    """

    night: str
    silent_sources: int
    longest_seconds: float | None


def newest_night(reviews: Bucket, today: str) -> NewestNight | None:
    """The newest night up to a day, of its month or the one before; None if there is none.

    Somebody who can write to the bucket may have put other objects there: a night counts if one of
    its records is proven to be ours.
    """
    for month in (today[:7], _month_before(today)):
        receipts = _by_night(info for info in reviews.list(f"{RECEIPTS}{month}-")
                             if is_receipt(info.key))  # fmt: skip
        missing = _by_night(reviews.list(f"{MISSING}{month}-"))
        nights = {night for night in receipts.keys() | missing.keys() if is_night(night)}
        for night in sorted((each for each in nights if each <= today), reverse=True):
            silent, decided = missing.get(night, []), receipts.get(night, [])
            silent_sources = sum(1 for _ in reviews.proven(_keys(silent), MissingDelivery))
            if silent_sources or any(True for _ in reviews.proven(_keys(decided), Receipt)):
                return NewestNight(night, silent_sources, _longest(reviews, night, decided))
    return None


def _month_before(today: str) -> str:
    return (date.fromisoformat(today).replace(day=1) - timedelta(days=1)).isoformat()[:7]


def _by_night(infos: Iterable[ObjectInfo]) -> dict[str, list[ObjectInfo]]:
    nights: dict[str, list[ObjectInfo]] = {}
    for info in infos:
        nights.setdefault(folder_of(info.key), []).append(info)
    return nights


def _keys(infos: Sequence[ObjectInfo]) -> list[str]:
    return [info.key for info in infos[:MOST_READ]]


def _longest(reviews: Bucket, night: str, decided: Iterable[ObjectInfo]) -> float | None:
    taken_up = {
        name_of(info.key).partition("-")[0]: info.moment
        for info in reviews.list(f"{ARRIVALS}{night}/")
    }
    seconds = [
        (info.moment - began).total_seconds()
        for info in decided
        if info.moment is not None and (began := taken_up.get(name_of(info.key))) is not None
    ]
    return max(seconds, default=None)
