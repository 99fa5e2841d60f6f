"""An explanation adds up to the answer, and names what was in the text."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.errors import ConfigError
from pipelines.models.artefacts import dump_model
from pipelines.models.explain import explain, is_explainable
from pipelines.models.factories import (
    fingerprint_sgd,
    fingerprint_stream,
    fingerprint_svm,
    tfidf_logistic,
)
from pipelines.models.prediction import positive_probability
from pipelines.serving.scoring import score_lines
from tests.support.made.made_models import LABELS, TEXTS, a_model
from tests.support.made.served_builders import a_planned

WORDS = sorted({word for text in TEXTS for word in text.replace(",", " ,").split()} | {"unknown"})
FACTORIES = (fingerprint_svm, fingerprint_sgd, fingerprint_stream)


@pytest.fixture(scope="module", params=FACTORIES, ids=lambda factory: factory.__name__)
def model(request):
    return request.param(seed=1).fit(TEXTS, LABELS)


@settings(max_examples=60, deadline=None)
@given(words=st.lists(st.sampled_from(WORDS), max_size=30), top=st.integers(0, 12))
def test_intercept_ngrams_and_remainder_add_up_to_the_answer(model, words, top):
    text = " ".join(words)

    found = explain(model, text, top)

    (expected,) = positive_probability(model, [text])
    assert found.probability == pytest.approx(expected, abs=1e-6)
    assert found.log_odds == pytest.approx(np.log(expected / (1 - expected)), abs=1e-4)
    assert len(found.ngrams) <= top


@settings(max_examples=60, deadline=None)
@given(words=st.lists(st.sampled_from(WORDS), max_size=30))
def test_only_ngrams_of_the_text_are_named_largest_first(model, words):
    text = " ".join(words)

    found = explain(model, text, top=1000)

    assert all(f" {ngram} " in f" {text} " for ngram, _ in found.ngrams)
    sizes = [abs(part) for _, part in found.ngrams]
    assert sizes == sorted(sizes, reverse=True)
    assert found.remainder == 0


def test_praise_speaks_for_the_positive_class_and_blame_against_it():
    parts = dict(explain(a_model(), "a great film, but dull", top=100).ngrams)

    assert parts["great"] > 0 > parts["dull"]


def test_what_stands_last_counts_for_more():
    model = fingerprint_svm(seed=1, ngram_max=1, late_weight=3.0).fit(TEXTS, LABELS)
    filler = " ".join(["unknown"] * 20)

    early, late = (
        dict(explain(model, text, top=100).ngrams)
        for text in (f"great dull {filler}", f"great {filler} dull")
    )

    assert late["dull"] < early["dull"] < 0
    assert 0 < late["great"] < early["great"]


def test_a_text_without_known_ngrams_is_the_intercept_alone():
    found = explain(a_model(), "xyzzy")

    assert (found.ngrams, found.remainder) == ((), 0)
    assert found.log_odds == found.intercept


def test_explaining_stores_nothing():
    model = a_model()
    before = dump_model(model)

    explain(model, TEXTS[0])

    assert dump_model(model) == before


def test_a_model_of_another_kind_says_that_it_cannot_be_explained():
    model = tfidf_logistic(seed=1).fit(TEXTS, LABELS)

    assert not is_explainable(model)
    with pytest.raises(TypeError, match="not TfidfVectorizer and LogisticRegression"):
        explain(model, "a text")


def test_a_negative_number_of_ngrams_is_refused():
    with pytest.raises(ValueError, match="top must not be negative, got -1"):
        explain(a_model(), "a text", top=-1)


# ── In the shell ─────────────────────────────────────────────────────────────────────────────


class AChampion:
    class entry:  # noqa: N801
        version = "v1"

    def __init__(self, model) -> None:
        self.model, self.manifest = model, a_planned(())


def test_a_scored_line_says_why_when_asked():
    champion = AChampion(a_model())

    plain, explained = (
        json.loads(next(score_lines(champion, iter([["a great film"]]), named_ngrams=named)))
        for named in (None, 2)
    )

    assert "why" not in plain
    assert len(explained["why"]["ngrams"]) == 2
    whole = sum(part for _, part in explained["why"]["ngrams"])
    whole += explained["why"]["remainder"] + explained["why"]["intercept"]
    assert 1 / (1 + np.exp(-whole)) == pytest.approx(plain["probability"], abs=1e-5)


def test_a_champion_that_cannot_be_explained_is_scored_without():
    champion = AChampion(tfidf_logistic(seed=1).fit(TEXTS, LABELS))

    assert list(score_lines(champion, iter([["a great film"]])))
    with pytest.raises(ConfigError, match="score without --explain"):
        list(score_lines(champion, iter([["a great film"]]), named_ngrams=3))
