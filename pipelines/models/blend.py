"""Several views of the same reviews: a model for each, and a regression that joins their margins.

    view ──▶ log-count ratio ──▶ margin ─┐
    view ──▶ log-count ratio ──▶ margin ─┴──▶ logistic regression ──▶ probability

The regression is fitted to margins of reviews that the members were not fitted to: stacked
generalization [1]_. With a single view it is the calibration of `NaiveBayesSvm`.

References
----------
.. [1] D. H. Wolpert, "Stacked generalization", Neural Networks 5(2), 1992.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import ClassifierTags, Tags
from sklearn.utils.validation import check_is_fitted

from pipelines.models.fingerprint_reader import FingerprintReader
from pipelines.models.nbsvm import NaiveBayesSvm, calibration, every_fifth


class Blend(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Join the margins of several models of fingerprints.

    Parameters
    ----------
    members : list of Pipeline
        Each of a reader of fingerprints and a `NaiveBayesSvm`. They are cloned, not changed.

    Attributes
    ----------
    members_ : list of Pipeline
        The fitted members.
    slopes_ : ndarray of float64, shape (n_members,)
        What each member's margin counts for.
    offset_ : float
        Log-odds are ``margins @ slopes_ + offset_``.
    classes_ : ndarray of shape (2,)
        The labels, ascending.
    """

    def __init__(self, members: list[Pipeline]) -> None:
        self.members = members

    def fit(
        self, X: Sequence[str], y: ArrayLike, held_out: NDArray[np.bool_] | None = None
    ) -> Self:
        """Fit the members without the held out rows, join them on these, then fit to all rows.

        Parameters
        ----------
        X : sequence of str
            The reviews.
        y : array-like of shape (n_samples,)
            Labels of exactly two classes.
        held_out : ndarray of bool, shape (n_samples,), optional
            The rows to join the members on. By default every fifth row of each class.
        """
        labels = np.asarray(y)
        held_out = every_fifth(labels) if held_out is None else np.asarray(held_out, np.bool_)
        members, margins = [clone(member) for member in self.members], []
        for reader, svm in members:
            rows = reader.fit_transform(X)
            first = svm.in_one_run().fit_margin(rows[~held_out], labels[~held_out])
            margins.append(first.margins(rows[held_out]))
            svm.fit_margin(rows, labels)
        return self.take_over(members, np.column_stack(margins), labels[held_out])

    def take_over(
        self, members: list[Pipeline], margins: NDArray[np.float64], y: NDArray[Any]
    ) -> Self:
        """Keep fitted members, and join them by margins of rows that they were not fitted to.

        Parameters
        ----------
        members : list of Pipeline
            Fitted.
        margins : ndarray of float64, shape (n_samples, n_members)
            Of fits that did not see these rows.
        y : ndarray of shape (n_samples,)
            Labels of these rows.
        """
        self.members_, self.classes_ = members, members[0][-1].classes_
        self.slopes_, self.offset_ = calibration(margins, y)
        return self

    def decision_function(self, X: Sequence[str]) -> NDArray[np.float64]:
        """Log-odds of the second class per review."""
        check_is_fitted(self)
        margins = [svm.margins(reader.transform(X)) for reader, svm in self.members_]
        log_odds: NDArray[np.float64] = np.column_stack(margins) @ self.slopes_ + self.offset_
        return log_odds

    def predict_proba(self, X: Sequence[str]) -> NDArray[np.float64]:
        """Probability of either class per review, shape (n_samples, 2)."""
        log_odds = self.decision_function(X)
        return np.column_stack([expit(-log_odds), expit(log_odds)])

    def predict(self, X: Sequence[str]) -> NDArray[Any]:
        """Return the likelier class per review."""
        is_second = self.decision_function(X) > 0
        chosen: NDArray[Any] = self.classes_[is_second.astype(np.intp)]
        return chosen

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.classifier_tags = ClassifierTags(multi_class=False)
        return tags


def members_of(model: Any) -> list[Pipeline]:
    """Return the models whose margins make a model's answer, fitted if it is.

    Empty for a model that is not of this kind; the model itself if it is not a blend.
    """
    if not isinstance(model, Pipeline):
        return []
    if len(model) == 1 and isinstance(model[0], Blend):
        members: list[Pipeline] = getattr(model[0], "members_", model[0].members)
        return members
    is_member = len(model) == 2 and isinstance(model[0], FingerprintReader)
    return [model] if is_member and isinstance(model[1], NaiveBayesSvm) else []


def joined_by(model: Pipeline) -> tuple[NDArray[np.float64], float]:
    """Return what each member's margin counts for in the log-odds, and what is added to them."""
    last = model[-1]
    if isinstance(last, Blend):
        return last.slopes_, last.offset_
    return np.array([last.slope_]), last.offset_
