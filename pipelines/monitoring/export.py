"""A judged window as a table, for tools that look at two tables, such as Evidently.

It is written only when a person asks for it, so no night depends on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.core.errors import NoReviewsError
from pipelines.core.settings.settings import command
from pipelines.intake import standings
from pipelines.models.answers import confidence, predicted
from pipelines.monitoring import windows
from pipelines.monitoring.sample import Scores, in_classes, read_sample, read_texts, score
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
        ``target`` (1 positive, 0 negative; or the number of the class), ``prediction``,
        ``probability`` of the positive class (of the predicted one, if there are more), and
        ``unseen_share``, the share of a review's words that the champion never saw.

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
            f"night again: {command('monitor', window.model_name)}"
        )
    model, usual, plan = windows.asked(reviews, registry, settings, window)
    parts: list[Partition] = [ledger[name] for name in window.partitions]
    rows = in_classes(read_sample(reviews, parts), plan.classes)
    texts = read_texts(rows, WordTable(usual.words), plan.classes)
    unseen = texts.documents.share_from(usual.known_words)
    scores = score(model, rows, settings.gate, plan.classes)
    return _table(scores, unseen), _table(usual.scores, usual.unseen)


def _table(scores: Scores, unseen: NDArray[np.float64]) -> pa.Table:
    found = scores.probability
    likeliest = found if found.ndim == 1 else confidence(found)
    return pa.table(
        {
            "target": scores.label,
            "prediction": predicted(scores.probability),
            "probability": likeliest,
            "unseen_share": unseen,
        }
    )
