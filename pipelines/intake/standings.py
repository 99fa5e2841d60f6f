"""The current state of each delivery: its outcome, and what people decided since.

deliveries/<sha256>/outcome.json           the outcome of its validation
deliveries/<sha256>/replays/<number>.json  a later decision by a person; never changed or removed

What was read once is rolled up (`core.store.rollups`); a listing says which of it still stands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pipelines.core.errors import ObjectMissingError, TrustError, concerns_one_record, sentence
from pipelines.core.keys import DELIVERIES, is_ledger_entry, outcome_key, replay_key, replays_folder
from pipelines.core.store.answers import ObjectInfo
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.rollups import RollUp
from pipelines.core.store.sealed import AnyRecord
from pipelines.records.data import Partition
from pipelines.records.deliveries import Outcome, Replay, ReplayVerdict

logger = logging.getLogger(__name__)


Result = TypeVar("Result")

LEDGER = "ledger"  # the name of its roll-up


class _Reader(Protocol):
    """Reads a proven record of a kind."""

    def __call__(self, key: str, kind: type[AnyRecord], /) -> AnyRecord: ...


@dataclass(frozen=True)
class Standing:
    """One delivery's ledger entries, oldest first."""

    outcome: Outcome
    replays: tuple[Replay, ...] = ()

    @property
    def _entries(self) -> list[Outcome | Replay]:
        return [self.outcome, *self.replays]

    @property
    def newest(self) -> Outcome | Replay:
        return self.replays[-1] if self.replays else self.outcome

    @property
    def verdict(self) -> ReplayVerdict:
        return self.newest.verdict

    @property
    def accepted(self) -> list[Partition]:
        """Every partition of rows that count."""
        return [part for entry in self._entries for part in entry.accepted_parts]

    @property
    def accepted_rows(self) -> int:
        """How many of its rows count now."""
        return sum(part.rows for part in self.accepted)

    @property
    def sketches(self) -> list[Partition]:
        return [part for entry in self._entries for part in entry.sketches]

    @property
    def quarantined(self) -> tuple[Partition, ...]:
        return self.newest.quarantined_parts

    @property
    def validation_key(self) -> str:
        return self.newest.validation_key

    @property
    def discarded_rows(self) -> int:
        return self.replays[-1].discarded_rows if self.replays else 0


def find(reviews: Bucket, delivery: str) -> Standing | None:
    """The state of a delivery; None if it has no outcome.

    Raises
    ------
    TrustError
        If an entry is torn, is missing, or does not follow from the one before it.
    """
    outcome = reviews.find_record(outcome_key(delivery), Outcome)
    if outcome is None:
        return None
    replays = sum(is_ledger_entry(info.key) for info in reviews.list(replays_folder(delivery)))
    return _read(reviews, reviews.get_record, delivery, replays)


def is_held(reviews: Bucket, delivery: str) -> bool:
    """Whether a delivery that was held still is; what cannot be read is taken as held."""
    try:
        standing = find(reviews, delivery)
    except Exception as error:
        if not concerns_one_record(error):
            raise
        logger.warning("delivery=%s is taken as held: %s", delivery, sentence(error))
        return True
    return standing is not None and standing.verdict == "HELD"


def of_sources(standings: Sequence[Standing], sources: Collection[str]) -> list[Standing]:
    """The deliveries of these sources; of all, where none is named."""
    return [each for each in standings if not sources or each.outcome.source in sources]


def every(reviews: Bucket, *, skips_torn: bool = False, keeps: bool = False) -> list[Standing]:
    """The state of every delivery that has an outcome, sorted by delivery.

    Parameters
    ----------
    reviews : Bucket
        Where the ledger is.
    skips_torn : bool
        Skip unreadable entries with a warning; for callers that only compare.
    keeps : bool
        Roll up what is not yet, for the readers after this one.

    Raises
    ------
    TrustError
        If an entry cannot be read and ``skips_torn`` is False.
    """
    listed = _listed(reviews)
    rolled = RollUp(reviews, LEDGER)

    def read(delivery: str) -> Standing:
        infos = listed[delivery]
        replays = len(infos.keys() - {outcome_key(delivery)})
        return _read(reviews, _through(rolled, reviews, infos), delivery, replays)

    attempt = _or_none(read) if skips_torn else read
    read_standings = rolled.each(attempt, sorted(listed), lambda delivery: _last(listed[delivery]))
    if keeps:
        rolled.keep()
    return [standing for standing in read_standings if standing is not None]


def _last(infos: Mapping[str, ObjectInfo]) -> tuple[str, str]:
    """Key and version tag of the last entry of a delivery; those before were read before it."""
    info = infos[max(infos)]
    return info.key, info.version_tag


def _listed(reviews: Bucket) -> dict[str, dict[str, ObjectInfo]]:
    """The ledger entries of each delivery, by key."""
    listed: dict[str, dict[str, ObjectInfo]] = {}
    for info in reviews.list(DELIVERIES):
        if is_ledger_entry(info.key):
            delivery = info.key.removeprefix(DELIVERIES).partition("/")[0]
            listed.setdefault(delivery, {})[info.key] = info
    return listed


def _through(rolled: RollUp, reviews: Bucket, infos: dict[str, ObjectInfo]) -> _Reader:
    """A reader that asks the roll-up first for what was listed."""

    def read(key: str, kind: type[AnyRecord], /) -> AnyRecord:
        info = infos.get(key)
        return reviews.get_record(key, kind) if info is None else rolled.record(info, kind)

    return read


def _or_none(read: Callable[[str], Result]) -> Callable[[str], Result | None]:
    def attempt(delivery: str) -> Result | None:
        try:
            return read(delivery)
        except (TrustError, ObjectMissingError) as error:
            logger.warning("delivery=%s is skipped in the history: %s", delivery, error)
            return None

    return attempt


def _read(reviews: Bucket, read: _Reader, delivery: str, replays: int) -> Standing:
    outcome = read(outcome_key(delivery), Outcome)
    entries: list[Replay] = []
    before: Outcome | Replay = outcome
    for number in range(1, replays + 1):
        key = replay_key(delivery, number)
        entry = read(key, Replay)
        if (entry.number, entry.follows, entry.delivery) != (number, before.digest(), delivery):
            raise TrustError(f"{reviews.uri(key)} does not follow from the entry before it")
        before = entry
        entries.append(entry)
    return Standing(outcome, tuple(entries))
