"""A support vector machine on naive-Bayes weighted n-grams, with calibrated probabilities.

    presence ──▶ log-count ratio, rows of length 1 ──▶ margin ──▶ probability

The weights are those of [1]_. The margin is found by stochastic gradient descent on the squared
hinge with a constant step; the weights of all steps of the last epoch are averaged, which needs
three epochs where the last weights alone need ten [2]_. Rows that were held out of a first fit turn
margins into probabilities [3]_.

References
----------
.. [1] S. Wang and C. D. Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic
   Classification", ACL, 2012.
.. [2] B. T. Polyak and A. B. Juditsky, "Acceleration of Stochastic Approximation by Averaging",
   SIAM Journal on Control and Optimization 30(4), 1992.
.. [3] J. Platt, "Probabilistic Outputs for Support Vector Machines", Advances in Large Margin
   Classifiers, MIT Press, 1999.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.utils import ClassifierTags, Tags
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

from pipelines.models.log_count_ratio import Weighted, check_smoothing, two_classes, weigh

CALIBRATION_EVERY = 5
"""By default every fifth row of each class calibrates the probabilities."""


class NaiveBayesSvm(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Weight each feature by its log-count ratio, separate the classes, calibrate.

    Parameters
    ----------
    alpha : float, default=1.0
        Smoothing count of the ratio, above 0.
    step : float, default=0.2
        Step of the gradient descent; rows have length 1, so it has no unit.
    epochs : int, default=3
        Passes over the rows. The weights of the last pass are averaged.
    penalty : float, default=1e-6
        Strength of the L2 penalty. The small number of passes regularizes more.
    random_state : int, default=0
        Orders the rows of each pass; the only randomness.

    Attributes
    ----------
    ratio_, coef_ : ndarray of float32, shape (n_features,)
        Log-count ratio, and weight of the feature after scaling by it.
    intercept_ : float
        Added to the margin.
    slope_, offset_ : float
        Log-odds are ``slope_ * margin + offset_``.
    classes_ : ndarray of shape (2,)
        The labels, ascending.
    n_features_in_ : int
        Number of features seen by `fit`.
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        step: float = 0.2,
        epochs: int = 3,
        penalty: float = 1e-6,
        random_state: int = 0,
    ) -> None:
        self.alpha = alpha
        self.step = step
        self.epochs = epochs
        self.penalty = penalty
        self.random_state = random_state

    def fit(
        self, X: sparse.csr_array, y: ArrayLike, held_out: NDArray[np.bool_] | None = None
    ) -> Self:
        """Fit without the held out rows, calibrate on them, then fit to all rows.

        Parameters
        ----------
        X : sparse array of shape (n_samples, n_features)
            Zeros and ones, or counts.
        y : array-like of shape (n_samples,)
            Labels of exactly two classes.
        held_out : ndarray of bool, shape (n_samples,), optional
            The rows to calibrate on, preferably all rows of some films. By default every fifth
            row of each class.

        Raises
        ------
        ValueError
            If there are not two classes among the held out rows and among the others, or a
            parameter or a count is out of range.
        """
        X, labels = self._checked(X, y)
        held_out = every_fifth(labels) if held_out is None else np.asarray(held_out, np.bool_)
        calibration_fit = clone(self).fit_margin(X[~held_out], labels[~held_out])
        margins = calibration_fit.margins(X[held_out])
        return self.fit_margin(X, labels).calibrate(margins, labels[held_out])

    def fit_margin(self, X: sparse.csr_array, y: NDArray[Any]) -> Self:
        """Fit to all rows; log-odds equal the margin until `calibrate` is called."""
        X, y = self._checked(X, y)
        return self.fit_weighted(weigh(X, y, self.alpha), y)

    def fit_weighted(self, weighted: Weighted, y: NDArray[Any]) -> Self:
        """As `fit_margin`, for rows that `weigh` returned for ``alpha``."""
        linear = self.descent(len(y)).fit(weighted.rows, y)
        return self.take_over(linear, weighted.ratio, two_classes(y))

    def take_over(
        self, linear: SGDClassifier, ratio: NDArray[np.float32], classes: NDArray[Any]
    ) -> Self:
        """Keep what `descent` learned from rows that were weighted by ``ratio``."""
        self.classes_, self.n_features_in_, self.ratio_ = classes, len(ratio), ratio
        self.coef_ = linear.coef_[0].astype(np.float32)
        self.intercept_ = float(linear.intercept_[0])
        self.slope_, self.offset_ = 1.0, 0.0
        return self

    def calibrate(self, margins: NDArray[np.float64], y: NDArray[Any]) -> Self:
        """Learn the probability for each margin, from rows that were not used in the fit.

        The prior of the regression is weak. It keeps the slope finite where the margins separate
        the classes without error.
        """
        scale = LogisticRegression(solver="newton-cholesky").fit(margins[:, None], y)
        self.slope_, self.offset_ = float(scale.coef_[0, 0]), float(scale.intercept_[0])
        return self

    def margins(self, X: sparse.csr_array) -> NDArray[np.float64]:
        """Signed distance of each row to the border between the classes."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float32, reset=False)
        X = sparse.csr_array(X)
        ratio = self.ratio_.astype(np.float64)
        squares = sparse.csr_array((X.data * X.data, X.indices, X.indptr), shape=X.shape)
        return scaled(X @ (ratio * self.coef_), squares @ (ratio * ratio)) + self.intercept_

    def margins_of_weighted(self, rows: sparse.csr_array) -> NDArray[np.float64]:
        """As `margins`, in single precision, for rows from `weighted_by` with ``ratio_``."""
        sums: NDArray[np.float64] = (rows @ self.coef_).astype(np.float64)
        return sums + self.intercept_

    def decision_function(self, X: sparse.csr_array) -> NDArray[np.float64]:
        """Log-odds of the second class per row."""
        margins = self.margins(X)
        return self.slope_ * margins + self.offset_

    def predict_proba(self, X: sparse.csr_array) -> NDArray[np.float64]:
        """Probability of either class per row, shape (n_samples, 2)."""
        log_odds = self.decision_function(X)
        return np.column_stack([expit(-log_odds), expit(log_odds)])

    def predict(self, X: sparse.csr_array) -> NDArray[Any]:
        """Return the likelier class per row."""
        chosen: NDArray[Any] = self.classes_[(self.decision_function(X) > 0).astype(np.intp)]
        return chosen

    def _checked(self, X: sparse.csr_array, y: ArrayLike) -> tuple[sparse.csr_array, NDArray[Any]]:
        check_smoothing(self.alpha)
        X, labels = validate_data(self, X, y, accept_sparse="csr", dtype=np.float32)
        check_non_negative(X, "NaiveBayesSvm.fit")
        return sparse.csr_array(X), labels

    def descent(self, row_count: int) -> SGDClassifier:
        """Return the solver of the margin for so many rows, not fitted."""
        return SGDClassifier(
            loss="squared_hinge",
            alpha=self.penalty,
            learning_rate="constant",
            eta0=self.step,
            max_iter=self.epochs,
            tol=None,
            average=(self.epochs - 1) * row_count + 1,
            random_state=self.random_state,
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        tags.classifier_tags = ClassifierTags(multi_class=False)
        return tags


def scaled(sums: NDArray[np.float64], squared_lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide each row's weighted sum by the row's length; a row without known features is 0."""
    lengths = np.sqrt(squared_lengths)
    return np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)


def every_fifth(y: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark every fifth row of each class, the first included."""
    is_marked = np.zeros(len(y), np.bool_)
    for label in two_classes(y):
        is_marked[np.flatnonzero(y == label)[::CALIBRATION_EVERY]] = True
    return is_marked
