"""Corpora of earlier nights, saved on S3 so that only the new rows have to be added.

A corpus is named by a chain of digests over its partitions and their selected rows. So the corpus
of an earlier night is found under the name of a prefix of today's chain. Like the fingerprints, it
is a cache: it may be deleted at any time, and an entry that is forged, corrupt or foreign is
recomputed.

A corpus is saved only when it is at least 12.5 % larger than the one it extended, which bounds
total writes. At most two are kept. Retrainings that alternate between different row sets do not
benefit.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import StoreRefusedError, StoreUnavailableError
from pipelines.core.store.bucket import Bucket
from pipelines.features.corpus import Corpus
from pipelines.features.fingerprint_cache import cache_folder, partition_fingerprints
from pipelines.features.occurrences import Rare
from pipelines.records.data import Partition

logger = logging.getLogger(__name__)

Selected = tuple[Partition, NDArray[np.int64]]
"""A partition, and its rows that are in a corpus, ascending."""

CORPUS_VERSION = "c1"
"""Version of what `pipelines.features.corpus` computes: change it when that changes."""

GROWTH_TO_KEEP = 1.125
_ALIGNMENT = 64
_MOST_HEAD_BYTES = 64 * 1024
_KIND = "Corpus"
_LOOK = 1 << 16
_ARRAYS = {
    "vocabulary": np.uint64, "columns": np.int32, "lengths": np.int32, "rare": np.uint64,
}  # fmt: skip
_DAMAGED = (ValueError, KeyError, TypeError, OverflowError, RecursionError)


def grown(
    reviews: Bucket, parts: Sequence[Selected], *, min_df: int, ngram_max: int, bits: int
) -> Corpus:
    """The corpus of the selected rows: the longest saved corpus of their beginning, extended."""
    folder = f"{cache_folder(ngram_max=ngram_max, bits=bits)}/corpora-{CORPUS_VERSION}-df{min_df}"
    empty = Corpus.empty(min_df=min_df, ngram_max=ngram_max, bits=bits)
    chain = _chain(parts)
    kept = {info.key for info in reviews.list(f"{folder}/")}
    count, saved = _longest(reviews, folder, chain, kept, empty)
    corpus = saved.extended(
        partition_fingerprints(reviews, partition, ngram_max=ngram_max, bits=bits).take(rows)
        for partition, rows in parts[count:]
    )
    logger.info("corpus rows=%d saved_before=%d", len(corpus), len(saved))
    if len(corpus) > GROWTH_TO_KEEP * len(saved):
        extended_key = {_key(folder, name) for name in chain[:count][-1:]}
        _keep(reviews, _key(folder, chain[-1]), encode(corpus, chain[-1]), kept - extended_key)
    return corpus


def _chain(parts: Sequence[Selected]) -> list[str]:
    """Name the corpora of the first part, of the first two, and so on."""
    names, digest = [], ""
    for partition, rows in parts:
        chosen = np.ascontiguousarray(rows, np.int64).tobytes()
        digest = sha256(f"{digest} {partition.sha256} ".encode() + chosen).hexdigest()
        names.append(digest)
    return names


def _key(folder: str, name: str) -> str:
    return f"{folder}/{name}.corpus"


def _longest(
    reviews: Bucket, folder: str, chain: list[str], kept: set[str], empty: Corpus
) -> tuple[int, Corpus]:
    """The number of parts that the longest saved corpus covers, and that corpus."""
    for count in range(len(chain), 0, -1):
        key = _key(folder, chain[count - 1])
        if key in kept:
            corpus = _read(reviews, key, chain[count - 1], empty)
            if corpus is not None:
                return count, corpus
    return 0, empty


def _read(reviews: Bucket, key: str, name: str, empty: Corpus) -> Corpus | None:
    data = reviews.find_cached(key, kind=_KIND)
    if data is None:  # forged, or deleted since it was listed
        return None
    corpus = decode(data, name, empty.parameters)
    if corpus is None:
        logger.warning("cache=%s is corrupt or foreign; recomputing it", key)
    return corpus


def _keep(reviews: Bucket, key: str, data: bytes, outdated: set[str]) -> None:
    """Save a corpus, and delete all others except the one it extended.

    It is only a cache: if the store refuses, the night goes on.
    """
    try:
        reviews.put_cached(key, data, kind=_KIND)
        for other in sorted(outdated - {key}):
            reviews.delete(other)
    except (StoreRefusedError, StoreUnavailableError) as error:
        logger.warning("cache=%s was not saved, or an older one was not deleted: %s", key, error)


def encode(corpus: Corpus, name: str) -> bytes:
    """Bytes of a saved corpus: a line of JSON, then the arrays, each aligned."""
    fields = vars(corpus) | {"rare": corpus.rare.in_order()}
    arrays = [np.ascontiguousarray(fields[name], kind) for name, kind in _ARRAYS.items()]
    head = {"made_of": name, **corpus.parameters, "counts": [len(array) for array in arrays]}
    line = json.dumps(head).encode()
    line += b" " * (-(len(line) + 1) % _ALIGNMENT) + b"\n"
    return b"".join([line, *(_padded(array.tobytes()) for array in arrays)])


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGNMENT)


def decode(data: bytes | memoryview, name: str, parameters: dict[str, int]) -> Corpus | None:
    """The corpus in these bytes, or None if it is damaged or not the one of this name."""
    try:
        start = bytes(data[:_MOST_HEAD_BYTES]).index(b"\n") + 1
        head = json.loads(bytes(data[:start]))
        if {**head, "counts": None} != {"made_of": name, **parameters, "counts": None}:
            return None
        vocabulary, columns, lengths, rare = _views(data, start, head["counts"])
        corpus = Corpus(vocabulary, columns, lengths, Rare(rare), **parameters)
        return corpus if _fits_together(corpus) else None
    except _DAMAGED:
        return None


def _fits_together(corpus: Corpus) -> bool:
    """Check array bounds and ordering; later code indexes without checking.

    This does not detect every wrong value; the signature protects against those.
    """
    columns, lengths = (
        corpus.columns.view(np.uint32),
        corpus.lengths,
    )  # negative values become far too high
    row = np.uint64((1 << corpus.row_bits) - 1)
    rare = corpus.rare.in_order()
    parts = (rare[start : start + _LOOK] for start in range(0, len(rare), _LOOK))
    return bool(
        corpus.vocabulary.max(initial=np.uint64(0)) >> np.uint64(corpus.bits) == 0
        and lengths.min(initial=0) >= 0
        and lengths.sum(dtype=np.int64) == len(columns)
        and (not len(columns) or columns.max() < len(corpus.vocabulary))
        and bool((rare[1:] > rare[:-1]).all())
        and all((part & row).max() < len(corpus) for part in parts)
    )


def _views(data: bytes | memoryview, start: int, counts: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Views of the arrays that begin at ``start``; nothing is copied."""
    if min(counts) < 0:
        raise ValueError("an array of negative length")
    for kind, count in zip(_ARRAYS.values(), counts, strict=True):
        view: NDArray[Any] = np.frombuffer(data, kind, count, start)
        start += view.nbytes + -view.nbytes % _ALIGNMENT
        yield view
