"""Base class of all first steps that read fingerprints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from pipelines.features.fingerprint_index import Marks
from pipelines.features.fingerprints import Filter, Fingerprints, fingerprint
from pipelines.features.views import View


class FingerprintReader(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turns texts or `Fingerprints` into a matrix of the n-grams that they contain."""

    late_weight: float

    @property
    def view(self) -> View:
        """Which n-grams are read."""
        raise NotImplementedError

    @property
    def column_count(self) -> int:
        """Number of columns of what `transform` returns."""
        raise NotImplementedError

    def marks(self, reviews: Fingerprints) -> Marks:
        """Return the columns that each review touches."""
        raise NotImplementedError

    def find(self, ids: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Return the column of each fingerprint, and whether it has one."""
        raise NotImplementedError

    def places(self, ids: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return where each id stands among the known ones, ascending, and whether it is known.

        The place of one that is not known is meaningless, and at most the number of columns.
        """
        raise NotImplementedError

    @property
    def may_know(self) -> Filter | None:
        """What leaves out most n-grams that are not known; None if it would leave out none."""
        return None

    def placed(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values of the columns in the order of `places`."""
        raise NotImplementedError

    def learned(self) -> tuple[Any, ...]:
        """Return what `fit` creates: new objects after each fit."""
        raise NotImplementedError

    def transform(self, X: Iterable[str] | Fingerprints) -> sparse.csr_array:
        """Return where a review touches a column.

        Parameters
        ----------
        X : iterable of str, or Fingerprints
            The reviews.

        Returns
        -------
        values : csr_array of float32, shape (n_reviews, n_columns)
            ``late_weight`` where the n-gram is in the last eighth of the review, 1 where it is
            only elsewhere, and 0 where it is not.
        """
        check_is_fitted(self)
        return self.marks(self.read(X)).matrix(self.column_count, self.late_weight)

    def read(self, X: Iterable[str] | Fingerprints) -> Fingerprints:
        """Return the fingerprints of reviews, or check that these are of the right view."""
        if not isinstance(X, Fingerprints):
            return fingerprint(X, self.view)
        if X.view != self.view:
            raise ValueError(
                f"the fingerprints are of {X.view}, this model reads {self.view}. Compute them "
                f"again: fingerprint(texts, {self.view})"
            )
        return X

    def check_late_weight(self) -> None:
        """Raise a ValueError unless the weight of late n-grams is above 0 and finite."""
        if not 0 < self.late_weight < float("inf"):
            raise ValueError(f"late_weight must be above 0 and finite, got {self.late_weight}")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags
