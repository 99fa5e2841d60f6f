"""The history of a night, read once and pinned, so that each delivery needs one request for it.

    rollups/histories-<sha256:16>/<sha256>.rollup

It is named by its digest, and the tasks of a night hand that name on. It holds which night it is
for, and what the champion had learned when the ledger was checked. Where anything does not fit,
the history is read from the ledger.

A task that is repeated is compared with the history that was pinned for it. To compare it with
what was released since, repeat `pin_history`.
"""

from __future__ import annotations

import logging

import numpy as np

from pipelines.core import keys
from pipelines.core.errors import StoreRefusedError, StoreUnavailableError, TrustError
from pipelines.core.record import NightDate, Record, Sha256, sha256_of
from pipelines.core.settings.data import ValidationSettings
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.rollups import KIND, trust_of
from pipelines.features.signatures import CELLS, Known
from pipelines.intake import standings
from pipelines.intake.snapshot import check_nothing_lost
from pipelines.records.data import Snapshot
from pipelines.validation import history
from pipelines.validation.history import NOTHING_TRAILING, History, Trailing

logger = logging.getLogger(__name__)

MOST_KEPT = 3  # of several nights that run at once, or one after the other


class _Head(Record):
    before: NightDate
    duplicate_nights: int
    trailing_nights: int
    learned: Sha256 | None  # digest of the snapshot whose rows the ledger had
    known: Sha256  # digest of everything the texts were read from
    texts: int
    recent_texts: int
    trailing: dict[str, Trailing]  # by source


def pin(
    reviews: Bucket, *, before: str, settings: ValidationSettings, learned: Snapshot | None
) -> str | None:
    """Read the history of a night, keep it, and roll up what it was read from; returns its key.

    None when no earlier night counted anything.

    Raises
    ------
    TrustError
        If an entry of the ledger is missing or its proof fails.
    """
    every = standings.every(reviews, keeps=True)
    check_nothing_lost(every, learned)
    counted = history.counted_before(every, before, settings)
    if not (counted.known or counted.recent):
        return None
    known, digest = history.read_known(reviews, counted, keeps=True)
    sources = sorted({past.outcome.source for past in counted.recent})
    trailing = history.read_trailing(reviews, counted.recent, sources, keeps=True)
    head = _Head(
        before=before,
        duplicate_nights=settings.duplicate_nights,
        trailing_nights=settings.trailing_nights,
        learned=learned.digest() if learned else None,
        known=digest,
        texts=len(known.text_keys),
        recent_texts=len(known.signatures),
        trailing=dict(zip(sources, trailing, strict=True)),
    )
    return _keep(reviews, head.to_bytes() + known.text_keys.tobytes() + known.signatures.tobytes())


def find(
    reviews: Bucket,
    key: str,
    *,
    source: str,
    before: str,
    settings: ValidationSettings,
    learned: Snapshot | None,
) -> History | None:
    """The history pinned under a key, for a source; None when it is missing or does not fit."""
    try:
        payload = reviews.find_cached(key, kind=KIND)
        if payload is None:
            return None
        return _decoded(bytes(payload), key, source, (before, settings, learned))
    except (ValueError, TrustError, StoreRefusedError) as error:
        logger.warning("history=%s is not used: %s", key, error)
        return None


def _decoded(
    data: bytes,
    key: str,
    source: str,
    wanted: tuple[str, ValidationSettings, Snapshot | None],
) -> History:
    before, settings, learned = wanted
    if sha256_of(data) != keys.digest_of_rollup(key):
        raise ValueError("it is not the one of this name")
    start = data.index(b"\n") + 1
    head = _Head.from_bytes(data[:start], uri=key)
    made_for = head.before, head.duplicate_nights, head.trailing_nights, head.learned
    if made_for != (
        before, settings.duplicate_nights, settings.trailing_nights,
        learned.digest() if learned else None,
    ):  # fmt: skip
        raise ValueError(f"it was made for another night, or other settings: {made_for}")
    text_keys = np.frombuffer(data, np.uint64, head.texts, start)
    rest = np.frombuffer(data, np.uint16, head.recent_texts * CELLS, start + text_keys.nbytes)
    known = Known(text_keys, rest.reshape(-1, CELLS))
    return History(before, known, head.known, head.trailing.get(source, NOTHING_TRAILING), source)


def _keep(reviews: Bucket, payload: bytes) -> str:
    folder = keys.rollup_folder("histories", trust_of(reviews.keyring))
    key = f"{folder}{sha256_of(payload)}.rollup"
    try:
        reviews.put_cached(key, payload, kind=KIND)
        others = [info for info in reviews.list(folder) if info.key != key]
        for info in sorted(others, key=lambda info: info.stored_at)[: 1 - MOST_KEPT]:
            reviews.delete(info.key)
    except (StoreRefusedError, StoreUnavailableError) as error:
        logger.warning("history=%s was not stored, or an older one not deleted: %s", key, error)
    return key
