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

from pipelines.core.record import sha256_of
from pipelines.core.store.bucket import Bucket
from pipelines.features.fingerprints import FEATURIZER_VERSION, Fingerprints, fingerprint
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


CURRENT_PREFIX = f"features/{FEATURIZER_VERSION}-"


def cache_folder(*, ngram_max: int, bits: int) -> str:
    return f"{CURRENT_PREFIX}n{ngram_max}-b{bits}"


def cache_key(partition: Partition, *, ngram_max: int, bits: int) -> str:
    return f"{cache_folder(ngram_max=ngram_max, bits=bits)}/{partition.sha256}.npz"


def fill_cache(
    reviews: Bucket,
    snapshot: Snapshot,
    *,
    ngram_max: int,
    bits: int,
    on_partition: Callable[[Partition], None] = lambda _partition: None,
) -> CacheUse:
    """Make sure that every partition of the snapshot has its fingerprints in the cache.

    Several threads work on one partition each, so memory is bounded by the largest few partitions.
    Existing entries are not verified here; a reader that finds a damaged one recomputes it.
    """
    folder = cache_folder(ngram_max=ngram_max, bits=bits)
    cached_keys = {info.key for info in reviews.list(f"{folder}/")}

    def is_cached(partition: Partition) -> bool:
        if cache_key(partition, ngram_max=ngram_max, bits=bits) in cached_keys:
            return True
        _compute(reviews, partition, ngram_max=ngram_max, bits=bits)
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


def bundled(
    reviews: Bucket, snapshot: Snapshot, *, ngram_max: int, bits: int
) -> dict[str, Callable[[bytes], bool]]:
    """What a retraining reads of a snapshot, for `features.bundles`: rows and fingerprints."""

    def is_partition(partition: Partition) -> Callable[[bytes], bool]:
        return lambda data: sha256_of(data) == partition.sha256

    def is_cached(key: str) -> Callable[[bytes], bool]:
        through = reviews.reading_through
        return lambda data: through(lambda _key, **_: data).find_cached(key, kind=_KIND) is not None

    objects: dict[str, Callable[[bytes], bool]] = {}
    for partition in snapshot.partitions:
        key = cache_key(partition, ngram_max=ngram_max, bits=bits)
        objects |= {partition.key: is_partition(partition), key: is_cached(key)}
    return objects


def partition_fingerprints(
    reviews: Bucket, partition: Partition, *, ngram_max: int, bits: int
) -> Fingerprints:
    """The fingerprints of a partition's rows, in row order."""
    cached = _find(reviews, partition, ngram_max=ngram_max, bits=bits)
    if cached is not None:
        return cached
    return _compute(reviews, partition, ngram_max=ngram_max, bits=bits)


def _compute(reviews: Bucket, partition: Partition, *, ngram_max: int, bits: int) -> Fingerprints:
    texts = read_partition(reviews, partition, columns=["text"]).column("text").to_pylist()
    computed = fingerprint(texts, ngram_max=ngram_max, bits=bits)
    key = cache_key(partition, ngram_max=ngram_max, bits=bits)
    reviews.put_cached(key, encode(computed, partition), kind=_KIND)
    return computed


def _find(
    reviews: Bucket, partition: Partition, *, ngram_max: int, bits: int
) -> Fingerprints | None:
    key = cache_key(partition, ngram_max=ngram_max, bits=bits)
    data = reviews.find_cached(key, kind=_KIND)
    if data is None:
        return None
    fingerprints = decode(data, partition, ngram_max=ngram_max, bits=bits)
    if fingerprints is None:
        logger.warning("cache=%s is corrupt or foreign; recomputing it", key)
    return fingerprints


def encode(fingerprints: Fingerprints, partition: Partition) -> bytes:
    """Bytes of a cache entry: arrays, the ids split in 4 + 4 bytes."""
    low = (fingerprints.ids & np.uint64(0xFFFF_FFFF)).astype(np.uint32)
    high = (fingerprints.ids >> np.uint64(32)).astype(np.uint32)
    narrow = high.astype(np.uint8) if fingerprints.bits <= 40 else high
    buffer = io.BytesIO()
    np.savez(
        buffer,
        low=low,
        high=narrow,
        lengths=fingerprints.lengths.astype(np.int32),
        made_of=_made_of(partition, ngram_max=fingerprints.ngram_max, bits=fingerprints.bits),
    )
    return buffer.getvalue()


def decode(
    data: bytes | memoryview, partition: Partition, *, ngram_max: int, bits: int
) -> Fingerprints | None:
    """The fingerprints in a cache entry, or None if it is damaged or of another partition."""
    try:
        with _opened(data) as arrays:
            if not _is_of(arrays, partition, ngram_max=ngram_max, bits=bits):
                return None
            ids = arrays["high"].astype(np.uint64) << np.uint64(32)
            ids |= arrays["low"]
            lengths = arrays["lengths"].astype(np.int64)
        return Fingerprints(ids=ids, lengths=lengths, ngram_max=ngram_max, bits=bits)
    except _DAMAGED:
        return None


def _opened(data: bytes | memoryview) -> Any:
    arrays = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(arrays, NpzFile):
        raise ValueError("a single array instead of several named ones")  # noqa: TRY004
    return arrays


def _is_of(arrays: Any, partition: Partition, *, ngram_max: int, bits: int) -> bool:
    made_of = _made_of(partition, ngram_max=ngram_max, bits=bits)
    return np.array_equal(arrays["made_of"], made_of) and len(arrays["lengths"]) == partition.rows


def _made_of(partition: Partition, *, ngram_max: int, bits: int) -> np.ndarray:
    text = f"{FEATURIZER_VERSION} {ngram_max} {bits} {partition.sha256}"
    return np.frombuffer(text.encode(), dtype=np.uint8)
