"""What models answered about the held out reviews of a pack, kept where that is shared out.

    features/answers/<sha256>.answers    a model's probabilities, and of which rows, sealed

Tasks that score a share of the packs each leave their answers here, and `evaluate` reads them.
It is a cache: it may be deleted at any time, and an entry that is missing or not proven to be ours
is computed again, to the same bits.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from pipelines.core.store.bucket import Bucket
from pipelines.features.packs import Pack

FOLDER, KIND = "features/answers/", "Answers"
_BYTES_PER_ROW = 128  # an answer for each of ten classes, and more
_FEWEST_BYTES = 64 * 1024


def cache_key(name: str) -> str:
    """``name`` is a digest of all that the answers depend on."""
    return f"{FOLDER}{name}.answers"


def put_answers(
    reviews: Bucket, name: str, rows: NDArray[np.int64], answers: NDArray[np.float64]
) -> None:
    """Keep the answers about ascending rows of a pack."""
    buffer = io.BytesIO()
    np.savez(buffer, rows=rows, answers=answers)
    reviews.put_cached(cache_key(name), buffer.getvalue(), kind=KIND)


def find_answers(
    reviews: Bucket, name: str, pack: Pack, rows: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """The answers about some rows of a pack, in their order; None unless all of them are kept."""
    usual_bytes = _FEWEST_BYTES + _BYTES_PER_ROW * pack.rows
    data = reviews.find_cached(cache_key(name), kind=KIND, usual_bytes=usual_bytes)
    if data is None:
        return None
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        kept, answers = arrays["rows"], arrays["answers"]
    is_whole = kept.ndim == 1 and len(kept) == len(answers) and (np.diff(kept) > 0).all()
    if not is_whole or not np.isin(rows, kept).all():
        return None
    found: NDArray[np.float64] = answers[np.searchsorted(kept, rows)]
    return found
