"""Fit a model of hashed columns without ever holding the matrix.

The columns are spooled to a temporary folder in blocks of `BLOCK_REVIEWS`, each written once and
read once per epoch. Memory holds one block, and a few numbers per column.
"""
# ruff: noqa: N806  # X is what scikit-learn and its readers call the samples

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from pipelines.dataset import Dataset, Rows
from pipelines.fingerprints import Fingerprints
from pipelines.hashed import HashedColumns
from pipelines.models import fingerprint_parameters
from pipelines.nbsvm import NaiveBayesSvm, ratio_of_counts, two_classes, weighted_by
from pipelines.vocabulary import presence

BLOCK_REVIEWS = 32_768

Mask = NDArray[np.bool_]


def streams(model: Pipeline) -> bool:
    """Whether the model can be fitted block by block."""
    return (
        len(model) == 2
        and isinstance(model[0], HashedColumns)
        and isinstance(model[1], NaiveBayesSvm)
    )


def fit_streamed(model: Pipeline, dataset: Dataset, rows: Rows, held_out: Mask) -> Pipeline:
    """Fit to the given reviews; as `NaiveBayesSvm.fit`, but for the order of the reviews.

    Parameters
    ----------
    model : Pipeline
        Of `HashedColumns` and `NaiveBayesSvm`.
    dataset : Dataset
        Where the fingerprints are.
    rows : ndarray of shape (n_rows,)
        The reviews to fit to, ascending.
    held_out : ndarray of bool, shape (n_rows,)
        The ones to calibrate on.

    Raises
    ------
    ValueError
        If there are not two classes among the held out rows and among the others.
    """
    columns, svm = model[0].fit(None), model[1]
    with tempfile.TemporaryDirectory(prefix="streaming-") as folder:
        spool = _Spool.write(Path(folder), columns, dataset, rows, held_out)
        judge = _descend(clone(svm), spool, is_inside=lambda held: ~held)
        margins, labels = _judged(judge, spool)
        _descend(svm, spool, is_inside=np.ones_like).calibrate(margins, labels)
    return model


@dataclass(frozen=True)
class _Block:
    X: Any
    labels: NDArray[np.int8]
    held_out: Mask

    def rows(self, chosen: Mask) -> tuple[Any, NDArray[np.int8]]:
        return (self.X, self.labels) if chosen.all() else (self.X[chosen], self.labels[chosen])


@dataclass(frozen=True)
class _Spool:
    """Blocks of columns on disk, and how many labels and held out rows they hold."""

    files: tuple[Path, ...]
    column_count: int
    labels: NDArray[np.int8]
    held_out: Mask

    @classmethod
    def write(
        cls, folder: Path, columns: HashedColumns, dataset: Dataset, rows: Rows, held_out: Mask
    ) -> _Spool:
        files = []
        for number, (mine, reviews) in enumerate(_blocks(columns, dataset, rows)):
            at, bounds = columns.columns(reviews)
            file = folder / f"{number:06d}.npz"
            which = np.searchsorted(rows, mine)
            np.savez(
                file, columns=at, bounds=bounds, labels=dataset.label[mine], held=held_out[which]
            )
            files.append(file)
        return cls(tuple(files), columns.column_count, dataset.label[rows], held_out)

    def block(self, number: int) -> _Block:
        with np.load(self.files[number], allow_pickle=False) as arrays:
            ones = presence(arrays["columns"], arrays["bounds"], self.column_count)
            return _Block(ones, arrays["labels"], arrays["held"])


def _blocks(
    columns: HashedColumns, dataset: Dataset, rows: Rows
) -> Iterator[tuple[Rows, Fingerprints]]:
    """Gather partitions into blocks, and cut up those that are larger."""
    ngram_max, bits = fingerprint_parameters(Pipeline([("columns", columns)]))
    waiting: list[tuple[Rows, Fingerprints]] = []
    for mine, found in dataset.fingerprints_by_partition(rows, ngram_max=ngram_max, bits=bits):
        for start in range(0, len(mine), BLOCK_REVIEWS):
            part = slice(start, start + BLOCK_REVIEWS)
            if waiting and sum(len(each) for each, _ in waiting) + len(mine[part]) > BLOCK_REVIEWS:
                yield _joined(waiting)
                waiting = []
            waiting.append((mine[part], found[part]))
    if waiting:
        yield _joined(waiting)


def _joined(parts: list[tuple[Rows, Fingerprints]]) -> tuple[Rows, Fingerprints]:
    rows = np.concatenate([each for each, _ in parts])
    return rows, Fingerprints.concat(found for _, found in parts)


def _descend(svm: NaiveBayesSvm, spool: _Spool, *, is_inside: Any) -> NaiveBayesSvm:
    """Fit ratio and margin to the chosen rows, visiting the blocks in a new order each epoch."""
    inside = is_inside(spool.held_out)
    classes = two_classes(spool.labels[inside])
    ratio = _ratio(svm, spool, is_inside)
    linear = svm.descent(int(inside.sum()))
    order = np.random.default_rng(svm.random_state)
    for _ in range(svm.epochs):
        for number in order.permutation(len(spool.files)):
            block = spool.block(number)
            X, labels = block.rows(is_inside(block.held_out))
            if len(labels):
                linear.partial_fit(weighted_by(ratio, X), labels, classes=classes)
    return svm.take_over(linear, ratio, classes)


def _ratio(svm: NaiveBayesSvm, spool: _Spool, is_inside: Any) -> NDArray[np.float32]:
    counts = np.zeros((2, spool.column_count), np.int64)
    for number in range(len(spool.files)):
        block = spool.block(number)
        X, labels = block.rows(is_inside(block.held_out))
        is_second = np.repeat(labels == 1, np.diff(X.indptr))
        for row, mask in enumerate((~is_second, is_second)):
            counts[row] += np.bincount(X.indices[mask], minlength=spool.column_count)
    return ratio_of_counts(counts[1], counts[0], svm.alpha)


def _judged(judge: NaiveBayesSvm, spool: _Spool) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Margins and labels of the held out rows."""
    margins, labels = [], []
    for number in range(len(spool.files)):
        block = spool.block(number)
        X, mine = block.rows(block.held_out)
        if len(mine):
            margins.append(judge.margins(X))
            labels.append(mine)
    return np.concatenate(margins), np.concatenate(labels)
