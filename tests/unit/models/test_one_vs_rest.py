"""More than two classes: machines of one matrix, their joined probabilities, and why."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import log_loss
from sklearn.utils.estimator_checks import check_estimator

from pipelines.models import answers
from pipelines.models.artefacts import dump_model, load_model
from pipelines.models.explain import explain, is_explainable
from pipelines.models.factories import fingerprint_svm, tfidf_logistic, views_of
from pipelines.models.nbsvm import NaiveBayesSvm
from pipelines.models.one_vs_rest import OneVsRest, joined, shares
from pipelines.models.prediction import positive_probability, probabilities, scorer_of
from tests.support.made.made_models import made_texts


@pytest.fixture(scope="module")
def fitted():
    texts, labels = made_texts(600, seed=1)
    return fingerprint_svm(seed=3, classes=3, ngram_max=1).fit(texts, labels)


def test_probabilities_add_up_and_are_better_than_the_shares_of_the_classes(fitted):
    texts, labels = made_texts(400, seed=2)

    found = probabilities(fitted, texts)

    assert found.shape == (400, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (answers.predicted(found) == labels).mean() > 0.8
    assert log_loss(labels, found) < 0.6 < np.log(3)


def test_the_fused_answer_is_that_of_the_steps(fitted):
    texts, _ = made_texts(50, seed=3)

    assert scorer_of(fitted) is not None
    np.testing.assert_allclose(
        probabilities(fitted, texts), fitted.predict_proba(texts), atol=1e-12
    )


def test_an_answer_does_not_depend_on_the_other_texts(fitted):
    texts, _ = made_texts(30, seed=4)

    together = probabilities(fitted, texts)

    alone = np.concatenate([probabilities(fitted, [text]) for text in texts])
    assert together.tobytes() == alone.tobytes()
    assert probabilities(fitted, []).shape == (0, 3)


def test_two_fits_give_the_same_file_which_answers_the_same(fitted):
    texts, labels = made_texts(600, seed=1)
    again = fingerprint_svm(seed=3, classes=3, ngram_max=1).fit(texts, labels)

    blob = dump_model(fitted)

    assert dump_model(again) == blob
    read_back = load_model(blob)
    assert probabilities(read_back, texts).tobytes() == probabilities(fitted, texts).tobytes()
    assert views_of(read_back) == views_of(fitted)


def test_contributions_add_up_to_the_log_probability_above_the_mean(fitted):
    text = "a superb and moving film, only the start is boring"

    why = explain(fitted, text, top=2)

    (expected,) = probabilities(fitted, [text])
    np.testing.assert_allclose(why.probability, expected, atol=1e-12)
    assert is_explainable(fitted)
    assert why.of == expected.argmax() == 2
    assert {ngram for ngram, _ in why.ngrams} <= {"superb", "moving", "boring"}
    logs = np.log(expected)
    assert why.log_odds == pytest.approx(logs[2] - logs.mean())


def test_a_text_without_known_ngrams_is_explained_too(fitted):
    why = explain(fitted, "")

    assert why.ngrams == ()
    assert sum(why.probability) == pytest.approx(1)


def test_two_classes_give_log_odds_and_two_columns():
    rows = sparse.csr_array(np.tile(np.eye(4, dtype=np.float32), (20, 1)))
    labels = np.tile([0, 0, 1, 1], 20)

    model = OneVsRest(NaiveBayesSvm()).fit(rows, labels)

    probability = model.predict_proba(rows)
    log_odds = np.log(probability[:, 1] / probability[:, 0])
    np.testing.assert_allclose(model.decision_function(rows), log_odds)
    assert (model.predict(rows) == labels).all()


def test_margins_are_joined_as_a_product_of_matrices():
    margins, weights, offsets = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]]), [7, 8]

    logits = joined(margins, weights, np.array(offsets, float))

    assert logits.tolist() == [[1 * 3 + 2 * 4 + 7, 1 * 5 + 2 * 6 + 8]]
    np.testing.assert_allclose(shares(np.log([[1.0, 3.0]])), [[0.25, 0.75]])


def test_other_kinds_of_models_answer_in_the_order_of_the_classes():
    texts, labels = made_texts(300, seed=5)

    model = tfidf_logistic(seed=1, ngram_max=1).fit(texts, labels)

    assert probabilities(model, texts).tobytes() == model.predict_proba(texts).tobytes()


@pytest.mark.parametrize(
    ("probability", "predicted", "confidence", "place", "of_truth"),
    [
        (np.array([0.5, 0.2]), [1, 0], [0.5, 0.8], [0.5, 0.2], [0.5, 0.2]),
        (
            np.array([[0.2, 0.3, 0.5], [0.6, 0.4, 0.0]]), [2, 0], [0.5, 0.6],
            [0.3 / 2 + 0.5, 0.2], [0.3, 0.4],
        ),
    ],
)  # fmt: skip
def test_what_an_answer_says(probability, predicted, confidence, place, of_truth):
    assert answers.predicted(probability).tolist() == predicted
    np.testing.assert_allclose(answers.confidence(probability), confidence)
    np.testing.assert_allclose(answers.place(probability), place)
    np.testing.assert_allclose(answers.of_class(probability, np.array([1, 1])), of_truth)
    np.testing.assert_allclose(answers.by_class(probability).sum(axis=1), 1)


@pytest.mark.long
def test_scikit_learn_finds_no_fault():
    check_estimator(OneVsRest(NaiveBayesSvm()), on_skip=None)


def test_a_model_of_three_classes_has_no_positive_one(fitted):
    with pytest.raises(ValueError, match="none of which is positive"):
        positive_probability(fitted, ["a film"])
