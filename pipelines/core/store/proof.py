"""Check by trying that the store honours create-if-absent, before the log relies on it."""

from __future__ import annotations

import logging
import time
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from pipelines.core.errors import (
    StoreUnavailableError,
    UnsafeStoreError,
)

if TYPE_CHECKING:
    from pipelines.core.store.bucket import Bucket

logger = logging.getLogger(__name__)

_PROBES = "probes/"
_PROBE_LIVES = timedelta(hours=1)
_TRIES = 4


def prove_create_if_absent(bucket: Bucket) -> None:
    """Refuse a store that accepts create-if-absent writes and ignores the condition.

    On such a store every racer "wins" and the champion log means nothing.

    Raises
    ------
    UnsafeStoreError
        If a second create of the same key succeeds or the first one's bytes are lost.
    """
    key = f"{_PROBES}{uuid.uuid4().hex}"
    bucket.put_once(key, b"first")
    second = _settled_create(bucket, key, b"second")
    kept = bucket.get_or_none(key)
    _sweep_probes(bucket, key)
    if (second, kept) != ("exists", b"first"):
        raise UnsafeStoreError(
            f"the store behind bucket {bucket.name!r} does not honour create-if-absent "
            f"(If-None-Match: *): a second write of one key answered {second!r}, and it then "
            f"held {kept!r} instead of b'first'. Two runs could both promote. "
            "Use AWS S3, MinIO from 2025-09-07 on, or Ceph."
        )


def _sweep_probes(bucket: Bucket, own: str) -> None:
    """Delete one's own probe, and old probes that stopped processes left behind.

    A probe that stays does no harm; the next check deletes it.
    """
    try:
        probes = {info.key: datetime.fromisoformat(info.stored_at)
                  for info in bucket.list(_PROBES)}  # fmt: skip
        now = probes.get(own)  # by the clock that all of them have
        outdated = [key for key, at in probes.items() if now and at < now - _PROBE_LIVES]
        for key in (own, *outdated):
            bucket.delete(key)
    except StoreUnavailableError as error:
        logger.warning("bucket=%s a probe was not deleted: %s", bucket.name, error)


def _settled_create(bucket: Bucket, key: str, data: bytes) -> Literal["created", "exists"]:
    for attempt in range(_TRIES):
        outcome = bucket.try_create(key, data)
        if outcome != "unsettled":
            return outcome
        time.sleep(0.05 * 2**attempt)
    raise StoreUnavailableError(
        f"creating {bucket.uri(key)} gave no conclusive answer in {_TRIES} tries. "
        "Run this again when the store has recovered."
    )
