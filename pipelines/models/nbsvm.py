"""A support vector machine on naive-Bayes weighted n-grams, with calibrated probabilities.

    n-grams ──▶ log-count ratio, rows of length 1 ──▶ margin ──▶ probability

The weights are those of [1]_, with a floor. The margin is found by stochastic gradient descent on
the squared hinge with a constant step; the weights of all steps of the last passes are averaged
[2]_. In each pass, every value is dropped with probability ``dropout`` and the others are raised to
make up for it [4]_. So no n-gram can rely on a company that other reviews do not have: what
`dropout` adds to the loss is a penalty on confident weights of rare features [5]_. Two passes drop
by opposite draws (`pipelines.models.dropout`). Several runs, each with an order and draws of its
own, have less chance in their mean than one [6]_. Rows that were held out of a first fit turn
margins into probabilities [3]_.

References
----------
.. [1] S. Wang and C. D. Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic
   Classification", ACL, 2012.
.. [2] B. T. Polyak and A. B. Juditsky, "Acceleration of Stochastic Approximation by Averaging",
   SIAM Journal on Control and Optimization 30(4), 1992.
.. [3] J. Platt, "Probabilistic Outputs for Support Vector Machines", Advances in Large Margin
   Classifiers, MIT Press, 1999.
.. [4] N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
   Journal of Machine Learning Research 15, 2014.
.. [5] S. Wager, S. Wang and P. Liang, "Dropout Training as Adaptive Regularization", NIPS, 2013.
.. [6] L. Breiman, "Bagging Predictors", Machine Learning 24(2), 1996.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.utils import ClassifierTags, Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from pipelines.models.dropout import Dropout
from pipelines.models.log_count_ratio import Weighted, check_smoothing, two_classes, weigh

CALIBRATION_EVERY = 5
"""By default every fifth row of each class calibrates the probabilities."""

PENALTY = 1e-6
"""Strength of the L2 penalty. Dropout and the small number of passes regularize more."""

_HALVED = {"ratio_", "coef_"}


class Weights(NamedTuple):
    """What a descent learned: a weight per feature, and what is added to the margin, shape (1,)."""

    coef: NDArray[np.floating]
    intercept: NDArray[np.floating]

    @classmethod
    def of(cls, linear: SGDClassifier) -> Weights:
        return cls(linear.coef_[0], linear.intercept_)


class NaiveBayesSvm(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Weight each feature by its log-count ratio, separate the classes, calibrate.

    Parameters
    ----------
    alpha : float, default=1.0
        Smoothing count of the ratio, above 0.
    floor : float, default=0.2
        Added to the size of each ratio, not negative; see `LogCountRatio`.
    dropout : float, default=0.5
        Share of the values that each pass drops, in [0, 1), in steps of 1/256.
    step : float, default=0.1
        Step of the gradient descent; rows have length 1, so it has no unit.
    epochs : int, default=8
        Passes over the rows.
    averaged : int, default=2
        Last passes whose weights are averaged, 1 to ``epochs``.
    runs : int, default=1
        Descents from nothing, at least 1, whose weights are averaged. Fits that are only there to
        calibrate, or to compare settings, take one run: their margins differ little.
    random_state : int, default=0
        Orders the rows of each pass, and chooses what it drops; the only randomness.

    Attributes
    ----------
    ratio_, coef_ : ndarray of float32, shape (n_features,)
        Log-count ratio, and weight of the feature after scaling by it. Rounded to half precision,
        in which a file has them.
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
        floor: float = 0.2,
        dropout: float = 0.5,
        step: float = 0.1,
        epochs: int = 8,
        averaged: int = 2,
        runs: int = 1,
        random_state: int = 0,
    ) -> None:
        self.alpha = alpha
        self.floor = floor
        self.dropout = dropout
        self.step = step
        self.epochs = epochs
        self.averaged = averaged
        self.runs = runs
        self.random_state = random_state

    def fit(
        self, X: sparse.csr_array, y: ArrayLike, held_out: NDArray[np.bool_] | None = None
    ) -> Self:
        """Fit without the held out rows, calibrate on them, then fit to all rows.

        Parameters
        ----------
        X : sparse array of shape (n_samples, n_features)
            How much of each feature is in each row; a row has those above 0.
        y : array-like of shape (n_samples,)
            Labels of exactly two classes.
        held_out : ndarray of bool, shape (n_samples,), optional
            The rows to calibrate on, preferably all rows of some films. By default every fifth
            row of each class.

        Raises
        ------
        ValueError
            If there are not two classes among the held out rows and among the others, or a
            parameter is out of range.
        """
        X, labels = self._checked(X, y)
        held_out = every_fifth(labels) if held_out is None else np.asarray(held_out, np.bool_)
        calibration_fit = self.in_one_run().fit_margin(X[~held_out], labels[~held_out])
        margins = calibration_fit.margins(X[held_out])
        return self.fit_margin(X, labels).calibrate(margins, labels[held_out])

    def fit_margin(self, X: sparse.csr_array, y: NDArray[Any]) -> Self:
        """Fit to all rows; log-odds equal the margin until `calibrate` is called."""
        X, y = self._checked(X, y)
        return self.fit_weighted(weigh(X, y, self.alpha, self.floor), y)

    def fit_weighted(self, weighted: Weighted, y: NDArray[Any]) -> Self:
        """As `fit_margin`, for rows that `weigh` returned for ``alpha`` and ``floor``."""
        runs = [self.descend(weighted, y, run) for run in range(self.runs)]
        return self.take_over(runs, weighted.ratio, two_classes(y))

    def descend(self, weighted: Weighted, y: NDArray[Any], run: int) -> Weights:
        """Return what a run learns from all rows; it does not depend on the other runs."""
        linear, dropout = self.descent(len(y), run), self.thinning(run)
        classes, values = two_classes(y), np.empty_like(weighted.rows.data)
        for passing in range(self.epochs):
            rows = dropout.applied(weighted.rows, values, passing=passing)
            linear.partial_fit(rows, y, classes=classes)
        return Weights.of(linear)

    def in_one_run(self) -> Self:
        """Return a copy, not fitted, for a fit that only compares or calibrates."""
        copy: Self = clone(self).set_params(runs=1)
        return copy

    def take_over(
        self, runs: list[Weights], ratio: NDArray[np.float32], classes: NDArray[Any]
    ) -> Self:
        """Keep the mean of what each run learned from rows weighted by ``ratio``."""
        self.classes_, self.n_features_in_ = classes, len(ratio)
        coef = np.mean([run.coef for run in runs], axis=0)
        self.ratio_, self.coef_ = in_half_precision(ratio), in_half_precision(coef)
        self.intercept_ = float(np.mean([run.intercept[0] for run in runs]))
        self.slope_, self.offset_ = 1.0, 0.0
        return self

    def calibrate(self, margins: NDArray[np.float64], y: NDArray[Any]) -> Self:
        """Learn the probability for each margin, from rows that were not used in the fit."""
        slopes, self.offset_ = calibration(margins[:, None], y)
        self.slope_ = float(slopes[0])
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
        is_second = self.decision_function(X) > 0
        chosen: NDArray[Any] = self.classes_[is_second.astype(np.intp)]
        return chosen

    def _checked(self, X: sparse.csr_array, y: ArrayLike) -> tuple[sparse.csr_array, NDArray[Any]]:
        check_smoothing(self.alpha, self.floor)
        if not 1 <= self.averaged <= self.epochs:
            raise ValueError(
                f"averaged must be from 1 to epochs={self.epochs}, got {self.averaged}"
            )
        if self.runs < 1:
            raise ValueError(f"runs must be at least 1, got {self.runs}")
        X, labels = validate_data(self, X, y, accept_sparse="csr", dtype=np.float32)
        return sparse.csr_array(X), labels

    def descent(self, row_count: int, run: int) -> SGDClassifier:
        """Return the solver of a run for so many rows, not fitted, to be used pass by pass.

        Its random state is one for all passes; a seed would order each in the same way.
        """
        return SGDClassifier(
            loss="squared_hinge",
            alpha=PENALTY,
            learning_rate="constant",
            eta0=self.step,
            average=(self.epochs - self.averaged) * row_count + 1,
            random_state=np.random.RandomState([self.random_state, run]),
        )

    def thinning(self, run: int) -> Dropout:
        """Return what drops values in each pass of a run."""
        return Dropout(self.dropout, self.random_state, run)

    def __getstate__(self) -> dict[str, Any]:
        """Store ratios and weights in half precision, which loses nothing."""
        state = dict(super().__getstate__())
        return state | {name: state[name].astype(np.float16) for name in _HALVED & state.keys()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        halved = {name: state[name].astype(np.float32) for name in _HALVED & state.keys()}
        super().__setstate__({**state, **halved})

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags = ClassifierTags(multi_class=False)
        return tags


def in_half_precision(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Round to what fits into 16 bits."""
    return values.astype(np.float16).astype(np.float32)


def scaled(sums: NDArray[np.float64], squared_lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide each row's weighted sum by the row's length; a row without known features is 0."""
    lengths = np.sqrt(squared_lengths)
    return np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)


def calibration(margins: NDArray[np.float64], y: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """Learn the log-odds for margins of one or several models, shape (n_samples, n_models).

    The prior of the regression is weak. It keeps the slopes finite where the margins separate the
    classes without error.

    Returns
    -------
    slopes, offset : ndarray of float64 of shape (n_models,), float
        Log-odds are ``margins @ slopes + offset``.
    """
    scale = LogisticRegression(solver="newton-cholesky").fit(margins, y)
    return scale.coef_[0].astype(np.float64), float(scale.intercept_[0])


def every_fifth(y: NDArray[Any], classes: Iterable[Any] | None = None) -> NDArray[np.bool_]:
    """Mark every fifth row of each class, the first included; without classes there must be two."""
    is_marked = np.zeros(len(y), np.bool_)
    for label in two_classes(y) if classes is None else classes:
        is_marked[np.flatnonzero(y == label)[::CALIBRATION_EVERY]] = True
    return is_marked
