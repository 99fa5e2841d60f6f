"""Weigh each n-gram by how much more often one class uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import ClassifierTags, Tags
from sklearn.utils.sparsefuncs_fast import inplace_csr_row_normalize_l2
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data


class LogCountRatio(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Weight each feature by how much more often it occurs in one class than in the other.

    The weight is the naive-Bayes log-count ratio ``log((p / |p|) / (q / |q|))``, where ``p`` and
    ``q`` are the feature's counts in the second and the first class, each plus ``alpha`` [1]_.
    Weighted rows are then scaled to length 1, so that a long review does not count for more.

    Parameters
    ----------
    alpha : float, default=1.0
        Smoothing count, above 0.

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

    def __init__(self, *, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def fit(self, X: sparse.csr_array, y: ArrayLike) -> Self:
        """Count each feature in either class.

        Parameters
        ----------
        X : sparse array of shape (n_samples, n_features)
            Counts, or zeros and ones. Not negative.
        y : array-like of shape (n_samples,)
            Labels of exactly two classes.

        Raises
        ------
        ValueError
            If ``y`` has one class, or more than two; a count is negative; ``alpha`` is not
            positive.
        """
        check_smoothing(self.alpha)
        X, labels = validate_data(self, X, y, accept_sparse="csr", dtype=np.float32)
        check_non_negative(X, "LogCountRatio.fit")
        self.classes_ = two_classes(labels)
        self.ratio_ = log_count_ratio(X, labels == self.classes_[1], self.alpha)
        return self

    def transform(self, X: sparse.csr_array) -> sparse.csr_array:
        """Weight each feature and scale each row to length 1.

        Parameters
        ----------
        X : sparse array of shape (n_samples, n_features)
            Counts, or zeros and ones.

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
        tags.input_tags.positive_only = True
        tags.target_tags.required = True
        tags.classifier_tags = ClassifierTags(multi_class=False)
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


CHUNK_MARKS = 1 << 18


def log_count_ratio(
    X: sparse.csr_array, is_second: NDArray[np.bool_], alpha: float
) -> NDArray[np.float32]:
    """How much more often each feature occurs in the second class than in the first.

    Parameters
    ----------
    X : sparse array of shape (n_samples, n_features)
        Counts, or zeros and ones.
    is_second : ndarray of bool, shape (n_samples,)
        Whether a row belongs to the second class.
    alpha : float
        Smoothing count, above 0.

    Returns
    -------
    ratio : ndarray of float32, shape (n_features,)
        ``log((p / |p|) / (q / |q|))`` of the smoothed counts in the second and the first class.
    """
    return ratio_of_counts(*class_counts(X, is_second), alpha)


def class_counts(
    X: sparse.csr_array, is_second: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Each feature's counts in the first and in the second class, both (n_features,)."""
    # In float32 counts are exact up to 2**24 reviews.
    return X.T @ (~is_second).astype(np.float32), X.T @ is_second.astype(np.float32)


def ratio_of_counts(first: NDArray[Any], second: NDArray[Any], alpha: float) -> NDArray[np.float32]:
    """As `log_count_ratio`, from each feature's counts in the first and in the second class.

    Raises
    ------
    ValueError
        If ``alpha`` is not above 0.
    """
    check_smoothing(alpha)
    first, second = first.astype(np.float64) + alpha, second.astype(np.float64) + alpha
    ratio: NDArray[np.float64] = np.log(second / second.sum()) - np.log(first / first.sum())
    return ratio.astype(np.float32)


def check_smoothing(alpha: float) -> None:
    """Raise a ValueError unless the smoothing count is above 0."""
    if not alpha > 0:
        raise ValueError(f"alpha must be above 0, got {alpha}")


@dataclass(frozen=True)
class Weighted:
    """The ratios of some rows, and these rows weighted by them and scaled to length 1."""

    ratio: NDArray[np.float32]
    rows: sparse.csr_array

    @classmethod
    def by(cls, ratio: NDArray[np.float32], X: sparse.csr_array) -> Weighted:
        """Weight rows by the given ratios."""
        return cls(ratio, weighted_by(ratio, X))


def weigh(X: sparse.csr_array, y: NDArray[Any], alpha: float) -> Weighted:
    """Weight rows by their own log-count ratios."""
    return Weighted.by(log_count_ratio(X, y == two_classes(y)[1], alpha), X)


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
    classes = np.unique(y)
    if len(classes) != 2:
        raise ValueError(
            f"a log-count ratio needs reviews of two classes, found {len(classes)} "
            f"{'class' if len(classes) == 1 else 'classes'}: {classes[:5].tolist()}"
        )
    return classes
