"""What a delivery is compared with: earlier deliveries, from the ledger and the stored reports.

Only deliveries that an earlier night counted are used. So all deliveries of a night are compared
with the same history, in any order and at any concurrency, and so is a repeated task.

What was read once of an earlier delivery is rolled up (`core.store.rollups`): its texts, and the
few numbers of its report that later ones are compared with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, NamedTuple

import numpy as np

from pipelines.core.record import Record, canonical_json, sha256_of
from pipelines.core.settings.data import ValidationSettings
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.rollups import RollUp
from pipelines.features import signatures
from pipelines.features.signatures import CELLS, NOTHING_KNOWN, Known
from pipelines.intake import standings
from pipelines.intake.landing import checked_night
from pipelines.intake.partitions import read_partition
from pipelines.intake.snapshot import check_nothing_lost
from pipelines.intake.standings import Standing
from pipelines.records.data import Partition, Snapshot
from pipelines.records.validations import Agreement, Profile, Validation
from pipelines.validation import profiles


class Past(Record):
    """What later deliveries of the source are compared with, of one earlier delivery's report."""

    delivered_rows: int
    profile: Profile | None
    agreement: Agreement | None

    @classmethod
    def of(cls, validation: Validation) -> Past:
        return cls(
            delivered_rows=validation.delivered_rows,
            profile=validation.profile,
            agreement=validation.agreement,
        )


class Trailing(Record):
    """The recent deliveries of one source together."""

    keys: tuple[str, ...] = ()  # of their reports, oldest first
    delivered_rows: int = 0
    reference: Profile | None = None  # merged
    labelled_rows: int = 0  # that the champion of the day labelled
    agreeing_rows: int = 0  # of these: labelled as they were delivered

    @classmethod
    def of(cls, keys: Sequence[str], past: Sequence[Past]) -> Trailing:
        agreements = [each.agreement for each in past if each.agreement is not None]
        return cls(
            keys=tuple(keys),
            delivered_rows=sum(each.delivered_rows for each in past),
            reference=profiles.together(each.profile for each in past if each.profile is not None),
            labelled_rows=sum(agreement.rows for agreement in agreements),
            agreeing_rows=sum(agreement.agreeing_rows for agreement in agreements),
        )

    @property
    def mean_rows(self) -> float | None:
        """Delivered rows per delivery; None when there are none."""
        return self.delivered_rows / len(self.keys) if self.keys else None


NOTHING_TRAILING = Trailing()


@dataclass(frozen=True, eq=False)
class History:
    """Earlier deliveries, ready to be compared with.

    Parameters
    ----------
    before : str
        Only deliveries counted in nights before this one are in it.
    known : Known
        The texts that count already, of all sources.
    digest : str
        Of everything ``known`` was read from.
    trailing : Trailing
        The recent deliveries of the same source.
    source : str
        Which source that is; empty when nothing is compared.
    """

    before: str
    known: Known
    digest: str
    trailing: Trailing = NOTHING_TRAILING
    source: str = ""


def empty(before: str) -> History:
    return History(before, NOTHING_KNOWN, sha256_of(canonical_json([])))


class Counted(NamedTuple):
    """The deliveries that earlier nights counted, within each of the two windows."""

    known: list[Standing]  # whose texts are known
    recent: list[Standing]  # which say what is usual


def collect(
    reviews: Bucket,
    *,
    delivery: str,
    source: str,
    before: str,
    settings: ValidationSettings,
    learned: Snapshot | None = None,
) -> History:
    """Read the history that a delivery is compared with.

    Parameters
    ----------
    reviews : Bucket
        Where ledger and reports are.
    delivery : str
        The delivery itself, which is not part of its history.
    source : str
        Whose deliveries are comparable.
    before : str
        The night that takes the delivery up, ``YYYY-MM-DD``.
    settings : ValidationSettings
        How far to look back.
    learned : Snapshot, optional
        What the champion was trained on: the ledger must have all of it still.

    Raises
    ------
    TrustError
        If an entry of the ledger is missing or its proof fails. A delivery that is compared with
        less than there was might pass.
    """
    every = standings.every(reviews)
    check_nothing_lost(every, learned)
    others = [past for past in every if past.outcome.delivery != delivery]
    counted = counted_before(others, before, settings)
    known, digest = read_known(reviews, counted)
    of_source = [past for past in counted.recent if past.outcome.source == source]
    (trailing,) = read_trailing(reviews, of_source, [source])
    return History(before, known, digest, trailing, source)


def counted_before(every: Iterable[Standing], before: str, settings: ValidationSettings) -> Counted:
    """The deliveries with rows that count, of the nights before one."""
    day = checked_night(before)
    counted = [past for past in every if past.accepted and past.outcome.counted_in < before]
    return Counted(
        _since(counted, day, settings.duplicate_nights),
        _since(counted, day, settings.trailing_nights),
    )


def _since(counted: Iterable[Standing], day: date, nights: int) -> list[Standing]:
    first = (day - timedelta(days=nights)).isoformat()
    return [past for past in counted if past.outcome.counted_in >= first]


def read_trailing(
    reviews: Bucket, recent: Iterable[Standing], sources: Sequence[str], *, keeps: bool = False
) -> list[Trailing]:
    """The recent deliveries of each of the given sources."""
    ordered = sorted(recent, key=lambda past: (past.outcome.counted_in, past.outcome.delivery))
    rolled = RollUp(reviews, "profiles")

    def read(key: str) -> Past:
        return rolled.made(key, Past, lambda: Past.of(reviews.get_record(key, Validation)))

    keys = [past.validation_key for past in ordered]
    past = dict(zip(keys, rolled.each(read, keys, lambda key: (key, "")), strict=True))
    if keeps:
        rolled.keep(only=past.keys())
    of_source: dict[str, list[str]] = {source: [] for source in sources}
    for standing in ordered:
        of_source[standing.outcome.source].append(standing.validation_key)
    return [Trailing.of(mine, [past[key] for key in mine]) for mine in of_source.values()]


def read_known(reviews: Bucket, counted: Counted, *, keeps: bool = False) -> tuple[Known, str]:
    """The texts that count already, and a digest of everything they were read from."""
    parts = {sketch.sha256: sketch for past in counted.known for sketch in past.sketches}
    names = sorted(parts)
    recent = {sketch.sha256 for past in counted.recent for sketch in past.sketches}
    sketches = _Sketches(reviews, parts)
    text_keys = sketches.column("text-keys", names, keeps=keeps)
    recent_names = [name for name in names if name in recent]
    cells = sketches.column("signatures", recent_names, keeps=keeps)
    known = Known(
        np.unique(np.frombuffer(text_keys, np.uint64)),
        np.frombuffer(cells, np.uint16).reshape(-1, CELLS),
    )
    return known, sha256_of(canonical_json([[name, name in recent] for name in names]))


class _Sketches:
    """The stored sketches by their digest; one that is not rolled up is read once."""

    def __init__(self, reviews: Bucket, parts: dict[str, Partition]) -> None:
        self._reviews = reviews
        self._parts = parts
        self._read: dict[str, tuple[bytes, bytes]] = {}

    def column(
        self, column: Literal["text-keys", "signatures"], names: Sequence[str], *, keeps: bool
    ) -> bytes:
        """One of the two columns, of the sketches of these names, one after the other."""
        rolled = RollUp(self._reviews, column)
        place = 0 if column == "text-keys" else 1

        def read(name: str) -> bytes:
            return rolled.data(name, lambda: self._bytes(name)[place])

        parts = rolled.each(read, names, lambda name: (name, ""))
        if keeps:
            rolled.keep(only=set(names))
        return b"".join(parts)

    def _bytes(self, name: str) -> tuple[bytes, bytes]:
        if name not in self._read:
            text_keys, cells = signatures.from_table(
                read_partition(self._reviews, self._parts[name])
            )
            self._read[name] = text_keys.tobytes(), cells.tobytes()
        return self._read[name]
