"""Record a model's answers on some rows, so that a later process can be compared with them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.core.settings.settings import Settings
from pipelines.core.store.bucket import Bucket
from pipelines.evaluation import golden
from pipelines.evaluation.metrics import Probabilities, is_usable
from pipelines.intake.partitions import read_partition
from pipelines.intake.snapshot import pinned
from pipelines.records.evaluations import Answer, CheckRow, Evaluation
from pipelines.records.versions import Manifest
from pipelines.training.dataset import Dataset, Rows

CHECK_ROWS, CHECK_PARTITIONS = 64, 4


def check_rows(dataset: Dataset, rows: Rows, probability: Probabilities) -> tuple[CheckRow, ...]:
    """Rows of a few partitions with the challenger's answer, for consumers to repeat.

    Partitions and rows are evenly spread. A consumer reads `CHECK_PARTITIONS` partitions, or more
    if these have fewer than `CHECK_ROWS` rows.
    """
    if not len(rows) or not is_usable(probability):
        return ()
    parts = list(dataset.by_partition(rows))
    fewest = min(len(rows), CHECK_ROWS)
    for count in range(min(len(parts), CHECK_PARTITIONS), len(parts) + 1):
        chosen = np.concatenate([parts[number] for number in _spread(len(parts), count)])
        if len(chosen) >= fewest:
            break
    chosen = chosen[_spread(len(chosen), CHECK_ROWS)]
    values = as_answers(probability[np.searchsorted(rows, chosen)])
    located = zip(map(dataset.locate, chosen.tolist()), values, strict=True)
    return tuple(
        CheckRow(partition=partition, row=row, probability=value)
        for (partition, row), value in located
    )


def as_answers(probability: Probabilities) -> tuple[Answer, ...]:
    """What a model answers to each text, as records hold it."""
    if probability.ndim == 1:
        return tuple(probability.tolist())
    return tuple(map(tuple, probability.tolist()))


def _spread(count: int, most: int) -> NDArray[np.int64]:
    """At most so many of ``count`` positions, evenly spread."""
    return np.unique(np.linspace(0, count - 1, most).astype(np.int64))


LARGEST_DIFFERENCE = 1e-9


def largest_difference(answers: Sequence[Answer], expected: Sequence[Answer]) -> float:
    """The largest difference of two lists of answers; infinite if they cannot be compared."""
    try:
        one, other = np.array(answers, np.float64), np.array(expected, np.float64)
    except (TypeError, ValueError):  # not all of as many classes
        return math.inf
    if one.shape != other.shape or not one.size:
        return math.inf
    worst = float(np.abs(one - other).max())
    return math.inf if math.isnan(worst) else worst


def questions(
    reviews: Bucket, manifest: Manifest, evaluation: Evaluation, settings: Settings
) -> tuple[list[str], list[Answer]]:
    """Texts for a model, and what it answered on them when it was evaluated.

    These are the check rows and, unless it was changed since, the golden set.
    """
    texts = check_texts(reviews, manifest, evaluation.check_rows)
    expected = [row.probability for row in evaluation.check_rows]
    by_hand = golden.load_golden(settings.evaluation.golden_file, manifest.plan.class_names)
    if by_hand.digest == evaluation.golden.set_id and evaluation.golden_probabilities:
        texts += by_hand.texts
        expected += evaluation.golden_probabilities
    return texts, expected


def check_texts(reviews: Bucket, manifest: Manifest, rows: Sequence[CheckRow]) -> list[str]:
    """The texts of an evaluation's check rows, in their order."""
    snapshot = pinned(reviews, manifest.plan)
    partitions = {partition.sha256: partition for partition in snapshot.partitions}
    texts: dict[str, list[str]] = {}
    for digest in {row.partition for row in rows}:
        table = read_partition(reviews, partitions[digest], columns=["text"])
        texts[digest] = table.column("text").to_pylist()
    return [texts[row.partition][row.row] for row in rows]
