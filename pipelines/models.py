"""The models that can be trained: scikit-learn pipelines, made by factories.

The default candidate, `fingerprint_svm`, is the naive-Bayes weighted support vector machine of [1]_
with the longer n-grams of [2]_, on hashed n-grams (`pipelines.fingerprints`):

    fingerprints ──▶ log-count ratio, rows of length 1 ──▶ margin ──▶ probability

`fingerprint_sgd` has a logistic regression in its place.

References
----------
.. [1] S. Wang and C. D. Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic
   Classification", ACL, 2012.
.. [2] G. Mesnil et al., "Ensemble of Generative and Discriminative Techniques for Sentiment
   Analysis of Movie Reviews", ICLR workshop, 2015.
"""
# ruff: noqa: N803, N806  # X is what scikit-learn and its readers call the samples

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils import ClassifierTags, Tags
from sklearn.utils.sparsefuncs_fast import inplace_csr_row_normalize_l2
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

from pipelines.corpus import Corpus
from pipelines.fingerprints import Fingerprints, fingerprint_parts
from pipelines.nbsvm import NaiveBayesSvm, check_smoothing, log_count_ratio, two_classes
from pipelines.reading import FingerprintReader
from pipelines.vocabulary import FingerprintIndex, known_columns


class FingerprintVectorizer(FingerprintReader):
    """Say which known n-grams each review contains.

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
        `pipelines.corpus`.
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
        """Return the vocabulary: another one after each fit."""
        return (self.vocabulary_,)

    def _corpus(self, X: Iterable[str] | Fingerprints | Corpus) -> Corpus:
        if self.min_df < 1:
            raise ValueError(f"min_df must be at least 1, got {self.min_df}")
        wanted = {"min_df": self.min_df, "ngram_max": self.ngram_max, "bits": self.bits}
        if isinstance(X, Corpus):
            if X.parameters != wanted:
                raise ValueError(f"the corpus was made with {X.parameters}, this reads {wanted}")
            return X
        if isinstance(X, Fingerprints):
            return Corpus.of(self.read(X), min_df=self.min_df)
        parts = fingerprint_parts(X, ngram_max=self.ngram_max, bits=self.bits)
        return Corpus.empty(**wanted).extended(parts)

    def _keep(self, corpus: Corpus) -> None:
        if not len(corpus.vocabulary):
            raise ValueError(
                f"none of the n-grams of {len(corpus)} reviews occurs in min_df={self.min_df} "
                "of them. Pass more reviews or a lower min_df."
            )
        self.vocabulary_ = corpus.vocabulary
        self._index: FingerprintIndex | None = None

    def index(self) -> FingerprintIndex:
        """Where each known n-gram is in the vocabulary; built on first use."""
        index = getattr(self, "_index", None)
        if index is None:
            index = self._index = FingerprintIndex(self.vocabulary_, self.bits)
        return index

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the index: it follows from the vocabulary, and is rebuilt when needed."""
        state = dict(super().__getstate__())
        state.pop("_index", None)
        return state


class LogCountRatio(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Weight each feature by how much more often it occurs in one class than in the other.

    The weight is the naive-Bayes log-count ratio ``log((p / |p|) / (q / |q|))``, where ``p`` and
    ``q`` are the feature's counts in the second and the first class, each plus ``alpha`` [1]_.
    Weighted rows are then scaled to length 1, so that a long review does not count for more.

    Parameters
    ----------
    alpha : float, default=1.0
        Smoothing count, above 0.

    Attributes
    ----------
    ratio_ : ndarray of float32, shape (n_features,)
        Weight per feature; above 0 where it speaks for ``classes_[1]``.
    classes_ : ndarray of shape (2,)
        The labels, ascending.
    n_features_in_ : int
        Number of features seen by `fit`.

    References
    ----------
    .. [1] S. Wang and C. D. Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic
       Classification", ACL, 2012.
    """

    def __init__(self, *, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def fit(self, X: sparse.csr_array, y: ArrayLike) -> Self:
        """Count each feature in either class.

        Parameters
        ----------
        X : sparse array of shape (n_samples, n_features)
            Counts, or zeros and ones. Not negative.
        y : array-like of shape (n_samples,)
            Labels of exactly two classes.

        Raises
        ------
        ValueError
            If ``y`` has one class, or more than two; a count is negative; ``alpha`` is not
            positive.
        """
        check_smoothing(self.alpha)
        X, labels = validate_data(self, X, y, accept_sparse="csr", dtype=np.float32)
        check_non_negative(X, "LogCountRatio.fit")
        self.classes_ = two_classes(labels)
        self.ratio_ = log_count_ratio(X, labels == self.classes_[1], self.alpha)
        return self

    def transform(self, X: sparse.csr_array) -> sparse.csr_array:
        """Weight each feature and scale each row to length 1.

        Parameters
        ----------
        X : sparse array of shape (n_samples, n_features)
            Counts, or zeros and ones.

        Returns
        -------
        weighted : csr_array of float32, shape (n_samples, n_features)
            Rows of Euclidean length 1, or 0 where nothing was known.
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float32, reset=False)
        X = sparse.csr_array(X)
        weighted = sparse.csr_array(
            (X.data * self.ratio_[X.indices], X.indices, X.indptr), shape=X.shape
        )
        inplace_csr_row_normalize_l2(weighted)
        return weighted

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        tags.target_tags.required = True
        tags.classifier_tags = ClassifierTags(multi_class=False)
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def fingerprint_svm(
    *,
    seed: int,
    ngram_max: int = 3,
    min_df: int = 2,
    alpha: float = 1.0,
    step: float = 0.2,
    epochs: int = 3,
) -> Pipeline:
    """Return the default candidate, not fitted.

    Parameters
    ----------
    seed : int
        Orders the reviews of each epoch; the only randomness.
    ngram_max, min_df : int
        See `FingerprintVectorizer`.
    alpha, step, epochs : float, float, int
        See `NaiveBayesSvm`.
    """
    svm = NaiveBayesSvm(alpha=alpha, step=step, epochs=epochs, random_state=seed)
    vectorizer = FingerprintVectorizer(ngram_max=ngram_max, min_df=min_df)
    return Pipeline([("fingerprints", vectorizer), ("svm", svm)])


def fingerprint_sgd(
    *, seed: int, ngram_max: int = 3, min_df: int = 2, alpha: float = 1e-6, epochs: int = 10
) -> Pipeline:
    """Return the same n-grams with a logistic regression, not fitted.

    Parameters
    ----------
    seed : int
        Orders the reviews of each epoch; the only randomness.
    ngram_max, min_df : int
        See `FingerprintVectorizer`.
    alpha : float, default=1e-6
        Strength of the L2 penalty.
    epochs : int, default=10
        Passes over the training reviews; always all of them.
    """
    linear = SGDClassifier(
        loss="log_loss", alpha=alpha, max_iter=epochs, tol=None, random_state=seed
    )
    return Pipeline(
        [
            ("fingerprints", FingerprintVectorizer(ngram_max=ngram_max, min_df=min_df)),
            ("ratio", LogCountRatio()),
            ("linear", linear),
        ]
    )


def tfidf_logistic(
    *,
    seed: int,
    ngram_max: int = 2,
    min_df: int = 2,
    C: float = 10.0,
) -> Pipeline:
    """Return what most people would start with: scikit-learn's own TF-IDF and regression."""
    words = TfidfVectorizer(ngram_range=(1, ngram_max), min_df=min_df, sublinear_tf=True)
    return Pipeline(
        [
            ("words", words),
            ("linear", LogisticRegression(C=C, max_iter=1000, random_state=seed)),
        ]
    )


def lecture_notebook(*, seed: int) -> Pipeline:
    """Return the model of the lecture notebook; five iterations are too few to converge."""
    return Pipeline(
        [
            ("words", TfidfVectorizer(stop_words="english")),
            ("linear", LogisticRegression(max_iter=5, random_state=seed)),
        ]
    )


def reads_fingerprints(model: object) -> bool:
    """Whether the model accepts `Fingerprints` in place of texts."""
    return isinstance(model, Pipeline) and isinstance(model[0], FingerprintReader)


def fingerprint_parameters(model: Pipeline) -> tuple[int, int]:
    """Return the ``(ngram_max, bits)`` of the fingerprints a model reads.

    Raises
    ------
    TypeError
        If the model reads texts only.
    """
    if not reads_fingerprints(model):
        raise TypeError("the model reads texts, not fingerprints: check reads_fingerprints first")
    return model[0].ngram_max, model[0].bits
