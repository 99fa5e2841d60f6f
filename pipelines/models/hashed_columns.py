"""The first step for corpora beyond memory: columns are shortened fingerprints.

There is no vocabulary, so a review's columns depend on that review alone: they are known as soon as
its fingerprints are, and no later night changes them. The price is that n-grams share columns by
chance.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipelines.features.fingerprint_index import Marks
from pipelines.features.fingerprints import Fingerprints
from pipelines.features.views import View
from pipelines.models.fingerprint_reader import FingerprintReader


class HashedColumns(FingerprintReader):
    """Map each review to the columns it touches; learns nothing.

    Parameters
    ----------
    ngram_max : int, default=2
        Longest n-gram, 1 to 8 tokens.
    prefix_bytes : int, default=0
        Bytes of UTF-8 that are read of each token, up to 64; 0 reads all.
    bits : int, default=40
        Bits per fingerprint, as cached.
    column_bits : int, default=22
        Two to this power are the columns: four million. At most ``bits`` and at most 30.
    late_weight : float, default=1.0
        Value of an n-gram in the last eighth of a review, above 0; that of others is 1.
    """

    def __init__(
        self,
        *,
        ngram_max: int = 2,
        prefix_bytes: int = 0,
        bits: int = 40,
        column_bits: int = 22,
        late_weight: float = 1.0,
    ) -> None:
        self.ngram_max = ngram_max
        self.prefix_bytes = prefix_bytes
        self.bits = bits
        self.column_bits = column_bits
        self.late_weight = late_weight

    def fit(self, X: object, y: object = None) -> Self:  # noqa: ARG002
        """Check the parameters.

        Raises
        ------
        ValueError
            If a parameter is out of range.
        """
        self.view.check()
        self.check_late_weight()
        most = min(self.bits, 30)
        if not 1 <= self.column_bits <= most:
            raise ValueError(f"column_bits must be from 1 to {most}, got {self.column_bits}")
        self.is_fitted_ = True
        return self

    @property
    def view(self) -> View:
        return View(ngram_max=self.ngram_max, bits=self.bits, prefix_bytes=self.prefix_bytes)

    @property
    def column_count(self) -> int:
        return 1 << self.column_bits

    def marks(self, reviews: Fingerprints) -> Marks:
        """Return the columns of all n-grams."""
        return Marks(self.find(reviews.ids)[0], reviews.is_late, reviews.bounds())

    def places(self, ids: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return the column of each id, as columns ascend with ids; every one has one."""
        columns = (ids >> np.uint64(self.bits - self.column_bits)).astype(np.intp)
        return columns, np.ones(len(ids), np.bool_)

    def placed(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the values as they are."""
        return values

    def find(self, ids: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Return the column of each fingerprint; every one has one."""
        columns, is_known = self.places(ids)
        return columns.astype(np.int32), is_known

    def learned(self) -> tuple[Any, ...]:
        """Return nothing: it learns nothing."""
        return ()
