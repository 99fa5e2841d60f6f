"""A judged window as a table, for tools that look at two tables, such as Evidently.

It is written only when a person asks for it, so no night depends on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.core.errors import NoReviewsError
from pipelines.intake import standings
from pipelines.monitoring import windows
from pipelines.monitoring.sample import Scores, read_sample, read_texts, score
from pipelines.monitoring.word_table import WordTable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipelines.core.settings.settings import Settings
    from pipelines.core.store.bucket import Bucket
    from pipelines.records.data import Partition
    from pipelines.records.monitoring import Window
    from pipelines.registry.registry import Registry


def tables(
    reviews: Bucket, registry: Registry, window: Window, settings: Settings
) -> tuple[pa.Table, pa.Table]:
    """The window's reviews and those it was compared with, as numbers; no text is in them.

    Returns
    -------
    current, usual : Table
        ``target`` (1 positive, 0 negative), ``prediction``, ``probability`` of the positive class,
        and ``unseen_share``, the share of a review's words that the champion never saw.

    Raises
    ------
    NoReviewsError
        If rows of the window do not count any more.
    """
    ledger = {part.sha256: part for each in standings.every(reviews) for part in each.accepted}
    gone = [name for name in window.partitions if name not in ledger]
    if gone:
        raise NoReviewsError(
            f"{len(gone)} files of the window of {window.night} do not count any more. Judge the "
            "night again: python -m pipelines monitor"
        )
    model, usual = windows.asked(reviews, registry, settings, window)
    parts: list[Partition] = [ledger[name] for name in window.partitions]
    rows = read_sample(reviews, parts)
    texts = read_texts(rows, WordTable(usual.words))
    unseen = texts.documents.share_from(usual.known_words)
    return _table(score(model, rows, settings.gate), unseen), _table(usual.scores, usual.unseen)


def _table(scores: Scores, unseen: NDArray[np.float64]) -> pa.Table:
    return pa.table(
        {
            "target": scores.label,
            "prediction": (scores.probability >= 0.5).astype("int8"),
            "probability": scores.probability,
            "unseen_share": unseen,
        }
    )
