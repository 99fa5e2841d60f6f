"""Fingerprints per partition, computed once and cached.

The cache may be deleted at any time. An entry that is forged, corrupt, torn, or belongs to another
partition or featurizer is recomputed, never trusted.
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
from pipelines.features.views import View
from pipelines.intake.partitions import read_partition
from pipelines.records.data import Partition, Snapshot

logger = logging.getLogger(__name__)

MAX_THREADS = 8
_KIND = "Features"
_DAMAGED = (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class CacheUse:
    """How many partitions were found in the cache, and how many had to be computed."""

    cached: int
    computed: int


def cache_folder(view: View) -> str:
    return f"features/{FEATURIZER_VERSION}-{view.name}"


def cache_key(partition: Partition, view: View) -> str:
    return f"{cache_folder(view)}/{partition.sha256}.npz"


def fill_cache(
    reviews: Bucket,
    snapshot: Snapshot,
    view: View,
    *,
    on_partition: Callable[[Partition], None] = lambda _partition: None,
) -> CacheUse:
    """Make sure that every partition of the snapshot has its fingerprints in the cache.

    Several threads work on one partition each, so memory is bounded by the largest few partitions.
    Existing entries are not verified here; a reader that finds a damaged one recomputes it.
    """
    folder = cache_folder(view)
    cached_keys = {info.key for info in reviews.list(f"{folder}/")}

    def is_cached(partition: Partition) -> bool:
        if cache_key(partition, view) in cached_keys:
            return True
        _compute(reviews, partition, view)
        return False

    cached = 0
    with ThreadPoolExecutor(min(MAX_THREADS, len(os.sched_getaffinity(0)))) as pool:
        answers = pool.map(is_cached, snapshot.partitions)
        for partition, was_cached in zip(snapshot.partitions, answers, strict=True):
            cached += was_cached
            on_partition(partition)
    use = CacheUse(cached=cached, computed=len(snapshot.partitions) - cached)
    logger.info("featurizer=%s cached=%d computed=%d", FEATURIZER_VERSION, use.cached, use.computed)
    return use


def partition_fingerprints(reviews: Bucket, partition: Partition, view: View) -> Fingerprints:
    """The fingerprints of a partition's rows, in row order."""
    cached = _find(reviews, partition, view)
    if cached is not None:
        return cached
    return _compute(reviews, partition, view)


def _compute(reviews: Bucket, partition: Partition, view: View) -> Fingerprints:
    texts = read_partition(reviews, partition, columns=["text"]).column("text").to_pylist()
    computed = fingerprint(texts, view)
    key = cache_key(partition, view)
    reviews.put_cached(key, encode(computed, partition), kind=_KIND)
    return computed


def _find(reviews: Bucket, partition: Partition, view: View) -> Fingerprints | None:
    key = cache_key(partition, view)
    data = reviews.find_cached(key, kind=_KIND)
    if data is None:
        return None
    fingerprints = decode(data, partition, view)
    if fingerprints is None:
        logger.warning("cache=%s is corrupt or foreign; recomputing it", key)
    return fingerprints


def encode(fingerprints: Fingerprints, partition: Partition) -> bytes:
    """Bytes of a cache entry: arrays, the ids split in two, a bit for each late one."""
    low, high = split_ids(fingerprints.ids, fingerprints.view.bits)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        low=low,
        high=high,
        late=np.packbits(fingerprints.is_late),
        lengths=fingerprints.lengths.astype(np.int32),
        made_of=_made_of(partition, fingerprints.view),
    )
    return buffer.getvalue()


def decode(data: bytes | memoryview, partition: Partition, view: View) -> Fingerprints | None:
    """The fingerprints in a cache entry, or None if it is damaged or of another partition."""
    try:
        with _opened(data) as arrays:
            if not _is_of(arrays, partition, view):
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


def _is_of(arrays: Any, partition: Partition, view: View) -> bool:
    made_of = _made_of(partition, view)
    return np.array_equal(arrays["made_of"], made_of) and len(arrays["lengths"]) == partition.rows


def _made_of(partition: Partition, view: View) -> np.ndarray:
    text = f"{FEATURIZER_VERSION} {view.name} {partition.sha256}"
    return np.frombuffer(text.encode(), dtype=np.uint8)
