"""What a delivery is compared with: earlier deliveries as the ledger and the stored reports say.

Only deliveries that an earlier night counted are looked at. So deliveries of one night are judged
alike in whatever order and however many at once, and a repeated task sees the same history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeVar

import numpy as np

from pipelines.core.parallel import in_parallel
from pipelines.core.record import canonical_json, sha256_of
from pipelines.core.settings import ValidationSettings
from pipelines.core.store.bucket import Bucket
from pipelines.features import signatures
from pipelines.features.signatures import NOTHING_KNOWN, Known
from pipelines.intake import standings
from pipelines.intake.landing import checked_night
from pipelines.intake.partitions import read_partition
from pipelines.intake.snapshot import check_nothing_lost
from pipelines.intake.standings import Standing
from pipelines.records.data import Partition, Snapshot
from pipelines.records.validations import Profile, Validation
from pipelines.validation import profiles

One = TypeVar("One")
Other = TypeVar("Other")


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
    trailing : tuple of (str, Validation)
        Key and record of the recent deliveries of the same source, oldest first.
    source : str
        Which source that is; empty when nothing is compared.
    """

    before: str
    known: Known
    digest: str
    trailing: tuple[tuple[str, Validation], ...]
    source: str = ""

    @property
    def reference(self) -> Profile | None:
        """The trailing deliveries as if they were one; None when there is none."""
        return profiles.together(
            found.profile for _, found in self.trailing if found.profile is not None
        )

    @property
    def mean_rows(self) -> float | None:
        """Delivered rows per trailing delivery; None when there is none."""
        rows = [found.delivered_rows for _, found in self.trailing]
        return sum(rows) / len(rows) if rows else None


def empty(before: str) -> History:
    return History(before, NOTHING_KNOWN, sha256_of(canonical_json([])), ())


def collect(
    reviews: Bucket,
    *,
    delivery: str,
    source: str,
    before: str,
    settings: ValidationSettings,
    learned: Snapshot | None = None,
) -> History:
    """Read the history that a delivery is judged by.

    Parameters
    ----------
    reviews : Bucket
        Where ledger and reports are.
    delivery : str
        The delivery itself, which is no part of its history.
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
        If an entry of the ledger is not proven to be one, or was taken away. A delivery that is
        compared with less than there was might pass.
    """
    day = checked_night(before)
    every = standings.every(reviews)
    check_nothing_lost(every, learned)
    counted = [
        one
        for one in every
        if one.outcome.delivery != delivery and one.accepted and one.outcome.counted_in < before
    ]
    recent = _since(counted, day, settings.trailing_nights)
    known, digest = _known(reviews, _since(counted, day, settings.duplicate_nights), recent)
    of_source = [one for one in recent if one.outcome.source == source]
    of_source.sort(key=lambda one: (one.outcome.counted_in, one.outcome.delivery))
    keys = [one.validation_key for one in of_source]
    found = list(in_parallel(lambda key: reviews.get_record(key, Validation), keys))
    trailing = tuple(zip(keys, found, strict=True))
    return History(before, known, digest, trailing, source)


def _since(found: Iterable[Standing], day: date, nights: int) -> list[Standing]:
    first = (day - timedelta(days=nights)).isoformat()
    return [one for one in found if one.outcome.counted_in >= first]


def _known(
    reviews: Bucket, counted: Sequence[Standing], recent: Sequence[Standing]
) -> tuple[Known, str]:
    parts: dict[str, Partition] = {
        sketch.sha256: sketch for one in counted for sketch in one.sketches
    }
    names = sorted(parts)
    is_recent = {sketch.sha256 for one in recent for sketch in one.sketches}
    read = list(
        in_parallel(lambda name: signatures.from_table(read_partition(reviews, parts[name])), names)
    )
    keys = [NOTHING_KNOWN.text_keys, *(keys for keys, _ in read)]
    found = [
        NOTHING_KNOWN.signatures,
        *(cells for name, (_, cells) in zip(names, read, strict=True) if name in is_recent),
    ]
    known = Known(np.unique(np.concatenate(keys)), np.concatenate(found))
    return known, sha256_of(canonical_json([[name, name in is_recent] for name in names]))
