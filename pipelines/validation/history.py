"""What a delivery is compared with: earlier deliveries, from the ledger and the stored reports.

Only deliveries that an earlier night counted are used. So all deliveries of a night are compared
with the same history, in any order and at any concurrency, and so is a repeated task.
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
        """The trailing deliveries merged into one profile; None when there are none."""
        return profiles.together(
            past.profile for _, past in self.trailing if past.profile is not None
        )

    @property
    def mean_rows(self) -> float | None:
        """Delivered rows per trailing delivery; None when there are none."""
        rows = [past.delivered_rows for _, past in self.trailing]
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
    day = checked_night(before)
    every = standings.every(reviews)
    check_nothing_lost(every, learned)
    counted = [
        past
        for past in every
        if past.outcome.delivery != delivery and past.accepted and past.outcome.counted_in < before
    ]
    recent = _since(counted, day, settings.trailing_nights)
    known, digest = _known(reviews, _since(counted, day, settings.duplicate_nights), recent)
    of_source = [past for past in recent if past.outcome.source == source]
    of_source.sort(key=lambda past: (past.outcome.counted_in, past.outcome.delivery))
    keys = [past.validation_key for past in of_source]
    validations = list(in_parallel(lambda key: reviews.get_record(key, Validation), keys))
    trailing = tuple(zip(keys, validations, strict=True))
    return History(before, known, digest, trailing, source)


def _since(counted: Iterable[Standing], day: date, nights: int) -> list[Standing]:
    first = (day - timedelta(days=nights)).isoformat()
    return [past for past in counted if past.outcome.counted_in >= first]


def _known(
    reviews: Bucket, counted: Sequence[Standing], recent: Sequence[Standing]
) -> tuple[Known, str]:
    parts: dict[str, Partition] = {
        sketch.sha256: sketch for past in counted for sketch in past.sketches
    }
    names = sorted(parts)
    is_recent = {sketch.sha256 for past in recent for sketch in past.sketches}
    read = list(
        in_parallel(lambda name: signatures.from_table(read_partition(reviews, parts[name])), names)
    )
    keys = [NOTHING_KNOWN.text_keys, *(keys for keys, _ in read)]
    recent_signatures = [
        NOTHING_KNOWN.signatures,
        *(cells for name, (_, cells) in zip(names, read, strict=True) if name in is_recent),
    ]
    known = Known(np.unique(np.concatenate(keys)), np.concatenate(recent_signatures))
    return known, sha256_of(canonical_json([[name, name in is_recent] for name in names]))
