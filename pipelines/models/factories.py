"""The candidates that can be trained: functions that build an unfitted scikit-learn pipeline.

The default candidate, `fingerprint_svm`, is the naive-Bayes weighted support vector machine of [1]_
with the longer n-grams of [2]_, on hashed n-grams (`features.fingerprints`):

    fingerprints ──▶ log-count ratio, rows of length 1 ──▶ margin ──▶ probability

`fingerprint_svm_views` joins several of these, each on other n-grams. `fingerprint_sgd` uses a
logistic regression instead. A factory that takes ``classes`` gets their number.

References
----------
.. [1] S. Wang and C. D. Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic
   Classification", ACL, 2012.
.. [2] G. Mesnil et al., "Ensemble of Generative and Discriminative Techniques for Sentiment
   Analysis of Movie Reviews", ICLR workshop, 2015.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import Pipeline

from pipelines.features.views import View
from pipelines.models.blend import Blend, members_of
from pipelines.models.fingerprint_reader import FingerprintReader
from pipelines.models.hashed_columns import HashedColumns
from pipelines.models.log_count_ratio import LogCountRatio
from pipelines.models.nbsvm import NaiveBayesSvm
from pipelines.models.one_vs_rest import OneVsRest
from pipelines.models.vectorizer import FingerprintVectorizer


def fingerprint_svm(
    *,
    seed: int,
    ngram_max: int = 3,
    prefix_bytes: int = 0,
    min_df: int = 2,
    late_weight: float = 1.5,
    classes: int = 2,
    **svm: Any,
) -> Pipeline:
    """Return the default candidate, not fitted.

    Parameters
    ----------
    seed : int
        Orders the reviews of each pass and chooses what is dropped; the only randomness.
    ngram_max, prefix_bytes, min_df, late_weight : int, int, int, float
        See `FingerprintVectorizer`.
    classes : int, default=2
        For more than two there is a machine for each, see `OneVsRest`.
    **svm : float or int
        See `NaiveBayesSvm`.
    """
    vectorizer = FingerprintVectorizer(
        ngram_max=ngram_max, prefix_bytes=prefix_bytes, min_df=min_df, late_weight=late_weight
    )
    machine = NaiveBayesSvm(random_state=seed, **svm)
    last = machine if classes == 2 else OneVsRest(machine)
    return Pipeline([("fingerprints", vectorizer), ("svm", last)])


def fingerprint_svm_views(
    *,
    seed: int,
    views: Sequence[Mapping[str, int]],
    late_weight: float = 1.5,
    **svm: Any,
) -> Pipeline:
    """Return a blend of models that read the reviews in several ways, not fitted.

    Parameters
    ----------
    seed : int
        Orders the reviews of each pass and chooses what is dropped; the only randomness.
    views : sequence of mapping
        What each member reads: ``ngram_max``, ``gap_max``, ``prefix_bytes``, ``min_df`` and
        ``bits``, see `FingerprintVectorizer`.
    late_weight : float
        See `FingerprintVectorizer`.
    **svm : float or int
        See `NaiveBayesSvm`.

    Raises
    ------
    ValueError
        If there are no views.
    """
    if not views:
        raise ValueError("views must name at least one view")
    members = [
        Pipeline(
            [
                ("fingerprints", FingerprintVectorizer(late_weight=late_weight, **view)),
                ("svm", NaiveBayesSvm(random_state=seed, **svm)),
            ]
        )
        for view in views
    ]
    return Pipeline([("blend", Blend(members))])


def fingerprint_sgd(
    *, seed: int, ngram_max: int = 3, min_df: int = 2, alpha: float = 1e-6, epochs: int = 10
) -> Pipeline:
    """Return a logistic regression on the same n-grams, not fitted.

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
    """Return scikit-learn's TF-IDF and logistic regression, the usual first choice."""
    words = TfidfVectorizer(ngram_range=(1, ngram_max), min_df=min_df, sublinear_tf=True)
    return Pipeline(
        [
            ("words", words),
            ("linear", LogisticRegression(C=C, max_iter=1000, random_state=seed)),
        ]
    )


def reads_fingerprints(model: object) -> bool:
    """Whether the model accepts `Fingerprints` instead of texts."""
    return isinstance(model, Pipeline) and isinstance(model[0], FingerprintReader)


def views_of(model: object) -> tuple[View, ...]:
    """Return the views of all fingerprints that are computed for a model, none if it has none."""
    if reads_fingerprints(model):
        return (view_of(model),)
    return tuple(member[0].view for member in members_of(model))


def view_of(model: Any) -> View:
    """Return the view of the fingerprints that a model reads.

    Raises
    ------
    TypeError
        If the model reads texts only.
    """
    if not reads_fingerprints(model):
        raise TypeError("the model reads texts, not fingerprints: check reads_fingerprints first")
    view: View = model[0].view
    return view


def fingerprint_stream(
    *,
    seed: int,
    ngram_max: int = 2,
    prefix_bytes: int = 0,
    column_bits: int = 22,
    late_weight: float = 1.5,
    **svm: Any,
) -> Pipeline:
    """Return the candidate that is fitted block by block, not fitted.

    Parameters
    ----------
    seed : int
        Orders the reviews of each pass and chooses what is dropped; the only randomness.
    ngram_max, prefix_bytes, column_bits, late_weight : int, int, int, float
        See `HashedColumns`.
    **svm : float or int
        See `NaiveBayesSvm`.
    """
    columns = HashedColumns(
        ngram_max=ngram_max,
        prefix_bytes=prefix_bytes,
        column_bits=column_bits,
        late_weight=late_weight,
    )
    return Pipeline([("columns", columns), ("svm", NaiveBayesSvm(random_state=seed, **svm))])
