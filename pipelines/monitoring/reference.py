"""What a champion is compared with: its own newest reviews, in numbers.

It is made once per champion, after its promotion, and cached. So every limit is set again for each
champion: what was calibrated for another one may never alarm, or always. The cache may be deleted
at any time; an entry that is forged, torn or of another champion is made again.
"""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.core import keys
from pipelines.core.errors import NoReviewsError
from pipelines.core.record import sha256_of
from pipelines.monitoring.sample import (
    Scores,
    Texts,
    in_classes,
    read_rows,
    read_texts,
    score,
)
from pipelines.monitoring.word_table import Documents, WordTable
from pipelines.training.split import is_holdout

if TYPE_CHECKING:
    import pyarrow as pa
    from sklearn.pipeline import Pipeline

    from pipelines.core.settings.settings import Settings
    from pipelines.core.store.bucket import Bucket
    from pipelines.records.data import Partition, Snapshot
    from pipelines.records.versions import StarClass

logger = logging.getLogger(__name__)

_KIND = "MonitoringReference"
_MOST_PARTITIONS = 200  # that are read, however small they are
_DAMAGED = (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Usual:
    """How many reviews of a group the champion had right."""

    rows: int
    right_rows: int


@dataclass(frozen=True, eq=False)
class Reference:
    """A champion's own reviews.

    Parameters
    ----------
    scores : Scores
        The champion on reviews that were held out when it was trained; its groups are empty.
    groups : mapping of str to Usual
        The same by source and slice.
    unseen : ndarray of float64, shape (n_held_out,)
        The share of each held out review's words that no training review has.
    texts : Texts
        Of its newest reviews, held out or not.
    words : tuple of str
        The words that `texts` count.
    known_words : int
        How many of them, from the first, its training reviews have.
    digest : str
        Of all that.
    """

    scores: Scores
    groups: Mapping[str, Usual]
    unseen: NDArray[np.float64]
    texts: Texts
    words: tuple[str, ...]
    known_words: int
    digest: str


def of_champion(
    reviews: Bucket,
    model: Pipeline,
    pinned: Snapshot,
    settings: Settings,
    *,
    version: str,
    rules: str,
    classes: Sequence[StarClass] = (),
) -> Reference:
    """The reference of a champion, from the cache if it is there.

    Parameters
    ----------
    reviews : Bucket
        Where rows and cache are.
    model : Pipeline
        The champion.
    pinned : Snapshot
        What it was trained on.
    settings : Settings
        How many reviews are read, and the slices.
    version, rules : str
        Which champion, and a digest of settings and code: another one has another reference.
    classes : sequence of StarClass
        What it answers with, unless it is the label.

    Raises
    ------
    NoReviewsError
        If none of its newest reviews was held out.
    """
    key = keys.monitoring_reference_key(settings.model.name, version, rules)
    data = reviews.find_cached(key, kind=_KIND)
    if data is not None:
        found = decode(bytes(data))
        if found is not None:
            return found
        logger.warning("reference=%s cannot be read; it is made again", key)
    rows = _newest_rows(reviews, pinned, settings.monitoring.reference_rows)
    rows = in_classes(rows, classes)
    made = encode(made_of(rows, _held_out(rows, pinned), model, settings, classes))
    reviews.put_cached(key, made, kind=_KIND)
    reference = decode(made)
    if reference is None:
        raise NoReviewsError(f"the reference of version {version} cannot be read back")
    return reference


@dataclass(frozen=True, eq=False)
class Made:
    """What a reference is decoded from; see `Reference`."""

    scores: Scores
    unseen: NDArray[np.float64]
    texts: Texts
    words: Sequence[str]
    known_words: int


def made_of(
    rows: pa.Table,
    is_held_out: NDArray[np.bool_],
    model: Pipeline,
    settings: Settings,
    classes: Sequence[StarClass] = (),
) -> Made:
    """What a champion's newest rows, newest first, say about it.

    Raises
    ------
    NoReviewsError
        If none of them was held out.
    """
    if not is_held_out.any():
        raise NoReviewsError(
            "none of the champion's newest reviews was held out, so nothing can be compared with "
            "it. This is no fault; the next champion will have some"
        )
    wanted = settings.monitoring.reference_rows
    held_rows = rows.filter(is_held_out).slice(0, wanted)
    words = WordTable()
    # Numbered first: what it knows.
    words.read(rows.filter(~is_held_out).column("text").to_pylist())
    known = len(words)
    unseen = words.read(held_rows.column("text").to_pylist()).share_from(known)
    spread = np.unique(np.linspace(0, rows.num_rows - 1, min(wanted, rows.num_rows)).astype(int))
    texts = read_texts(rows.take(spread), words, classes)
    scores = score(model, held_rows, settings.gate, classes)
    return Made(scores, unseen, texts, words.names, known)


def _newest_rows(reviews: Bucket, pinned: Snapshot, wanted: int) -> pa.Table:
    """Newest partitions until about as many held out reviews are among them as are wanted."""
    enough = wanted / pinned.holdout_share
    newest: list[Partition] = []
    for part in sorted(pinned.partitions, key=lambda part: (part.night, part.sha256), reverse=True):
        newest.append(part)
        if sum(each.rows for each in newest) >= enough or len(newest) == _MOST_PARTITIONS:
            break
    return read_rows(reviews, newest)


def _held_out(rows: pa.Table, pinned: Snapshot) -> NDArray[np.bool_]:
    films = [
        film or text_id
        for film, text_id in zip(
            rows.column("movie_id").to_pylist(), rows.column("text_id").to_pylist(), strict=True
        )
    ]
    held = is_holdout(films, share=pinned.holdout_share, salt=pinned.salt)
    return np.array([held[film] for film in films], np.bool_)


def encode(made: Made) -> bytes:
    """Bytes of a cache entry: arrays, and texts as UTF-8."""
    right = made.scores.is_right
    groups = {
        name: [int(mask.sum()), int(right[mask].sum())] for name, mask in made.scores.groups.items()
    }
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        probability=made.scores.probability,
        label=made.scores.label,
        unseen=made.unseen,
        ids=made.texts.documents.ids,
        lengths=made.texts.documents.lengths,
        chars=made.texts.chars,
        counts=np.array([*made.texts.class_labels[1:], made.known_words]),
        words=_bytes("\n".join(made.words)),
        groups=_bytes(json.dumps(groups, sort_keys=True)),
    )
    return buffer.getvalue()


def decode(data: bytes) -> Reference | None:
    """The reference in a cache entry; None if it is damaged."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return _decoded(arrays, sha256_of(data))
    except _DAMAGED:
        return None


def _decoded(arrays: Any, digest: str) -> Reference:
    groups = json.loads(arrays["groups"].tobytes())
    *later_classes, known_words = arrays["counts"].tolist()
    texts = Documents(arrays["ids"], arrays["lengths"])
    class_labels = (len(texts) - sum(later_classes), *later_classes)
    return Reference(
        scores=Scores(arrays["probability"], arrays["label"], {}),
        groups={name: Usual(rows, right) for name, (rows, right) in groups.items()},
        unseen=arrays["unseen"],
        texts=Texts(texts, arrays["chars"], class_labels),
        words=tuple(_split(arrays["words"])),
        known_words=known_words,
        digest=digest,
    )


def _bytes(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode("utf-8", "replace"), np.uint8)


def _split(data: NDArray[np.uint8]) -> Iterable[str]:
    return data.tobytes().decode("utf-8").split("\n")
