"""The first step for corpora beyond memory: columns are shortened fingerprints.

There is no vocabulary, so a review's columns depend on that review alone: they are known as soon as
its fingerprints are, and no later night changes them. The price is that n-grams share columns by
chance.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipelines.features.fingerprints import Fingerprints
from pipelines.models.fingerprint_reader import FingerprintReader


class HashedColumns(FingerprintReader):
    """Map each review to the columns it touches; learns nothing.

    Parameters
    ----------
    ngram_max : int, default=2
        Longest n-gram, 1 to 8 tokens.
    bits : int, default=40
        Bits per fingerprint, as cached.
    column_bits : int, default=22
        Two to this power are the columns: four million. At most ``bits`` and at most 30.
    """

    def __init__(self, *, ngram_max: int = 2, bits: int = 40, column_bits: int = 22) -> None:
        self.ngram_max = ngram_max
        self.bits = bits
        self.column_bits = column_bits

    def fit(self, X: object, y: object = None) -> Self:  # noqa: ARG002
        """Check the parameters.

        Raises
        ------
        ValueError
            If ``column_bits`` is out of range.
        """
        most = min(self.bits, 30)
        if not 1 <= self.column_bits <= most:
            raise ValueError(f"column_bits must be from 1 to {most}, got {self.column_bits}")
        self.is_fitted_ = True
        return self

    @property
    def column_count(self) -> int:
        return 1 << self.column_bits

    def columns(self, reviews: Fingerprints) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the columns of all n-grams, review after review, and their bounds."""
        shift = np.uint64(self.bits - self.column_bits)
        return (reviews.ids >> shift).astype(np.int32), reviews.bounds()

    def learned(self) -> tuple[Any, ...]:
        """Return nothing: it learns nothing."""
        return ()
