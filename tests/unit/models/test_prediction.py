"""The fused way gives what the pipeline gives."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from pipelines.features.fingerprints import fingerprint
from pipelines.features.views import View
from pipelines.models import prediction
from pipelines.models.artefacts import dump_model, load_model
from pipelines.models.factories import fingerprint_sgd, fingerprint_svm, tfidf_logistic
from pipelines.models.prediction import positive_probability, scorer_of
from tests.support.made.made_models import LABELS, TEXTS, a_model

READ = [*TEXTS, "", "nothing known", "a great, dull film", "great " * 3000]


def test_the_fused_probabilities_are_those_of_the_pipeline():
    model = a_model()

    fused = positive_probability(model, READ)

    assert scorer_of(model) is not None
    np.testing.assert_allclose(fused, model.predict_proba(READ)[:, 1], rtol=0, atol=1e-12)


def test_a_review_has_the_same_bits_alone_in_a_batch_and_as_fingerprints(monkeypatch):
    model = a_model()

    batch = positive_probability(model, READ)
    alone = [positive_probability(model, [text])[0] for text in READ]
    prints = positive_probability(model, fingerprint(READ, View(ngram_max=2)))
    monkeypatch.setattr(prediction, "CHUNK_CHARACTERS", 40)
    in_many_threads = positive_probability(model, READ)

    assert batch.tolist() == alone == prints.tolist() == in_many_threads.tolist()


def test_what_an_ngram_adds_is_exact_in_single_precision():
    """So half the memory that is looked into changes no bit of an answer."""
    halves = np.random.default_rng(3).normal(0, 2, (2, 100_000)).astype(np.float16)
    ratio, weight = halves.astype(np.float64)

    for exact in (ratio * weight, ratio * ratio):
        assert np.array_equal(exact.astype(np.float32), exact)


@pytest.mark.parametrize("chunk_characters", [1, 25, 10**6])
def test_every_review_is_in_one_chunk_and_in_order(monkeypatch, chunk_characters):
    monkeypatch.setattr(prediction, "CHUNK_CHARACTERS", chunk_characters)
    texts = ["", "a" * 20, "b" * 20, "", "c" * 500, "d", ""]

    chunks = list(prediction.chunks(texts))

    assert [text for chunk in chunks for text in chunk] == texts
    assert all(chunks)


def test_no_review_has_no_probability():
    assert positive_probability(a_model(), []).tolist() == []


def test_a_review_without_known_ngrams_gets_the_border_of_the_classes():
    model = a_model()
    svm = model[-1]

    (probability,) = positive_probability(model, ["zzz"])

    log_odds = svm.slope_ * svm.intercept_ + svm.offset_
    assert probability == pytest.approx(1 / (1 + np.exp(-log_odds)), abs=1e-15)


def test_a_model_that_is_fitted_again_answers_anew():
    model = a_model()
    before = positive_probability(model, TEXTS)

    model.fit(TEXTS, 1 - LABELS)

    after = positive_probability(model, TEXTS)
    np.testing.assert_allclose(after, model.predict_proba(TEXTS)[:, 1], rtol=0, atol=1e-12)
    assert np.abs(after - before).max() > 0.1


def test_answering_leaves_the_model_file_as_it_was():
    model = a_model()
    before = dump_model(model)

    positive_probability(model, TEXTS)

    assert dump_model(model) == before
    assert positive_probability(load_model(before), READ).tolist() == (
        positive_probability(model, READ).tolist()
    )


@pytest.mark.parametrize("factory", [fingerprint_sgd, tfidf_logistic])
def test_other_models_are_asked_as_scikit_learn_does(factory):
    model = factory(seed=1).fit(TEXTS, LABELS)

    assert scorer_of(model) is None
    assert positive_probability(model, READ).tolist() == model.predict_proba(READ)[:, 1].tolist()


def test_a_model_that_is_not_fitted_says_so():
    with pytest.raises(NotFittedError):
        positive_probability(fingerprint_svm(seed=1), TEXTS)
