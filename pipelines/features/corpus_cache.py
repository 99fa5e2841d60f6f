"""Corpora of earlier nights, kept on S3 so that a night is added to them.

A corpus is named by a chain of digests over its partitions, and over which rows of them are in it.
So the corpus of any earlier night is found under the name that a prefix of today's chain has. It is
a cache like that of the fingerprints: it may be deleted at any time, and what is forged, corrupt or
foreign is made again.

A corpus is kept only when it outgrew the one it began with by an eighth. That bounds what all
nights together write, and a night adds at most an eighth again to what is kept. At most two are
kept, which bounds the bucket: retrainings that take other rows in turn gain nothing from them.
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
"""A partition, and which of its rows are in a corpus, ascending."""

CORPUS_VERSION = "c1"
"""Of what `pipelines.features.corpus` makes of fingerprints: a change there is a change here."""

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
    """The corpus of the selected rows: the longest one that is kept of a part of them, extended."""
    folder = f"{cache_folder(ngram_max=ngram_max, bits=bits)}/corpora-{CORPUS_VERSION}-df{min_df}"
    empty = Corpus.empty(min_df=min_df, ngram_max=ngram_max, bits=bits)
    chain = _chain(parts)
    kept = {info.key for info in reviews.list(f"{folder}/")}
    count, before = _longest(reviews, folder, chain, kept, empty)
    corpus = before.extended(
        partition_fingerprints(reviews, partition, ngram_max=ngram_max, bits=bits).take(rows)
        for partition, rows in parts[count:]
    )
    logger.info("corpus rows=%d of which were kept=%d", len(corpus), len(before))
    if len(corpus) > GROWTH_TO_KEEP * len(before):
        begun_with = {_key(folder, name) for name in chain[:count][-1:]}
        _keep(reviews, _key(folder, chain[-1]), encode(corpus, chain[-1]), kept - begun_with)
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
    """How many parts the longest corpus that is kept covers, and that corpus."""
    for count in range(len(chain), 0, -1):
        key = _key(folder, chain[count - 1])
        if key in kept:
            found = _read(reviews, key, chain[count - 1], empty)
            if found is not None:
                return count, found
    return 0, empty


def _read(reviews: Bucket, key: str, name: str, empty: Corpus) -> Corpus | None:
    data = reviews.find_cached(key, kind=_KIND)
    if data is None:  # forged, or deleted since it was listed
        return None
    found = decode(data, name, empty.parameters)
    if found is None:
        logger.warning("cache=%s is corrupt or foreign; making it again", key)
    return found


def _keep(reviews: Bucket, key: str, data: bytes, outdated: set[str]) -> None:
    """Keep a corpus, and no others but the one it began with.

    It is only a cache: where the store refuses that, the night goes on.
    """
    try:
        reviews.put_cached(key, data, kind=_KIND)
        for other in sorted(outdated - {key}):
            reviews.delete(other)
    except (StoreRefusedError, StoreUnavailableError) as error:
        logger.warning("cache=%s was not kept, or an older one not deleted: %s", key, error)


def encode(corpus: Corpus, name: str) -> bytes:
    """Bytes of a kept corpus: a line of JSON, then the arrays, each aligned."""
    fields = vars(corpus) | {"rare": corpus.rare.in_order()}
    arrays = [np.ascontiguousarray(fields[name], kind) for name, kind in _ARRAYS.items()]
    head = {"made_of": name, **corpus.parameters, "counts": [len(array) for array in arrays]}
    line = json.dumps(head).encode()
    line += b" " * (-(len(line) + 1) % _ALIGNMENT) + b"\n"
    return b"".join([line, *(_padded(array.tobytes()) for array in arrays)])


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGNMENT)


def decode(data: bytes | memoryview, name: str, parameters: dict[str, int]) -> Corpus | None:
    """The corpus in these bytes, or None when it is not the one of this name, whole."""
    try:
        start = bytes(data[:_MOST_HEAD_BYTES]).index(b"\n") + 1
        head = json.loads(bytes(data[:start]))
        if {**head, "counts": None} != {"made_of": name, **parameters, "counts": None}:
            return None
        vocabulary, columns, lengths, rare = _views(data, start, head["counts"])
        found = Corpus(vocabulary, columns, lengths, Rare(rare), **parameters)
        return found if _fits_together(found) else None
    except _DAMAGED:
        return None


def _fits_together(corpus: Corpus) -> bool:
    """Whether the arrays can be one corpus: what walks over them does not look where it goes.

    It notices what would lead out of them, not each wrong number: for those the seal stands.
    """
    columns, lengths = corpus.columns.view(np.uint32), corpus.lengths  # below 0 is far too high
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
    """The arrays that begin at ``start``; they are looked at, not copied."""
    if min(counts) < 0:
        raise ValueError("an array of less than nothing")
    for kind, count in zip(_ARRAYS.values(), counts, strict=True):
        view: NDArray[Any] = np.frombuffer(data, kind, count, start)
        start += view.nbytes + -view.nbytes % _ALIGNMENT
        yield view
