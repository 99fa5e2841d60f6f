"""Reviews as the monitoring sees them: the champion's answers, the labels, and the words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipelines.evaluation.metrics import review_losses
from pipelines.evaluation.slices import Described, slice_masks
from pipelines.intake.partitions import read_partition
from pipelines.models.answers import predicted
from pipelines.models.prediction import probabilities
from pipelines.monitoring.word_table import Documents, WordTable
from pipelines.training.identities import class_of_stars

if TYPE_CHECKING:
    import pyarrow as pa
    from sklearn.pipeline import Pipeline

    from pipelines.core.settings.model import GateSettings
    from pipelines.core.store.bucket import Bucket
    from pipelines.records.data import Partition
    from pipelines.records.versions import StarClass

COLUMNS = ["text_id", "text", "label", "rating", "source", "movie_id"]
MOST_ROWS = 20_000  # of a window that are judged
SOURCE = "source="  # begins the name of a group that is a source

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scores:
    """A model's probabilities and the delivered labels, and which group each review belongs to.

    Parameters
    ----------
    probability : ndarray of float64, shape (n_reviews,) or (n_reviews, n_classes)
        Of the positive class, or of each.
    label : ndarray of int8, shape (n_reviews,)
        1 positive, 0 negative; or the number of the class.
    groups : mapping of str to ndarray of bool, shape (n_reviews,)
        Sources and slices by name, ``family=part``.
    """

    probability: NDArray[np.float64]
    label: NDArray[np.int8]
    groups: Mapping[str, Mask]

    def __len__(self) -> int:
        return len(self.label)

    @property
    def is_right(self) -> Mask:
        right: Mask = predicted(self.probability) == self.label
        return right

    @property
    def log_loss(self) -> float:
        """Nats per review."""
        return float(review_losses(self.label, self.probability).mean())


@dataclass(frozen=True, eq=False)
class Texts:
    """What drift of the texts is measured by: distinct words, lengths, and labels.

    Parameters
    ----------
    documents : Documents
        By a word table that is kept elsewhere.
    chars : ndarray of float64, shape (n_reviews,)
        Characters of each text.
    class_labels : tuple of int
        How many reviews are of each class.
    """

    documents: Documents
    chars: NDArray[np.float64]
    class_labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.documents)


def in_classes(table: pa.Table, classes: Sequence[StarClass]) -> pa.Table:
    """The reviews that a model is about: all, or those with stars in one of its classes."""
    if not classes:
        return table
    return table.filter(labels_of(table, classes) >= 0)


def labels_of(table: pa.Table, classes: Sequence[StarClass]) -> NDArray[np.int8]:
    """The class of each review: the delivered label, or that of its stars."""
    if classes:
        return class_of_stars(table.column("rating"), classes)
    labels: NDArray[np.int8] = table.column("label").to_numpy().astype(np.int8)
    return labels


def score(
    model: Pipeline, table: pa.Table, gate: GateSettings, classes: Sequence[StarClass] = ()
) -> Scores:
    """A model on reviews with the columns `COLUMNS`, all of them `in_classes`."""
    texts = table.column("text").to_pylist()
    return Scores(
        probability=probabilities(model, texts),
        label=labels_of(table, classes),
        groups=_groups(table, texts, gate),
    )


def _groups(table: pa.Table, texts: Sequence[str], gate: GateSettings) -> dict[str, Mask]:
    """Each source by itself, and the gate's slices except those by source."""
    sources = table.column("source").to_pylist()
    described = Described.of(texts, table.column("rating").to_pylist(), sources)
    families = [family for family in gate.slices if family != "source"]
    masks = slice_masks(described, families, min_rows=gate.min_slice_rows)
    by_source = {f"{SOURCE}{name}": described.sources == name for name in sorted(set(sources))}
    return {**by_source, **masks}


def read_texts(table: pa.Table, words: WordTable, classes: Sequence[StarClass] = ()) -> Texts:
    """The words of reviews; words that are new to the word table are added to it."""
    texts = table.column("text").to_pylist()
    return Texts(
        documents=words.read(texts),
        chars=np.array([len(text) for text in texts], np.float64),
        class_labels=tuple(
            np.bincount(labels_of(table, classes), minlength=len(classes) or 2).tolist()
        ),
    )


def read_rows(reviews: Bucket, partitions: Sequence[Partition]) -> pa.Table:
    """All rows of some partitions, at least one."""
    import pyarrow as pa

    from pipelines.core.parallel import in_parallel

    parts = in_parallel(lambda part: read_partition(reviews, part, columns=COLUMNS), partitions)
    return pa.concat_tables(parts)


def read_sample(
    reviews: Bucket, partitions: Sequence[Partition], most: int = MOST_ROWS
) -> pa.Table:
    """About so many rows of some partitions, at least one: the same share of each, by chance.

    Which rows depends on nothing but the partitions, so another attempt draws the same ones. The
    others are not kept in memory.
    """
    import pyarrow as pa

    from pipelines.core.parallel import in_parallel

    share = min(1.0, most / sum(part.rows for part in partitions))

    def read(part: Partition) -> pa.Table:
        return drawn(read_partition(reviews, part, columns=COLUMNS), share, seed=part.sha256)

    return pa.concat_tables(in_parallel(read, partitions))


def drawn(rows: pa.Table, share: float, *, seed: str) -> pa.Table:
    """A share of the rows in their order, at least one; ``seed`` is hexadecimal."""
    count = math.ceil(share * rows.num_rows)
    if count == rows.num_rows:
        return rows
    chosen = np.random.default_rng(int(seed, 16)).choice(rows.num_rows, count, replace=False)
    return rows.take(np.sort(chosen))
