"""The first step of models on fingerprints: which n-grams are columns, which reviews have them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pipelines.features.corpus import Corpus
from pipelines.features.fingerprint_index import FingerprintIndex, known_columns
from pipelines.features.fingerprints import Fingerprints, fingerprint_parts
from pipelines.models.fingerprint_reader import FingerprintReader


class FingerprintVectorizer(FingerprintReader):
    """Map each review to the known n-grams it contains.

    Parameters
    ----------
    ngram_max : int, default=3
        Longest n-gram, 1 to 8 tokens.
    min_df : int, default=2
        Fewest reviews an n-gram must occur in to be kept.
    bits : int, default=40
        Bits per fingerprint, 16 to 44. Among a million n-grams, a new one is taken for a known
        one with probability 1e6 / 2**bits: one in a million at 40.

    Attributes
    ----------
    vocabulary_ : ndarray of uint64, shape (n_ngrams,)
        The fingerprint of each column of what `transform` returns, in the order of
        `pipelines.features.corpus`.
    """

    def __init__(self, *, ngram_max: int = 3, min_df: int = 2, bits: int = 40) -> None:
        self.ngram_max = ngram_max
        self.min_df = min_df
        self.bits = bits

    def fit(self, X: Iterable[str] | Fingerprints | Corpus, y: object = None) -> Self:  # noqa: ARG002
        """Keep the n-grams that occur in at least ``min_df`` reviews.

        Parameters
        ----------
        X : iterable of str, Fingerprints, or Corpus
            The reviews.
        y : object
            Not used.

        Raises
        ------
        ValueError
            If a parameter is out of range, the fingerprints were made with other parameters, or
            no n-gram occurs often enough.
        """
        self._keep(self._corpus(X))
        return self

    def fit_transform(
        self,
        X: Iterable[str] | Fingerprints | Corpus,
        y: object = None,  # noqa: ARG002
    ) -> sparse.csr_array:
        """Fit to the reviews and transform them, reading each once."""
        corpus = self._corpus(X)
        self._keep(corpus)
        return corpus.presence()

    @property
    def column_count(self) -> int:
        return len(self.vocabulary_)

    def columns(self, reviews: Fingerprints) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the columns of the n-grams that are known, review after review, and bounds."""
        return known_columns(self.index(), reviews)

    def learned(self) -> tuple[Any, ...]:
        """Return the vocabulary: a new object after each fit."""
        return (self.vocabulary_,)

    def _corpus(self, X: Iterable[str] | Fingerprints | Corpus) -> Corpus:
        if self.min_df < 1:
            raise ValueError(f"min_df must be at least 1, got {self.min_df}")
        parameters = {"min_df": self.min_df, "ngram_max": self.ngram_max, "bits": self.bits}
        if isinstance(X, Corpus):
            if X.parameters != parameters:
                raise ValueError(
                    f"the corpus was made with {X.parameters}, this model reads {parameters}"
                )
            return X
        if isinstance(X, Fingerprints):
            return Corpus.of(self.read(X), min_df=self.min_df)
        parts = fingerprint_parts(X, ngram_max=self.ngram_max, bits=self.bits)
        return Corpus.empty(**parameters).extended(parts)

    def _keep(self, corpus: Corpus) -> None:
        if not len(corpus.vocabulary):
            raise ValueError(
                f"none of the n-grams of {len(corpus)} reviews occurs in min_df={self.min_df} "
                "of them. Pass more reviews or a lower min_df."
            )
        self.vocabulary_ = corpus.vocabulary
        self._index: FingerprintIndex | None = None

    def index(self) -> FingerprintIndex:
        """The index of the vocabulary; built on first use."""
        index = getattr(self, "_index", None)
        if index is None:
            index = self._index = FingerprintIndex(self.vocabulary_, self.bits)
        return index

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the index, which is rebuilt from the vocabulary when needed."""
        state = dict(super().__getstate__())
        state.pop("_index", None)
        return state
