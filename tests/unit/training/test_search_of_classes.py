"""Settings of a model with three classes are compared and fitted as separate fits would be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import log_loss

from pipelines.core.config import CONFIG_FOLDER, load
from pipelines.core.errors import ConfigError
from pipelines.features.fingerprints import fingerprint
from pipelines.features.views import View
from pipelines.models.artefacts import dump_model
from pipelines.models.one_vs_rest import OneVsRest, joining
from pipelines.models.prediction import probabilities
from pipelines.training.candidates import build
from pipelines.training.search import find_best
from tests.support.made.made_searches import STARS, SomeReviews, a_plan, quiet, some_rated

SVM = "pipelines.models.factories:fingerprint_svm"
TFIDF = "pipelines.models.factories:tfidf_logistic"
TWO_CLASSES = ["fingerprint_svm_views", "fingerprint_sgd", "fingerprint_stream"]


@pytest.fixture(scope="module")
def reviews() -> SomeReviews:
    return some_rated(400, seed=3)


def a_setting(factory: str, **parameters) -> dict:
    return {"factory": factory, "parameters": {"ngram_max": 1, **parameters}}


def three(**candidates):
    return a_plan(candidates, classes=STARS)


def test_the_shared_search_scores_machines_as_separate_fits_do(reviews):
    plan = three(one=a_setting(SVM, step=0.05), two=a_setting(SVM, step=0.4))

    selection = find_best(reviews, plan, quiet)

    model = build(plan, "one")
    ones = model[0].fit_transform(fingerprint(reviews.all_texts, View(ngram_max=1)))
    losses = []
    for fold in range(3):
        is_out = reviews.folds(3) == fold
        machines = [
            clone(model[-1].svm).fit_margin(ones[~is_out], reviews.label[~is_out] == of)
            for of in range(3)
        ]
        margins = np.column_stack([machine.margins(ones[is_out]) for machine in machines])
        joined = clone(model[-1]).take_over(machines, margins, reviews.label[is_out])
        losses.append(log_loss(reviews.label[is_out], joined.predict_proba(ones[is_out])))
    score = next(score for score in selection.scores if score.name == "one")
    assert score.log_loss == pytest.approx(np.mean(losses), abs=1e-4)
    assert score.folds == 3


def test_the_chosen_model_is_fitted_to_all_rows_and_joined_by_the_folds(reviews):
    plan = three(one=a_setting(SVM), two=a_setting(SVM, step=0.00001))

    selection = find_best(reviews, plan, quiet)

    last = selection.model[-1]
    assert selection.candidate == "one"
    assert isinstance(last, OneVsRest)
    assert last.classes_.tolist() == [0, 1, 2]
    ones = clone(selection.model[0]).fit_transform(reviews.all_texts)
    for of, machine in enumerate(last.machines_):
        alone = clone(last.svm).fit_margin(ones, (reviews.label == of).astype(np.int8))
        np.testing.assert_array_equal(machine.coef_, alone.coef_)
        np.testing.assert_array_equal(machine.ratio_, alone.ratio_)
    seen = last.decision_function(ones)
    assert not np.allclose(joining(seen, reviews.label)[0], last.weights_)


def test_the_same_search_gives_the_same_bytes(reviews):
    plan = three(one=a_setting(SVM))

    first, again = (find_best(reviews, plan, quiet) for _ in range(2))

    assert dump_model(first.model) == dump_model(again.model)
    assert first.scores == ()
    assert probabilities(first.model, reviews.all_texts).shape == (400, 3)


def test_several_kinds_of_models_are_compared(reviews):
    plan = three(svm=a_setting(SVM), tfidf=a_setting(TFIDF))

    selection = find_best(reviews, plan, quiet)

    assert {score.name for score in selection.scores} == {"svm", "tfidf"}
    assert all(0 < score.log_loss < 1.2 for score in selection.scores)
    assert probabilities(selection.model, reviews.all_texts[:5]).shape == (5, 3)


def test_a_fold_without_a_class_is_left_out(reviews):
    folds = reviews.folds(3).copy()
    folds[reviews.label == 2] = 0
    plan = three(one=a_setting(SVM), two=a_setting(SVM, step=0.4))

    selection = find_best(replace(reviews, fold=folds), plan, quiet)

    assert selection.scores == ()
    assert probabilities(selection.model, reviews.all_texts[:2]).shape == (2, 3)


@pytest.mark.parametrize("name", TWO_CLASSES)
def test_a_candidate_that_separates_two_classes_is_refused_before_it_reads_anything(name):
    candidate = load(CONFIG_FOLDER / "default.toml").candidates[name]
    setting = {"factory": candidate.factory, "parameters": candidate.parameters}

    with pytest.raises(ConfigError, match=rf"candidates\.{name}: .* separates two classes.*has 3"):
        find_best(None, three(**{name: setting}), quiet)  # type: ignore[arg-type]
