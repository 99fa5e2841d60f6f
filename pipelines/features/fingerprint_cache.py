"""Fingerprints per pack of partitions (`features.packs`), computed once and cached.

The cache may be deleted at any time. An entry that is forged, corrupt, torn, or belongs to another
pack or featurizer is recomputed, never trusted.
"""

from __future__ import annotations

import io
import logging
import os
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile

from pipelines.core.store.bucket import Bucket
from pipelines.features.fingerprints import (
    FEATURIZER_VERSION,
    Fingerprints,
    fingerprint,
    joined_ids,
    split_ids,
)
from pipelines.features.packs import Pack, Share, packed, read_pack
from pipelines.features.views import View
from pipelines.records.data import Partition, Snapshot

logger = logging.getLogger(__name__)

MAX_THREADS = 3  # a partition of 20,000 reviews takes 0.35 GB in each
_KIND = "Features"
# An entry has 2 to 3 bytes per kind of n-gram for each byte of a stored partition of real reviews.
_BYTES_PER_BYTE, _FEWEST_BYTES = 4, 64 * 1024
_DAMAGED = (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class CacheUse:
    """How many partitions were found in the cache, and how many had to be computed."""

    cached: int
    computed: int


CURRENT_PREFIX = f"features/{FEATURIZER_VERSION}-"


def cache_folder(view: View) -> str:
    return f"{CURRENT_PREFIX}{view.name}"


def cache_key(pack: Partition | Pack, view: View) -> str:
    return f"{cache_folder(view)}/{pack.sha256}.npz"


def missing_packs(reviews: Bucket, snapshot: Snapshot, view: View) -> int:
    """How many packs of the snapshot have no fingerprints in the cache."""
    cached_keys = {info.key for info in reviews.list(f"{cache_folder(view)}/")}
    return sum(cache_key(pack, view) not in cached_keys for pack in packed(snapshot.partitions))


def fill_cache(
    reviews: Bucket,
    snapshot: Snapshot,
    view: View,
    *,
    share: Share = (0, 1),
    on_partition: Callable[[Partition], None] = lambda _partition: None,
) -> CacheUse:
    """Make sure that every pack of a share of the snapshot has its fingerprints in the cache.

    Several threads work on one pack each, so memory is bounded by the largest few partitions.
    Existing entries are not verified here; a reader that finds a damaged one recomputes it.
    """
    folder, (number, of) = cache_folder(view), share
    cached_keys = {info.key for info in reviews.list(f"{folder}/")}

    def computed_of(pack: Pack) -> int:
        if cache_key(pack, view) in cached_keys:
            return 0
        return _compute(reviews, pack, view)[1]

    packs, computed = list(packed(snapshot.partitions))[number::of], 0
    with ThreadPoolExecutor(min(MAX_THREADS, len(os.sched_getaffinity(0)))) as pool:
        for pack, count in zip(packs, pool.map(computed_of, packs), strict=True):
            computed += count
            for partition in pack.partitions:
                on_partition(partition)
    partitions = sum(len(pack.partitions) for pack in packs)
    use = CacheUse(cached=partitions - computed, computed=computed)
    logger.info("featurizer=%s cached=%d computed=%d", FEATURIZER_VERSION, use.cached, use.computed)
    return use


def pack_fingerprints(reviews: Bucket, pack: Pack, view: View) -> Fingerprints:
    """The fingerprints of a pack's rows, in row order."""
    cached = _find(reviews, pack, view)
    if cached is not None:
        return cached
    return _compute(reviews, pack, view)[0]


def _compute(reviews: Bucket, pack: Pack, view: View) -> tuple[Fingerprints, int]:
    """The fingerprints of a pack, and of how many partitions they had to be computed."""
    before = pack.before
    earlier = None if before is None else _find(reviews, before, view)
    known = before if before is not None and earlier is not None else Pack(())
    texts = read_pack(reviews, pack, ["text"]).column("text").slice(known.rows).to_pylist()
    computed = fingerprint(texts, view)
    if earlier is not None:
        computed = Fingerprints.concat([earlier, computed])
    reviews.put_cached(cache_key(pack, view), encode(computed, pack), kind=_KIND)
    return computed, len(pack.partitions) - len(known.partitions)


def _find(reviews: Bucket, pack: Pack, view: View) -> Fingerprints | None:
    key = cache_key(pack, view)
    usual_bytes = _FEWEST_BYTES + _BYTES_PER_BYTE * view.kinds * pack.size_bytes
    data = reviews.find_cached(key, kind=_KIND, usual_bytes=usual_bytes)
    if data is None:
        return None
    fingerprints = decode(data, pack, view)
    if fingerprints is None:
        logger.warning("cache=%s is corrupt or foreign; recomputing it", key)
    return fingerprints


def encode(fingerprints: Fingerprints, pack: Partition | Pack) -> bytes:
    """Bytes of a cache entry: arrays, the ids split in two, a bit for each late one."""
    low, high = split_ids(fingerprints.ids, fingerprints.view.bits)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        low=low,
        high=high,
        late=np.packbits(fingerprints.is_late),
        lengths=fingerprints.lengths.astype(np.int32),
        made_of=_made_of(pack, fingerprints.view),
    )
    return buffer.getvalue()


def decode(data: bytes | memoryview, pack: Partition | Pack, view: View) -> Fingerprints | None:
    """The fingerprints in a cache entry, or None if it is damaged or of another pack."""
    try:
        with _opened(data) as arrays:
            if not _is_of(arrays, pack, view):
                return None
            ids = joined_ids(arrays["low"], arrays["high"])
            is_late = np.unpackbits(arrays["late"], count=len(ids)).astype(np.bool_)
            lengths = arrays["lengths"].astype(np.int64)
        return Fingerprints(ids, is_late, lengths, view)
    except _DAMAGED:
        return None


def _opened(data: bytes | memoryview) -> Any:
    arrays = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(arrays, NpzFile):
        raise ValueError("a single array instead of several named ones")  # noqa: TRY004
    return arrays


def _is_of(arrays: Any, pack: Partition | Pack, view: View) -> bool:
    made_of = _made_of(pack, view)
    return np.array_equal(arrays["made_of"], made_of) and len(arrays["lengths"]) == pack.rows


def _made_of(pack: Partition | Pack, view: View) -> np.ndarray:
    text = f"{FEATURIZER_VERSION} {view.name} {pack.sha256}"
    return np.frombuffer(text.encode(), dtype=np.uint8)
