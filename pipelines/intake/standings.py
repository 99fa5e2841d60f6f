"""The current state of each delivery: its outcome, and what people decided since.

deliveries/<sha256>/outcome.json           the outcome of its validation
deliveries/<sha256>/replays/<number>.json  a later decision by a person; never changed or removed
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pipelines.core.errors import ObjectMissingError, TrustError
from pipelines.core.keys import DELIVERIES, outcome_key, replay_key, replays_folder
from pipelines.core.parallel import in_parallel
from pipelines.core.store.bucket import Bucket
from pipelines.records.data import Partition
from pipelines.records.deliveries import Outcome, Replay, ReplayVerdict

logger = logging.getLogger(__name__)


Result = TypeVar("Result")


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
        return [entry.accepted for entry in self._entries if entry.accepted is not None]

    @property
    def accepted_rows(self) -> int:
        """How many of its rows count now."""
        return sum(part.rows for part in self.accepted)

    @property
    def sketches(self) -> list[Partition]:
        return [entry.sketch for entry in self._entries if entry.sketch is not None]

    @property
    def quarantined(self) -> Partition | None:
        return self.newest.quarantined

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
    names = [info.key for info in reviews.list(replays_folder(delivery))]
    return _read(reviews, delivery, len(names))


def every(reviews: Bucket, *, skips_torn: bool = False) -> list[Standing]:
    """The state of every delivery that has an outcome, sorted by delivery.

    Parameters
    ----------
    reviews : Bucket
        Where the ledger is.
    skips_torn : bool
        Skip unreadable entries with a warning; for callers that only compare.

    Raises
    ------
    TrustError
        If an entry cannot be read and ``skips_torn`` is False.
    """
    counts: dict[str, int] = {}
    for info in reviews.list(DELIVERIES):
        delivery, _, name = info.key.removeprefix(DELIVERIES).partition("/")
        if name == "outcome.json":
            counts.setdefault(delivery, 0)
        elif name.startswith("replays/"):
            counts[delivery] = counts.get(delivery, 0) + 1

    def read(delivery: str) -> Standing:
        return _read(reviews, delivery, counts[delivery])

    attempt = _or_none(read) if skips_torn else read
    read_standings = list(in_parallel(attempt, sorted(counts)))
    return [standing for standing in read_standings if standing is not None]


def _or_none(read: Callable[[str], Result]) -> Callable[[str], Result | None]:
    def attempt(delivery: str) -> Result | None:
        try:
            return read(delivery)
        except (TrustError, ObjectMissingError) as error:
            logger.warning("delivery=%s is skipped in the history: %s", delivery, error)
            return None

    return attempt


def _read(reviews: Bucket, delivery: str, replays: int) -> Standing:
    outcome = reviews.get_record(outcome_key(delivery), Outcome)
    entries: list[Replay] = []
    before = outcome.digest()
    for number in range(1, replays + 1):
        key = replay_key(delivery, number)
        entry = reviews.get_record(key, Replay)
        if (entry.number, entry.follows, entry.delivery) != (number, before, delivery):
            raise TrustError(f"{reviews.uri(key)} does not follow from the entry before it")
        before = entry.digest()
        entries.append(entry)
    return Standing(outcome, tuple(entries))
