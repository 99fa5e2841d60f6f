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

from pipelines.features.fingerprint_index import presence
from pipelines.features.fingerprints import Fingerprints, fingerprint


class FingerprintReader(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turns texts or `Fingerprints` into a matrix of zeros and ones."""

    ngram_max: int
    bits: int

    @property
    def column_count(self) -> int:
        """Number of columns of what `transform` returns."""
        raise NotImplementedError

    def columns(self, reviews: Fingerprints) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the columns that each review touches, one review after the other, and bounds."""
        raise NotImplementedError

    def learned(self) -> tuple[Any, ...]:
        """Return what `fit` creates: new objects after each fit."""
        raise NotImplementedError

    def transform(self, X: Iterable[str] | Fingerprints) -> sparse.csr_array:
        """Return 1 where a review touches a column.

        Parameters
        ----------
        X : iterable of str, or Fingerprints
            The reviews.

        Returns
        -------
        presence : csr_array of float32, shape (n_reviews, n_columns)
            Zeros and ones.
        """
        check_is_fitted(self)
        columns, bounds = self.columns(self.read(X))
        return presence(columns, bounds, self.column_count)

    def read(self, X: Iterable[str] | Fingerprints) -> Fingerprints:
        """Return the fingerprints of reviews, or check that these are of the right kind."""
        if not isinstance(X, Fingerprints):
            return fingerprint(X, ngram_max=self.ngram_max, bits=self.bits)
        if X.parameters != (self.ngram_max, self.bits):
            raise ValueError(
                f"the fingerprints were made with (ngram_max, bits) = {X.parameters}, this model "
                f"reads {(self.ngram_max, self.bits)}. Compute them again: fingerprint(texts, "
                f"ngram_max={self.ngram_max}, bits={self.bits})"
            )
        return X

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags
