"""The estimators against hand counts."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

from benchmarks.compared.lecture_notebook import lecture_notebook
from pipelines.features.fingerprints import fingerprint
from pipelines.features.views import View
from pipelines.models.artefacts import dump_model
from pipelines.models.factories import (
    fingerprint_sgd,
    fingerprint_stream,
    fingerprint_svm,
    reads_fingerprints,
    tfidf_logistic,
    view_of,
    views_of,
)
from pipelines.models.hashed_columns import HashedColumns
from pipelines.models.log_count_ratio import LogCountRatio
from pipelines.models.vectorizer import FingerprintVectorizer
from tests.support.made.made_models import LABELS, TEXTS, a_model

ROOT = Path(__file__).resolve().parents[3]


# ------------------------------------------------------------------ estimators


def test_scikit_learn_finds_no_fault_with_the_ratio():
    check_estimator(LogCountRatio(), on_skip=None)


@pytest.mark.parametrize("reader", [FingerprintVectorizer(), HashedColumns()])
def test_scikit_learn_finds_no_fault_in_what_it_can_ask_of_a_reader_of_texts(reader):
    check_estimator(reader, on_skip=None)


@pytest.mark.parametrize(
    "estimator", [FingerprintVectorizer(ngram_max=2, min_df=3, bits=32), LogCountRatio(alpha=0.5)]
)
def test_a_clone_has_the_same_settings_and_nothing_learned(estimator):
    copy = clone(estimator)

    assert copy.get_params() == estimator.get_params()
    assert vars(copy) == estimator.get_params()


def test_settings_can_be_changed_through_the_pipeline():
    model = fingerprint_sgd(seed=1).set_params(fingerprints__ngram_max=1, ratio__alpha=2.0)

    assert view_of(model) == View(ngram_max=1)
    assert model["ratio"].alpha == 2.0


@pytest.mark.parametrize("estimator", [FingerprintVectorizer(), LogCountRatio()])
def test_transforming_before_fitting_says_so(estimator):
    with pytest.raises(NotFittedError):
        estimator.transform(["a film"])


# ------------------------------------------------------------------ vectorizer, by hand


def test_the_vocabulary_is_what_occurs_in_two_of_three_reviews():
    texts = ["good film", "good cast", "good good film"]

    vectorizer = FingerprintVectorizer(ngram_max=2).fit(texts)

    # good (3 reviews), film (2) and "good film" (2) stay; cast, "good cast", "good good" go.
    expected = fingerprint(["good film"], View(ngram_max=2)).ids
    assert vectorizer.vocabulary_.tolist() == expected.tolist()


@pytest.mark.parametrize(("min_df", "kept"), [(1, 4), (2, 2), (3, 1)])
def test_min_df_counts_reviews_not_repeats(min_df, kept):
    # good in 3 reviews, film in 2, cast and cast's neighbour in 1 each
    texts = ["good film", "good film cast cast", "good plot"]

    vectorizer = FingerprintVectorizer(ngram_max=1, min_df=min_df).fit(texts)

    assert len(vectorizer.vocabulary_) == kept


def test_transforming_marks_the_known_ngrams_of_each_review():
    vectorizer = FingerprintVectorizer(ngram_max=1, min_df=1).fit(["good film"])

    presence = vectorizer.transform(["film film", "unknown", "good film", ""])

    assert presence.dtype == np.float32
    assert presence.format == "csr"
    assert presence.sum(axis=1).tolist() == [1, 0, 2, 0]
    assert presence.max() == 1


def test_fitting_and_transforming_at_once_equals_one_after_the_other():
    at_once = FingerprintVectorizer().fit_transform(TEXTS)

    in_turn = FingerprintVectorizer().fit(TEXTS).transform(TEXTS)

    assert (at_once != in_turn).nnz == 0


def test_refitting_forgets_the_old_vocabulary():
    vectorizer = FingerprintVectorizer(ngram_max=1, min_df=1).fit(["old"])
    vectorizer.transform(["old"])

    assert vectorizer.fit(["new"]).transform(["old", "new"]).toarray().tolist() == [[0], [1]]


def test_reviews_with_nothing_in_common_leave_no_vocabulary():
    with pytest.raises(ValueError, match="2 reviews occurs in min_df=2"):
        FingerprintVectorizer().fit(["good film", "dull plot"])


def test_min_df_must_be_positive():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        FingerprintVectorizer(min_df=0).fit(TEXTS)


@pytest.mark.parametrize("setting", [{"ngram_max": 2}, {"bits": 32}])
def test_fingerprints_made_for_another_model_are_refused(setting):
    foreign = fingerprint(TEXTS, View(**setting))

    with pytest.raises(ValueError, match=r"reads View\(ngram_max=3, bits=40.*Compute them again"):
        FingerprintVectorizer().fit(foreign)
    with pytest.raises(ValueError, match=r"reads View\(ngram_max=3, bits=40.*Compute them again"):
        FingerprintVectorizer().fit(TEXTS).transform(foreign)


# ------------------------------------------------------------------ ratio, by hand


def test_the_ratio_equals_a_hand_count():
    # columns: great, dull, film; two positive reviews, one negative
    presence = sparse.csr_array(np.array([[1, 0, 1], [1, 0, 0], [0, 1, 1]], np.float32))

    ratio = LogCountRatio(alpha=1.0).fit(presence, [1, 1, 0]).ratio_

    # positive counts 2,0,1 -> 3,1,2 of 6; negative counts 0,1,1 -> 1,2,2 of 5
    expected = np.log([(3 / 6) / (1 / 5), (1 / 6) / (2 / 5), (2 / 6) / (2 / 5)])
    np.testing.assert_allclose(ratio, expected, rtol=1e-6)
    assert ratio.dtype == np.float32


def test_weighted_rows_have_length_one_and_unknown_rows_length_zero():
    presence = FingerprintVectorizer().fit(TEXTS).transform([*TEXTS[:6], "unknown"])

    weighted = LogCountRatio().fit(presence, [1, 1, 1, 0, 0, 0, 1]).transform(presence)

    lengths = np.sqrt(weighted.power(2).sum(axis=1))
    np.testing.assert_allclose(lengths, [1] * 6 + [0], rtol=1e-6)
    assert weighted.dtype == np.float32


def test_weighting_leaves_its_input_alone():
    presence = FingerprintVectorizer().fit_transform(TEXTS)

    LogCountRatio().fit(presence, LABELS).transform(presence)

    assert presence.data.min() == presence.data.max() == 1


@pytest.mark.parametrize(("labels", "classes"), [([1, 1, 1], "1 class"), ([0, 1, 2], "3 classes")])
def test_a_ratio_needs_two_classes(labels, classes):
    presence = sparse.csr_array(np.eye(3, dtype=np.float32))

    with pytest.raises(ValueError, match=f"reviews of two classes, found {classes}"):
        LogCountRatio().fit(presence, labels)


def test_a_night_of_one_class_cannot_be_fitted():
    with pytest.raises(ValueError, match=r"two classes, found 1 class: \[1\]"):
        fingerprint_sgd(seed=1).fit(TEXTS, np.ones(len(TEXTS), int))


@pytest.mark.parametrize("alpha", [0, -1, float("nan")])
def test_smoothing_must_be_positive(alpha):
    with pytest.raises(ValueError, match="alpha must be above 0"):
        LogCountRatio(alpha=alpha).fit(sparse.csr_array(np.eye(2)), [0, 1])


def test_another_number_of_features_is_refused():
    ratio = LogCountRatio().fit(sparse.csr_array(np.eye(2)), [0, 1])

    with pytest.raises(ValueError, match="3 features, but LogCountRatio is expecting 2"):
        ratio.transform(sparse.csr_array(np.eye(3)))


# ------------------------------------------------------------------ whole models


@pytest.mark.parametrize("factory", [fingerprint_svm, fingerprint_sgd, tfidf_logistic])
def test_a_model_tells_good_from_bad(factory):
    model = factory(seed=3).fit(TEXTS, LABELS)

    assert model.predict(["great and lovely", "dull and dreadful"]).tolist() == [1, 0]


def test_the_lecture_model_has_the_notebook_settings():
    model = lecture_notebook(seed=3)

    assert model["words"].stop_words == "english"
    assert model["linear"].max_iter == 5


def test_fitting_on_fingerprints_equals_fitting_on_texts():
    prints = fingerprint(TEXTS, View(ngram_max=2))

    from_prints = fingerprint_svm(seed=7, ngram_max=2).fit(prints, LABELS)

    assert dump_model(from_prints) == dump_model(a_model())


@pytest.mark.parametrize("factory", [fingerprint_svm, partial(fingerprint_stream, column_bits=18)])
def test_a_model_of_the_beginnings_of_words_knows_other_endings(factory):
    texts = ["a wonderful film", "a dreadful film"] * 10

    model = factory(seed=3, prefix_bytes=7).fit(texts, [1, 0] * 10)

    answers = model.predict_proba(["wonderful", "wonderfully", "dreadfully"])[:, 1]
    assert answers[0] == answers[1] > 0.5 > answers[2]


def test_predictions_do_not_depend_on_company_or_form():
    model, texts = a_model(), [*TEXTS, "", "nothing known", "a great, dull film"]

    batch = model.predict_proba(texts)

    alone = np.vstack([model.predict_proba([text]) for text in texts])
    from_prints = model.predict_proba(fingerprint(texts, View(ngram_max=2)))
    np.testing.assert_allclose(alone, batch, rtol=0, atol=1e-12)
    np.testing.assert_allclose(from_prints, batch, rtol=0, atol=1e-12)


def test_a_model_says_which_fingerprints_it_reads():
    model = fingerprint_sgd(seed=1, ngram_max=2)

    assert reads_fingerprints(model)
    assert view_of(model) == View(ngram_max=2)


def test_a_model_of_texts_reads_no_fingerprints():
    assert not reads_fingerprints(tfidf_logistic(seed=1))
    assert views_of(tfidf_logistic(seed=1)) == ()
    assert not reads_fingerprints(None)
    with pytest.raises(TypeError, match="reads texts"):
        view_of(tfidf_logistic(seed=1))
