"""Fit a model of hashed columns without holding the matrix in memory.

The columns are spooled to a temporary folder in blocks of `BLOCK_REVIEWS`, about 2 kB per review. A
fit weights each block once, saves the weights (as much again), and reads both once per epoch and
run; the next block is read while the solver works on the current one. The calibration fit and the
final fit run concurrently. Memory holds two blocks for each of them, a few numbers per column and
run, and the largest partition.
"""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import Pipeline

from pipelines.features.fingerprint_index import Marks, csr
from pipelines.features.fingerprints import Fingerprints
from pipelines.models.dropout import Dropout
from pipelines.models.hashed_columns import HashedColumns
from pipelines.models.log_count_ratio import ratio_of_counts, two_classes, weighted_by
from pipelines.models.nbsvm import NaiveBayesSvm, Weights
from pipelines.training.compute import Cluster, Compute
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


def fit_streamed(
    model: Pipeline, dataset: Dataset, rows: Rows, held_out: Mask, compute: Compute | None = None
) -> Pipeline:
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
    compute : Compute, optional
        Where the fits run. Workers hold all blocks in their memory.

    Raises
    ------
    ValueError
        If there are not two classes among the held out rows and among the others.
    """
    columns, svm = model[0].fit(None), model[1]
    with tempfile.TemporaryDirectory(prefix="streaming-") as folder:
        spool = _Spool.write(Path(folder), columns, dataset, rows, held_out)
        fits = [_Fit(svm.in_one_run(), are_all=False), _Fit(svm, are_all=True)]
        if isinstance(compute, Cluster):
            calibration, final = _descend_there(fits, spool, compute)
        else:
            with ThreadPoolExecutor(len(fits)) as pool:
                calibration, final = pool.map(partial(_descend, spool=spool), fits)
        margins, labels = _held_out_margins(calibration, spool)
        final.calibrate(margins, labels)
    return model


class _Fit(NamedTuple):
    """A model to fit to all reviews, or to those that are not held out."""

    svm: NaiveBayesSvm
    are_all: bool

    def labels(self, spool: _Spool) -> NDArray[np.int8]:
        return spool.labels if self.are_all else spool.labels[~spool.held_out]

    def passes(self, block_count: int) -> list[list[list[int]]]:
        """Per run and pass the order of the blocks."""
        order, svm = np.random.default_rng(self.svm.random_state), self.svm
        return [
            [order.permutation(block_count).tolist() for _ in range(svm.epochs)]
            for _ in range(svm.runs)
        ]


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


def _descend(fit: _Fit, spool: _Spool) -> NaiveBayesSvm:
    """Fit ratio and margin to all or to the fitted rows, with the blocks reordered each pass."""
    svm, are_all = fit
    labels, ratio = fit.labels(spool), spool.ratio(svm.alpha, svm.floor, are_all=are_all)
    classes = two_classes(labels)
    descents = [svm.descent(len(labels), run) for run in range(svm.runs)]
    with tempfile.TemporaryDirectory(dir=spool.folder) as folder:
        weighted = partial(_weighted, spool, ratio, Path(folder), are_all)
        for run, passes in enumerate(fit.passes(len(spool.fitted))):
            for passing, numbers in enumerate(passes):
                with contextlib.closing(_one_ahead(weighted, numbers)) as blocks:
                    for number, (X, mine) in zip(numbers, blocks, strict=True):
                        place = _Place(passing, number, svm.thinning(run))
                        _learn(descents[run], X, mine, place, classes)
    return svm.take_over(list(map(Weights.of, descents)), ratio, classes)


class _Place(NamedTuple):
    """Which block of which pass, and what drops values there."""

    passing: int
    block: int
    dropout: Dropout


def _learn(
    linear: SGDClassifier,
    X: sparse.csr_array,
    labels: NDArray[np.int8],
    place: _Place,
    classes: NDArray[np.int8],
) -> None:
    if len(labels):
        values = np.empty_like(X.data)
        rows = place.dropout.applied(X, values, passing=place.passing, block=place.block)
        linear.partial_fit(rows, labels, classes=classes)


def _descend_there(fits: list[_Fit], spool: _Spool, cluster: Cluster) -> list[NaiveBayesSvm]:
    """As `_descend`, a chain of calls per run; the chains go on at the same time."""
    ratios, ends = [], []
    for fit in fits:
        svm, are_all = fit
        ratio, labels = spool.ratio(svm.alpha, svm.floor, are_all=are_all), fit.labels(spool)
        blocks = []
        for number, fitted in enumerate(spool.fitted):
            block = spool.block(number, slice(None if are_all else fitted))
            rows = weighted_by(ratio, block.marks.matrix(len(ratio), spool.late_weight))
            blocks.append(cluster.keep((rows, block.labels)))
        for run, passes in enumerate(fit.passes(len(blocks))):
            linear = cluster.later(svm.descent, len(labels), run)
            for passing, numbers in enumerate(passes):
                for number in numbers:
                    place = _Place(passing, number, svm.thinning(run))
                    linear = cluster.later(
                        _after, linear, blocks[number], place, two_classes(labels)
                    )
            ends.append((linear,))
        ratios.append(ratio)
    runs = iter([Weights(*own) for own in cluster.run(Weights.of, ends)])
    return [
        fit.svm.take_over(
            [next(runs) for _ in range(fit.svm.runs)], ratio, two_classes(fit.labels(spool))
        )
        for fit, ratio in zip(fits, ratios, strict=True)
    ]


def _after(
    linear: SGDClassifier,
    block: tuple[sparse.csr_array, NDArray[np.int8]],
    place: _Place,
    classes: NDArray[np.int8],
) -> SGDClassifier:
    """What a descent is after another block. The one before stays, should it be needed again."""
    following = copy.deepcopy(linear)
    _learn(following, *block, place, classes)
    return following


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
