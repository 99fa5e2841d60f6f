"""The first step of models on fingerprints: which n-grams are columns, which reviews have them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pipelines.features.corpus import Corpus
from pipelines.features.fingerprint_index import FingerprintIndex, Marks, known_marks
from pipelines.features.fingerprints import (
    Filter,
    Fingerprints,
    fingerprint_parts,
    joined_ids,
    split_ids,
)
from pipelines.features.views import View
from pipelines.models.fingerprint_reader import FingerprintReader


class FingerprintVectorizer(FingerprintReader):
    """Map each review to the known n-grams it contains.

    Parameters
    ----------
    ngram_max : int, default=3
        Longest n-gram, 1 to 8 tokens.
    gap_max : int, default=0
        Also pairs of tokens with 1 to so many others between, 0 to 8.
    prefix_bytes : int, default=0
        Bytes of UTF-8 that are read of each token, up to 64; 0 reads all.
    min_df : int, default=2
        Fewest reviews an n-gram must occur in to be kept.
    bits : int, default=40
        Bits per fingerprint, 16 to 44. Among a million n-grams, a new one is taken for a known
        one with probability 1e6 / 2**bits: one in a million at 40.
    late_weight : float, default=1.0
        Value of an n-gram in the last eighth of a review, above 0; that of others is 1.

    Attributes
    ----------
    vocabulary_ : ndarray of uint64, shape (n_ngrams,)
        The fingerprint of each column of what `transform` returns, in the order of
        `pipelines.features.corpus`.
    """

    def __init__(
        self,
        *,
        ngram_max: int = 3,
        gap_max: int = 0,
        prefix_bytes: int = 0,
        min_df: int = 2,
        bits: int = 40,
        late_weight: float = 1.0,
    ) -> None:
        self.ngram_max = ngram_max
        self.gap_max = gap_max
        self.prefix_bytes = prefix_bytes
        self.min_df = min_df
        self.bits = bits
        self.late_weight = late_weight

    @property
    def view(self) -> View:
        return View(
            ngram_max=self.ngram_max,
            bits=self.bits,
            gap_max=self.gap_max,
            prefix_bytes=self.prefix_bytes,
        )

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
        return corpus.matrix(self.late_weight)

    @property
    def column_count(self) -> int:
        return len(self.vocabulary_)

    def marks(self, reviews: Fingerprints) -> Marks:
        """Return the columns of the n-grams that are known."""
        return known_marks(self.index(), reviews)

    def find(self, ids: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Return the column of each fingerprint, and whether it has one."""
        return self.index().find(ids)

    def places(self, ids: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return where each id stands in the ascending vocabulary, and whether it does."""
        return self.index().places(ids)

    @property
    def may_know(self) -> Filter:
        """What leaves out most n-grams that are not in the vocabulary."""
        return self.index().may_hold

    def placed(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values of the columns in the order of `places`."""
        return values[self.index().columns]

    def learned(self) -> tuple[Any, ...]:
        """Return the vocabulary: a new object after each fit."""
        return (self.vocabulary_,)

    def _corpus(self, X: Iterable[str] | Fingerprints | Corpus) -> Corpus:
        self.check_late_weight()
        if self.min_df < 1:
            raise ValueError(f"min_df must be at least 1, got {self.min_df}")
        if isinstance(X, Corpus):
            if (X.view, X.min_df) != (self.view, self.min_df):
                raise ValueError(
                    f"the corpus is of {X.view} with min_df={X.min_df}, this model reads "
                    f"{self.view} with min_df={self.min_df}"
                )
            return X
        parts = [self.read(X)] if isinstance(X, Fingerprints) else fingerprint_parts(X, self.view)
        return Corpus.of(parts, self.view, min_df=self.min_df)

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
        """Store five or six bytes per fingerprint, and no index, which is rebuilt when needed."""
        state = dict(super().__getstate__())
        state.pop("_index", None)
        if "vocabulary_" in state:
            state["vocabulary_"] = split_ids(state["vocabulary_"], self.bits)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "vocabulary_" in state:
            state = {**state, "vocabulary_": joined_ids(*state["vocabulary_"])}
        super().__setstate__(state)
