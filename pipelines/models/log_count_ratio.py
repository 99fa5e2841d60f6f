"""Weigh each n-gram by how much more often one class uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import ClassifierTags, Tags
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.sparsefuncs_fast import inplace_csr_row_normalize_l2
from sklearn.utils.validation import check_is_fitted, validate_data


class LogCountRatio(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Weight each feature by how much more often it occurs in one class than in the other.

    The weight is the naive-Bayes log-count ratio ``log((p / |p|) / (q / |q|))``, where ``p`` and
    ``q`` are the numbers of rows of the second and the first class that have the feature, each
    plus ``alpha`` [1]_. Weighted rows are then scaled to length 1, so that a long review does not
    count for more.

    Parameters
    ----------
    alpha : float, default=1.0
        Smoothing count, above 0.
    floor : float, default=0.0
        Added to the size of each ratio, not negative. With more than 0, a feature that both
        classes use alike keeps a part in the row, and a later step can learn what it is worth.

    Attributes
    ----------
    ratio_ : ndarray of float32, shape (n_features,)
        Weight per feature; above 0 where it speaks for ``classes_[1]``.
    classes_ : ndarray of shape (2,)
        The labels, ascending.
    n_features_in_ : int
        Number of features seen by `fit`.

    References
    ----------
    .. [1] S. Wang and C. D. Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic
       Classification", ACL, 2012.
    """

    def __init__(self, *, alpha: float = 1.0, floor: float = 0.0) -> None:
        self.alpha = alpha
        self.floor = floor

    def fit(self, X: sparse.csr_array, y: ArrayLike) -> Self:
        """Count the rows with each feature in either class.

        Parameters
        ----------
        X : sparse array of shape (n_samples, n_features)
            How much of each feature is in each row; a row has those above 0.
        y : array-like of shape (n_samples,)
            Labels of exactly two classes.

        Raises
        ------
        ValueError
            If ``y`` has one class, or more than two, or a parameter is out of range.
        """
        check_smoothing(self.alpha, self.floor)
        X, labels = validate_data(self, X, y, accept_sparse="csr", dtype=np.float32)
        X = sparse.csr_array(X)
        self.classes_ = two_classes(labels)
        self.ratio_ = log_count_ratio(X, labels == self.classes_[1], self.alpha, self.floor)
        return self

    def transform(self, X: sparse.csr_array) -> sparse.csr_array:
        """Weight each feature and scale each row to length 1.

        Parameters
        ----------
        X : sparse array of shape (n_samples, n_features)
            How much of each feature is in each row.

        Returns
        -------
        weighted : csr_array of float32, shape (n_samples, n_features)
            Rows of Euclidean length 1, or 0 where no feature is known.
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float32, reset=False)
        X = sparse.csr_array(X)
        weighted = sparse.csr_array(
            (X.data * self.ratio_[X.indices], X.indices, X.indptr), shape=X.shape
        )
        inplace_csr_row_normalize_l2(weighted)
        return weighted

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        tags.classifier_tags = ClassifierTags(multi_class=False)
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


CHUNK_MARKS = 1 << 18


def log_count_ratio(
    X: sparse.csr_array, is_second: NDArray[np.bool_], alpha: float, floor: float = 0.0
) -> NDArray[np.float32]:
    """How much more often each feature occurs in the second class than in the first.

    Parameters
    ----------
    X : sparse array of shape (n_samples, n_features)
        How much of each feature is in each row; the ratio counts the rows that have it above 0.
    is_second : ndarray of bool, shape (n_samples,)
        Whether a row belongs to the second class.
    alpha : float
        Smoothing count, above 0.
    floor : float
        Added to the size of each ratio, not negative.

    Returns
    -------
    ratio : ndarray of float32, shape (n_features,)
        ``log((p / |p|) / (q / |q|))`` of the smoothed counts in the second and the first class,
        moved away from 0 by ``floor``.
    """
    return ratio_of_counts(*class_counts(X, is_second), alpha, floor)


def class_counts(
    X: sparse.csr_array, is_second: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How many rows of the first and of the second class have each feature, both (n_features,)."""
    first, second = counts_by_class(X, is_second, 2)
    return first, second


def counts_by_class(
    X: sparse.csr_array, classes: NDArray[Any], class_count: int
) -> list[NDArray[np.float32]]:
    """How many rows of each class have each feature, each (n_features,); classes are numbers."""
    has = sparse.csr_array(((X.data > 0).view(np.uint8), X.indices, X.indptr), shape=X.shape)
    # In float32 counts are exact up to 2**24 reviews.
    return [has.T @ (classes == number).astype(np.float32) for number in range(class_count)]


def ratio_of_counts(
    first: NDArray[Any], second: NDArray[Any], alpha: float, floor: float = 0.0
) -> NDArray[np.float32]:
    """As `log_count_ratio`, from each feature's counts in the first and in the second class.

    Raises
    ------
    ValueError
        If ``alpha`` is not above 0, or ``floor`` is below 0.
    """
    check_smoothing(alpha, floor)
    first, second = first.astype(np.float64) + alpha, second.astype(np.float64) + alpha
    ratio: NDArray[np.float64] = np.log(second / second.sum()) - np.log(first / first.sum())
    ratio += floor * np.sign(ratio)
    return ratio.astype(np.float32)


def check_smoothing(alpha: float, floor: float) -> None:
    """Raise a ValueError unless the smoothing count is above 0 and the floor is not below it."""
    if not alpha > 0:
        raise ValueError(f"alpha must be above 0, got {alpha}")
    if not 0 <= floor < np.inf:
        raise ValueError(f"floor must not be negative, and finite, got {floor}")


@dataclass(frozen=True)
class Weighted:
    """The ratios of some rows, and these rows weighted by them and scaled to length 1."""

    ratio: NDArray[np.float32]
    rows: sparse.csr_array

    @classmethod
    def by(cls, ratio: NDArray[np.float32], X: sparse.csr_array) -> Weighted:
        """Weight rows by the given ratios."""
        return cls(ratio, weighted_by(ratio, X))


def weigh(X: sparse.csr_array, y: NDArray[Any], alpha: float, floor: float = 0.0) -> Weighted:
    """Weight rows by their own log-count ratios."""
    return Weighted.by(log_count_ratio(X, y == two_classes(y)[1], alpha, floor), X)


def weighted_by(ratio: NDArray[np.float32], X: sparse.csr_array) -> sparse.csr_array:
    """Weight rows by ratios and scale them to length 1; positions are shared, not copied."""
    data = np.empty(len(X.indices), np.float32)
    for start in range(0, len(data), CHUNK_MARKS):
        part = slice(start, start + CHUNK_MARKS)
        np.multiply(ratio.take(X.indices[part]), X.data[part], out=data[part])
    rows = sparse.csr_array((data, X.indices, X.indptr), shape=X.shape)
    inplace_csr_row_normalize_l2(rows)
    return rows


def two_classes(y: NDArray[Any]) -> NDArray[Any]:
    """Return the two labels, ascending.

    Raises
    ------
    ValueError
        If there are not exactly two.
    """
    check_classification_targets(y)
    classes = np.unique(y)
    if len(classes) != 2:
        kind = type_of_target(y)
        raise ValueError(
            f"Only binary classification is supported. The type of the target is {kind}. "
            f"A log-count ratio needs reviews of two classes, found {len(classes)} "
            f"{'class' if len(classes) == 1 else 'classes'}: {classes[:5].tolist()}"
        )
    return classes
