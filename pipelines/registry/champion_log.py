"""The champion log: its order, and how far its dates can be trusted."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime

from pipelines.core import keys
from pipelines.core.errors import (
    ChampionMovedError,
    ObjectMissingError,
    TrustError,
)
from pipelines.core.store.answers import ObjectInfo
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.clock import CLOCKS_AGREE, now, read, written
from pipelines.core.store.rollups import RollUp
from pipelines.core.store.sealed import to_stored
from pipelines.records.succession import ChampionHint, LogEntry

logger = logging.getLogger(__name__)


class ChampionLog:
    """Who is and was champion. The log only grows; a missing entry or a lost end is an error."""

    def __init__(self, models: Bucket, name: str) -> None:
        self.models = models
        self.name = name

    def key(self, generation: int) -> str:
        return keys.log_key(self.name, generation)

    def champion(self) -> LogEntry | None:
        """The newest entry of the log; None only when the log was read and is empty.

        Raises
        ------
        TrustError
            If a generation is missing, the newest entry was changed, or the log was cut back.
        """
        newest = self.newest_generation()
        return self.entry(newest) if newest else None

    def newest_generation(self) -> int:
        """The champion's generation, from one read and one listing; 0 as `champion` gives None.

        Raises
        ------
        TrustError
            If a generation is missing, or the log was cut back.
        """
        announced = self._announced()  # read first: the log may grow meanwhile, but never shrink
        generations = self._generations()
        newest = generations[-1] if generations else 0
        if announced > newest:
            raise self.cut(f"the hint announces generation {announced}", newest)
        if not generations and (proof := self._find_later_gate()):
            generations = self._generations()  # the first promotion may just have happened
            if not generations:
                raise self.cut(f"{proof} was made against a champion", 0)
        return generations[-1] if generations else 0

    def _find_later_gate(self) -> str | None:
        """The key of anything that was found of a version when there was a champion."""
        for info in self.models.list(keys.versions_folder(self.name)):
            gate = keys.gate_of(info.key, self.name)
            if gate is not None and gate.generation > 0:
                return info.key
        return None

    def _announced(self) -> int:
        """The generation that the hint proves to have been promoted; 0 without a valid hint."""
        try:
            hint = self.models.find_record(keys.hint_key(self.name), ChampionHint)
        except TrustError as error:
            logger.warning("the champion hint is not used: %s", error)
            return 0
        return hint.generation if hint else 0

    def cut(self, why: str, newest: int) -> TrustError:
        return TrustError(
            f"the champion log of {self.name!r} was cut back: {why}, and it ends with generation "
            f"{newest}. It is not used. What to do: "
            "docs/runbooks/champion-log-broken.md"
        )

    def history(self, *, keeps: bool = False) -> list[LogEntry]:
        """Every entry of the log, oldest first.

        Parameters
        ----------
        keeps : bool
            Roll up what is not yet, for the readers after this one.

        Raises
        ------
        TrustError
            If a generation is missing, or an entry does not follow from the one before it.
        """
        listed, rolled = self._listed(), RollUp(self.models, "log", model=self.name)
        read = rolled.each(
            lambda info: rolled.record(info, LogEntry),
            list(listed.values()),
            lambda info: (info.key, info.version_tag),
        )
        entries: list[LogEntry] = []
        for generation, entry in zip(listed, read, strict=True):
            before = entries[-1].digest() if entries else None
            if entry.previous_entry_sha256 != before:
                raise TrustError(
                    f"{self.models.uri(self.key(generation))} does not follow from the entry "
                    f"before it: it names {entry.previous_entry_sha256}, but that entry is {before}"
                )
            entries.append(entry)
        if keeps:
            rolled.keep()
        return entries

    def entry(self, generation: int) -> LogEntry:
        return self.models.get_record(self.key(generation), LogEntry)

    def began(self, entry: LogEntry, *, most: int | None = None) -> LogEntry:
        """The entry that made its version champion; or, so many entries before, the oldest read."""
        oldest = max(1, entry.generation - most) if most is not None else 1
        while not entry.changes_champion and entry.generation > oldest:
            entry = self.entry(entry.generation - 1)
        return entry

    def find_entry(self, generation: int) -> LogEntry | None:
        try:
            return self.entry(generation)
        except ObjectMissingError:
            return None

    def _generations(self) -> list[int]:
        return list(self._listed())

    def _listed(self) -> dict[int, ObjectInfo]:
        """The lines of the listing by generation, ascending."""
        listed = {
            number: info
            for info in self.models.list(keys.log_folder(self.name))
            if (number := keys.generation_of(info.key, self.name))
        }
        for expected, generation in enumerate(sorted(listed), start=1):
            if generation != expected:
                raise TrustError(
                    f"{self.models.uri(self.key(expected))} is missing from the champion log"
                )
        return dict(sorted(listed.items()))

    def champion_at(self, moment: datetime) -> LogEntry | None:
        """Who was champion at a moment; None before the first promotion."""
        return answering_at(self.history(), moment, now(self.models))

    def withdrawn(self) -> dict[str, LogEntry]:
        """Versions that were rolled back and not released since, with the rollback's entry."""
        return withdrawn_among(self.history(keeps=True))

    def append(self, entry: LogEntry) -> LogEntry:
        """Write the next line of the log, or return it if it is already written.

        Raises
        ------
        ChampionMovedError
            If somebody else wrote that line.
        UnsafeStoreError
            If the store does not honour create-if-absent.
        """
        stored = self.models.put_first(entry)
        if stored.token != entry.token:
            newest = self.champion()
            raise ChampionMovedError(
                decided_against=entry.generation - 1,
                champion_is=newest.generation if newest else entry.generation,
            )
        entry = stored
        self._leave_hint(entry)
        logger.info("champion=%s generation=%d", entry.version, entry.generation)
        return entry

    def _leave_hint(self, entry: LogEntry) -> None:
        hint = ChampionHint(
            model_name=self.name, generation=entry.generation, version=entry.version
        )
        try:
            self.models.put(hint.object_key, to_stored(hint, self.models.keyring))
        except Exception:  # noqa: BLE001 - the log has the entry already
            logger.warning(
                "hint=%s was not written; readers find the log without it", keys.hint_key(self.name)
            )


def withdrawn_among(history: Iterable[LogEntry]) -> dict[str, LogEntry]:
    """Versions that were rolled back and not released since, with the rollback's entry."""
    withdrawn: dict[str, LogEntry] = {}
    for entry in history:
        if entry.kind == "rollback" and entry.subject is not None:
            withdrawn[entry.subject] = entry
        elif entry.kind == "release" and entry.subject is not None:
            withdrawn.pop(entry.subject, None)
    return withdrawn


def time_after(bucket: Bucket, before: LogEntry | None) -> str:
    """The date for the entry after ``before``, by the store's clock.

    It is never earlier than the date of ``before``, unless that is further ahead than the clocks
    of one store differ: then the date of ``before`` is wrong, and is not carried on.
    """
    at = now(bucket)
    then = read(before.at) if before else None
    if before is None or then is None or then <= at:
        return written(at)
    if then - at <= CLOCKS_AGREE:
        return before.at
    logger.warning(
        "Generation %d is dated %s, but the store's clock is at %s: one of the two is wrong. "
        "The next entry is dated by the store's clock.", before.generation, before.at, written(at),
    )  # fmt: skip
    return written(at)


def answering_at(history: Sequence[LogEntry], moment: datetime, now: datetime) -> LogEntry | None:
    """Who was champion at a moment; None before the first promotion.

    An entry dated after ``now``, or against the order of most others, has a wrong date. It counts
    from the date of the next entry whose date fits, or from ``now`` if there is none.
    """
    begun = [
        entry for entry, began in zip(history, _begun(history, now), strict=True) if began <= moment
    ]
    return begun[-1] if begun else None


def misdated(history: Sequence[LogEntry], now: datetime) -> list[LogEntry]:
    """The entries whose date is wrong by more than the clocks of one store differ."""
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
    """Positions of the longest non-decreasing subsequence of dates, by patience sorting."""
    ends: list[datetime] = []  # the earliest date that a run of each length can end with
    last: list[int] = []  # and its place
    before: dict[int, int | None] = {}
    for place, at in enumerate(dates):
        if at is None:
            continue
        length = bisect_right(ends, at)
        before[place] = last[length - 1] if length else None
        ends[length : length + 1], last[length : length + 1] = [at], [place]
    order: list[int] = []
    position = last[-1] if last else None
    while position is not None:
        order.append(position)
        position = before[position]
    return order
