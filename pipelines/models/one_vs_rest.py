"""More than two classes: a support vector machine for each, and a regression that joins them.

    n-grams ─┬─▶ margin of the first class against the others ──┐
             ├─▶ margin of the second class against the others ─┼─▶ softmax ──▶ probabilities
             └─▶ ...                                           ─┘

All machines read the same matrix, and each has log-count ratios of its own. The regression is
fitted to margins of reviews that the machines were not fitted to, as in `pipelines.models.blend`.
With a full matrix of weights this is matrix scaling [1]_: that a review is far from both ends may
speak for what is between them.

References
----------
.. [1] C. Guo et al., "On Calibration of Modern Neural Networks", ICML, 2017.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from pipelines.models.nbsvm import NaiveBayesSvm, every_fifth


class OneVsRest(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Separate each class from all others, and join the margins to probabilities.

    Parameters
    ----------
    svm : NaiveBayesSvm
        Cloned for each class, not changed.

    Attributes
    ----------
    machines_ : list of NaiveBayesSvm
        One per class; its second class is this one.
    weights_ : ndarray of float64, shape (n_classes, n_classes)
        What each margin counts for in the logarithm of each class's probability.
    offsets_ : ndarray of float64, shape (n_classes,)
        What is added to it; the softmax takes care of the rest.
    classes_ : ndarray of shape (n_classes,)
        The labels, ascending.
    n_features_in_ : int
        Number of features seen by `fit`.
    """

    def __init__(self, svm: NaiveBayesSvm) -> None:
        self.svm = svm

    def fit(
        self, X: sparse.csr_array, y: ArrayLike, held_out: NDArray[np.bool_] | None = None
    ) -> Self:
        """Fit without the held out rows, join the margins on these, then fit to all rows.

        Parameters
        ----------
        X : sparse array of shape (n_samples, n_features)
            How much of each feature is in each row.
        y : array-like of shape (n_samples,)
            Labels of at least two classes.
        held_out : ndarray of bool, shape (n_samples,), optional
            The rows to join the margins on. By default every fifth row of each class.
        """
        X, labels = validate_data(self, X, y, accept_sparse="csr", dtype=np.float32)
        check_classification_targets(labels)
        X, (classes, places) = sparse.csr_array(X), np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"at least two classes are needed, found 1 class: {classes.tolist()}")
        if held_out is None:
            held_out = every_fifth(places, range(len(classes)))
        machines, margins = [], []
        for place in range(len(classes)):
            is_own, svm = (places == place).astype(np.int8), clone(self.svm)
            first = svm.in_one_run().fit_margin(X[~held_out], is_own[~held_out])
            margins.append(first.margins(X[held_out]))
            machines.append(svm.fit_margin(X, is_own))
        return self.take_over(machines, np.column_stack(margins), labels[held_out])

    def take_over(
        self, machines: list[NaiveBayesSvm], margins: NDArray[np.float64], y: NDArray[Any]
    ) -> Self:
        """Keep fitted machines, and join them by margins of rows that they were not fitted to.

        Parameters
        ----------
        machines : list of NaiveBayesSvm
            One per class, in the order of the labels.
        margins : ndarray of float64, shape (n_samples, n_classes)
            Of fits that did not see these rows.
        y : ndarray of shape (n_samples,)
            Labels of these rows; all classes are among them.
        """
        self.machines_, self.classes_ = machines, np.unique(y)
        self.n_features_in_ = machines[0].n_features_in_
        self.weights_, self.offsets_ = joining(margins, y)
        return self

    def decision_function(self, X: sparse.csr_array) -> NDArray[np.float64]:
        """The logarithm of each class's probability, but for a number that all of a row share.

        Of shape (n_samples, n_classes); for two classes the log-odds of the second.
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float32, reset=False)
        margins = np.column_stack([svm.margins(X) for svm in self.machines_])
        logits = joined(margins, self.weights_, self.offsets_)
        return logits if len(self.classes_) > 2 else logits[:, 1] - logits[:, 0]

    def predict_proba(self, X: sparse.csr_array) -> NDArray[np.float64]:
        """Probability of each class per row, shape (n_samples, n_classes)."""
        logits = self.decision_function(X)
        if logits.ndim == 1:
            logits = np.column_stack([np.zeros_like(logits), logits])
        return shares(logits)

    def predict(self, X: sparse.csr_array) -> NDArray[Any]:
        """Return the likeliest class per row."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        chosen: NDArray[Any] = self.classes_[likeliest]
        return chosen

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def joined(
    margins: NDArray[np.float64], weights: NDArray[np.float64], offsets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``margins @ weights.T + offsets``, term by term.

    So a review's answer does not depend on how many others are asked about.
    """
    logits = np.tile(offsets, (len(margins), 1))
    for number, column in enumerate(margins.T):
        logits += column[:, None] * weights[:, number]
    return logits


def shares(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The softmax of each row."""
    parts = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = parts / parts.sum(axis=1, keepdims=True)
    return probabilities


def joining(
    margins: NDArray[np.float64], y: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Learn what the margins of all classes say of each.

    Returns
    -------
    weights, offsets : ndarray of float64, shapes (n_classes, n_classes) and (n_classes,)
        Probabilities are the softmax of ``margins @ weights.T + offsets``.
    """
    joined = LogisticRegression(max_iter=1000, tol=1e-8).fit(margins, y)
    weights, offsets = joined.coef_.astype(np.float64), joined.intercept_.astype(np.float64)
    if len(weights) == 1:  # of two classes it keeps the second alone
        weights, offsets = np.vstack([-weights, weights]) / 2, np.array([-1, 1]) * offsets / 2
    return weights, offsets
