"""Signatures per pack of partitions, computed once and cached, so that copies are found cheaply.

A signature is a hundredth of the fingerprints that it is made of. Those are not kept: no model
reads them. The cache may be deleted at any time; an entry that is not proven to be ours is
recomputed.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from pipelines.core.store.bucket import Bucket
from pipelines.core.store.signing import MAX_SEAL_BYTES
from pipelines.features.fingerprint_cache import cache_folder
from pipelines.features.fingerprints import fingerprint_parts
from pipelines.features.packs import Pack, read_pack
from pipelines.features.signatures import CELLS, NOTHING_KNOWN, SIGNATURE_VERSION, signatures
from pipelines.features.views import View

logger = logging.getLogger(__name__)

# A view with longer n-grams is too sensitive to a changed word, one that reads the beginnings of
# words not sensitive enough.
VIEW = View(ngram_max=3)
KIND = "Signatures"
SUFFIX = "signatures"
_HEAD = SIGNATURE_VERSION.encode().ljust(64)  # keeps the array after it aligned


def cache_key(pack: Pack) -> str:
    return f"{cache_folder(VIEW)}/{pack.sha256}.{SUFFIX}"


def pack_signatures(reviews: Bucket, pack: Pack) -> NDArray[np.uint16]:
    """The signatures of a pack's rows, in row order, shape (n_rows, 32)."""
    cached = _find(reviews, pack)
    if cached is not None:
        return cached
    before = pack.before
    earlier = None if before is None else _find(reviews, before)
    known = NOTHING_KNOWN.signatures if earlier is None else earlier
    texts = read_pack(reviews, pack, ["text"]).column("text").slice(len(known)).to_pylist()
    computed = [signatures(part) for part in fingerprint_parts(texts, VIEW)]
    cells = np.concatenate([known, *computed])
    reviews.put_cached(cache_key(pack), encode(cells), kind=KIND)
    return cells


def encode(cells: NDArray[np.uint16]) -> bytes:
    """Bytes of a cache entry: how the signatures were made, and the signatures."""
    return _HEAD + cells.tobytes()


def _find(reviews: Bucket, pack: Pack) -> NDArray[np.uint16] | None:
    key = cache_key(pack)
    size_bytes = len(_HEAD) + pack.rows * CELLS * np.uint16().itemsize
    data = reviews.find_cached(key, kind=KIND, usual_bytes=size_bytes + MAX_SEAL_BYTES)
    if data is None:
        return None
    if len(data) != size_bytes or data[: len(_HEAD)] != _HEAD:
        logger.warning("cache=%s is of other rows, or made in another way; recomputing it", key)
        return None
    return np.frombuffer(data, np.uint16, offset=len(_HEAD)).reshape(-1, CELLS)
