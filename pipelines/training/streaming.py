"""Fit a model of hashed columns without holding the matrix in memory.

The columns are spooled to a temporary folder in blocks of `BLOCK_REVIEWS`, about 2 kB per review. A
fit weights each block once, saves the weights (as much again), and reads both once per epoch and
run; the next block is read while the solver works on the current one. The calibration fit and the
final fit run concurrently. Memory holds two blocks for each of them, a few numbers per column and
run, and the largest partition.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.pipeline import Pipeline

from pipelines.features.fingerprint_index import Marks, csr
from pipelines.features.fingerprints import Fingerprints
from pipelines.models.hashed_columns import HashedColumns
from pipelines.models.log_count_ratio import ratio_of_counts, two_classes, weighted_by
from pipelines.models.nbsvm import NaiveBayesSvm
from pipelines.training.dataset import Dataset, Rows

BLOCK_REVIEWS = 32_768

Mask = NDArray[np.bool_]
Item = TypeVar("Item")
Result = TypeVar("Result")


def streams(model: Pipeline) -> bool:
    """Whether the model can be fitted block by block."""
    return (
        len(model) == 2
        and isinstance(model[0], HashedColumns)
        and isinstance(model[1], NaiveBayesSvm)
    )


def fit_streamed(model: Pipeline, dataset: Dataset, rows: Rows, held_out: Mask) -> Pipeline:
    """Fit to the given reviews, as `NaiveBayesSvm.fit` except for the order of the reviews.

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
        with ThreadPoolExecutor(2) as pool:
            calibration = pool.submit(_descend, svm.in_one_run(), spool, are_all=False)
            final = pool.submit(_descend, svm, spool, are_all=True)
            margins, labels = _held_out_margins(calibration.result(), spool)
            final.result().calibrate(margins, labels)
    return model


@dataclass(frozen=True)
class _Spool:
    """Blocks of reviews on disk, in each of which the held out ones come last.

    Attributes
    ----------
    folder : Path
        Columns, marks of late n-grams, bounds and labels of each block.
    labels, held_out : ndarray of shape (n_reviews,)
        Of all reviews.
    fitted : tuple of int
        Number of reviews of each block that are not held out.
    counts : ndarray of int32, shape (2, 2, n_columns)
        In how many reviews each column is: not held out and held out, of class 0 and of class 1.
    late_weight : float
        See `HashedColumns`.
    """

    folder: Path
    labels: NDArray[np.int8]
    held_out: Mask
    fitted: tuple[int, ...]
    counts: NDArray[np.int32]
    late_weight: float

    @classmethod
    def write(
        cls, folder: Path, columns: HashedColumns, dataset: Dataset, rows: Rows, held_out: Mask
    ) -> _Spool:
        fitted, counts = [], np.zeros((2, 2, columns.column_count), np.int32)
        for number, (mine, reviews) in enumerate(_blocks(columns, dataset, rows)):
            held, labels = held_out[np.searchsorted(rows, mine)], dataset.label[mine]
            group = 2 * held + (labels == 1)
            order = np.argsort(group, kind="stable")
            marks = columns.marks(reviews.take(order))
            cuts = marks.bounds[np.searchsorted(group[order], [1, 2, 3])]
            for which, part in enumerate(np.split(marks.columns, cuts)):
                counts[divmod(which, 2)] += np.bincount(part, minlength=columns.column_count)
            np.save(folder / f"{number}-columns.npy", marks.columns)
            np.save(folder / f"{number}-late.npy", marks.is_late)
            np.save(folder / f"{number}-bounds.npy", marks.bounds)
            np.save(folder / f"{number}-labels.npy", labels[order])
            fitted.append(len(held) - int(held.sum()))
        return cls(
            folder, dataset.label[rows], held_out, tuple(fitted), counts, columns.late_weight
        )

    def ratio(self, alpha: float, floor: float, *, are_all: bool) -> NDArray[np.float32]:
        """The log-count ratio in all reviews, or in those that are not held out."""
        first, second = self.counts.sum(axis=0) if are_all else self.counts[0]
        return ratio_of_counts(first, second, alpha, floor)

    def block(self, number: int, part: slice) -> _Block:
        """Some consecutive reviews of a block."""
        columns, is_late, bounds, labels = (
            np.load(self.folder / f"{number}-{name}.npy", allow_pickle=False)
            for name in ("columns", "late", "bounds", "labels")
        )
        start, stop, _ = part.indices(len(labels))
        inside, bounds = slice(bounds[start], bounds[stop]), bounds[start : stop + 1]
        marks = Marks(columns[inside], is_late[inside], bounds - bounds[0])
        return _Block(marks, labels[part])


@dataclass(frozen=True)
class _Block:
    marks: Marks
    labels: NDArray[np.int8]


def _blocks(
    columns: HashedColumns, dataset: Dataset, rows: Rows
) -> Iterator[tuple[Rows, Fingerprints]]:
    """Join small partitions into blocks, and cut large ones."""
    waiting: list[tuple[Rows, Fingerprints]] = []
    for mine, cached in dataset.fingerprints_by_pack(rows, columns.view):
        for start in range(0, len(mine), BLOCK_REVIEWS):
            part = slice(start, start + BLOCK_REVIEWS)
            if waiting and sum(len(own) for own, _ in waiting) + len(mine[part]) > BLOCK_REVIEWS:
                yield _joined(waiting)
                waiting = []
            waiting.append((mine[part], cached[part]))
    if waiting:
        yield _joined(waiting)


def _joined(parts: list[tuple[Rows, Fingerprints]]) -> tuple[Rows, Fingerprints]:
    rows = np.concatenate([own for own, _ in parts])
    return rows, Fingerprints.concat(part for _, part in parts)


def _descend(svm: NaiveBayesSvm, spool: _Spool, *, are_all: bool) -> NaiveBayesSvm:
    """Fit ratio and margin to all or to the fitted rows, with the blocks reordered each pass."""
    labels = spool.labels if are_all else spool.labels[~spool.held_out]
    classes = two_classes(labels)
    ratio = spool.ratio(svm.alpha, svm.floor, are_all=are_all)
    descents = [svm.descent(len(labels), run) for run in range(svm.runs)]
    order = np.random.default_rng(svm.random_state)
    with tempfile.TemporaryDirectory(dir=spool.folder) as folder:
        weighted = partial(_weighted, spool, ratio, Path(folder), are_all)
        for run, passing in product(range(svm.runs), range(svm.epochs)):
            dropout, numbers = svm.thinning(run), order.permutation(len(spool.fitted)).tolist()
            with contextlib.closing(_one_ahead(weighted, numbers)) as blocks:
                for number, (X, mine) in zip(numbers, blocks, strict=True):
                    if len(mine):
                        values = np.empty_like(X.data)
                        rows = dropout.applied(X, values, passing=passing, block=number)
                        descents[run].partial_fit(rows, mine, classes=classes)
    return svm.take_over(descents, ratio, classes)


def _weighted(
    spool: _Spool,
    ratio: NDArray[np.float32],
    folder: Path,
    are_all: bool,
    number: int,
) -> tuple[sparse.csr_array, NDArray[np.int8]]:
    """The weighted rows of a block, and their labels; the weights are kept in the folder."""
    block = spool.block(number, slice(None if are_all else spool.fitted[number]))
    file = folder / f"{number}.npy"
    if file.exists():
        weights = np.load(file, allow_pickle=False)
        return csr(weights, block.marks.columns, block.marks.bounds, len(ratio)), block.labels
    rows = weighted_by(ratio, block.marks.matrix(len(ratio), spool.late_weight))
    np.save(file, rows.data)
    return rows, block.labels


def _one_ahead(
    make: Callable[[Item], Result], items: Iterable[Item]
) -> Generator[Result, None, None]:
    """Yield the result for each item, while the next one is computed."""
    with ThreadPoolExecutor(1) as worker:
        coming: Future[Result] | None = None
        for item in items:
            ready, coming = coming, worker.submit(make, item)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()


def _held_out_margins(
    svm: NaiveBayesSvm, spool: _Spool
) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Margins and labels of the held out rows."""
    margins, labels = [], []
    for number, fitted in enumerate(spool.fitted):
        block = spool.block(number, slice(fitted, None))
        if len(block.labels):
            margins.append(svm.margins(block.marks.matrix(svm.n_features_in_, spool.late_weight)))
            labels.append(block.labels)
    return np.concatenate(margins), np.concatenate(labels)
