"""Settings are compared on the same films, and the shared way gives what the plain way gives."""
# ruff: noqa: N803  # X is what scikit-learn and its readers call the samples

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline

from pipelines.core.config import CONFIG_FOLDER, load
from pipelines.core.errors import ConfigError, FitError
from pipelines.core.settings.model import CandidateSettings
from pipelines.core.settings.settings import Settings
from pipelines.features.corpus import Corpus
from pipelines.features.fingerprints import fingerprint
from pipelines.features.views import View
from pipelines.models.artefacts import dump_model
from pipelines.models.factories import fingerprint_svm
from pipelines.models.nbsvm import NaiveBayesSvm
from pipelines.models.vectorizer import FingerprintVectorizer
from pipelines.simulation.made_up import make_reviews
from pipelines.training import search
from pipelines.training.candidates import build, settings_to_try
from pipelines.training.search import find_best, survivors
from tests.support.made.made_searches import SomeReviews, a_plan, quiet

SVM = "pipelines.models.factories:fingerprint_svm"


@pytest.fixture(scope="module")
def reviews() -> SomeReviews:
    table = make_reviews(400, seed=3)
    labels = (np.array(table["label"].to_pylist()) == "positive").astype(np.int8)
    fold = np.arange(400) // 7
    return SomeReviews(table["text"].to_pylist(), labels, fold, fold % 5 == 0)


def steps(*values: float, factory: str = SVM, **others: int) -> dict[str, dict[str, Any]]:
    return {
        f"step={value}": {
            "factory": factory, "parameters": {"ngram_max": 1, "step": value, **others},
        }
        for value in values
    }  # fmt: skip


def with_grid(**grid: tuple[float, ...]) -> Settings:
    settings = load(CONFIG_FOLDER / "test.toml")
    mine = CandidateSettings(factory=SVM, parameters={"ngram_max": 1, "step": 9.0}, grid=grid)
    training = settings.training.model_copy(
        update={"candidates": ("mine", "tfidf_logistic"), "max_settings": 5}
    )
    candidates = {**settings.candidates, "mine": mine}
    return settings.model_copy(update={"training": training, "candidates": candidates})


def test_a_grid_is_tried_in_all_combinations_and_the_others_stay_as_they_are():
    tried = settings_to_try(with_grid(step=(0.1, 0.2), alpha=(1.0, 2.0)))

    assert list(tried) == [
        "mine alpha=1.0 step=0.1", "mine alpha=1.0 step=0.2",
        "mine alpha=2.0 step=0.1", "mine alpha=2.0 step=0.2",
        "tfidf_logistic",
    ]  # fmt: skip
    assert tried["mine alpha=2.0 step=0.1"]["parameters"] == {
        "ngram_max": 1, "alpha": 2.0, "step": 0.1,
    }  # fmt: skip


def test_a_search_over_the_budget_is_refused():
    with pytest.raises(ConfigError, match=r"7 settings to try; training\.max_settings allows 5"):
        settings_to_try(with_grid(step=(0.1, 0.2, 0.3), alpha=(1.0, 2.0)))


def test_the_shared_search_scores_settings_as_separate_fits_do(reviews):
    plan = a_plan(steps(0.05, 0.4))

    selection = find_best(reviews, plan, quiet)

    for score in selection.scores:
        model = build(plan, score.name)
        ones = model[0].fit_transform(fingerprint(reviews.all_texts, View(ngram_max=1)))
        losses = []
        for fold in range(3):
            is_out = reviews.folds(3) == fold
            svm = clone(model[-1]).fit_margin(ones[~is_out], reviews.label[~is_out])
            svm.calibrate(svm.margins(ones[is_out]), reviews.label[is_out])
            losses.append(log_loss(reviews.label[is_out], svm.predict_proba(ones[is_out])))
        assert score.log_loss == pytest.approx(np.mean(losses), abs=1e-4)
        assert score.folds == 3


def test_a_fold_of_one_class_or_of_no_reviews_is_left_out(reviews):
    folds = np.where(reviews.folds(3) == 2, 1, reviews.folds(3))  # none in the third
    folds[reviews.label == 1] = 0  # the second has one class
    odd = replace(reviews, fold=folds)

    selection = find_best(odd, a_plan(steps(0.05, 0.4)), quiet)

    assert selection.scores == ()
    assert selection.candidate == "step=0.05"
    selection.model.predict_proba(odd.all_texts[:2])


def test_the_folds_that_can_be_used_compare_and_calibrate(reviews):
    folds = np.where(reviews.folds(3) == 2, 1, reviews.folds(3))
    odd = replace(reviews, fold=folds)

    selection = find_best(odd, a_plan(steps(0.0001, 0.4)), quiet)

    assert [score.folds for score in selection.scores] == [2, 2]
    assert selection.candidate == "step=0.4"


def test_the_setting_of_lowest_log_loss_is_fitted_to_all_rows(reviews):
    plan = a_plan(steps(0.0001, 0.4))

    selection = find_best(reviews, plan, quiet)

    assert selection.candidate == min(selection.scores, key=lambda score: score.log_loss).name
    whole = fingerprint_svm(seed=1, ngram_max=1, step=0.4)
    ones = whole[0].fit_transform(reviews.all_texts)
    assert np.array_equal(
        selection.model[-1].coef_, whole[-1].fit_margin(ones, reviews.label).coef_
    )


def test_held_out_margins_calibrate_the_final_model(reviews):
    selection = find_best(reviews, a_plan(steps(0.1, 0.4)), quiet)

    fresh = make_reviews(600, seed=4)
    labels = (np.array(fresh["label"].to_pylist()) == "positive").astype(int)
    margins = selection.model[-1].margins(selection.model[0].transform(fresh["text"].to_pylist()))
    as_margins = log_loss(labels, 1 / (1 + np.exp(-margins)))
    calibrated = log_loss(labels, selection.model.predict_proba(fresh["text"].to_pylist()))
    assert calibrated < as_margins - 0.005


def test_settings_are_compared_in_one_run_and_the_best_is_fitted_in_all(reviews):
    chosen, in_two = (
        find_best(reviews, a_plan(steps(0.1, 0.4, runs=runs)), quiet) for runs in (1, 2)
    )

    assert [score.log_loss for score in chosen.scores] == [s.log_loss for s in in_two.scores]
    svm, averaged = chosen.model[-1], in_two.model[-1]
    assert (svm.slope_, svm.offset_) == (averaged.slope_, averaged.offset_)
    assert not np.array_equal(svm.coef_, averaged.coef_)


def test_a_lone_setting_is_calibrated_on_the_selection_films(reviews):
    selection = find_best(reviews, a_plan(steps(0.2)), quiet)

    plain = fingerprint_svm(seed=1, ngram_max=1, step=0.2)
    plain.fit(reviews.all_texts, reviews.label, svm__held_out=reviews.is_selection)
    svm, expected = selection.model[-1], plain[-1]
    assert svm.coef_.tobytes() == expected.coef_.tobytes()
    assert (svm.slope_, svm.offset_) == pytest.approx((expected.slope_, expected.offset_), abs=1e-3)
    assert selection.scores == ()


def test_the_same_seed_gives_the_same_bytes(reviews):
    first, same, other = (
        dump_model(find_best(reviews, a_plan(steps(0.1, 0.2), seed=seed), quiet).model)
        for seed in (1, 1, 2)
    )

    assert first == same != other


class Typed(LogisticRegression):
    """Remembers of which types its samples were."""

    seen: ClassVar[set[str]] = set()

    def fit(self, X, y):
        self.seen.add(X.dtype.name)
        return super().fit(X, y)

    def predict_proba(self, X):
        self.seen.add(X.dtype.name)
        return super().predict_proba(X)


def typed(*, seed, C=1.0):
    return Pipeline([("fingerprints", FingerprintVectorizer(ngram_max=1)), ("linear", Typed(C=C))])


def test_a_classifier_of_ones_own_is_given_floats_and_no_bytes(reviews):
    factory = f"{__name__}:typed"
    candidates = {f"C={C}": {"factory": factory, "parameters": {"C": C}} for C in (0.1, 1.0)} | {
        "svm": {"factory": SVM, "parameters": {"ngram_max": 1}}
    }

    find_best(reviews, a_plan(candidates), quiet)

    assert Typed.seen == {"float32"}


def signed(*, seed, alpha=1.0):
    words = HashingVectorizer(n_features=64, norm=None)
    return Pipeline([("words", words), ("svm", NaiveBayesSvm(alpha=alpha))])


def test_a_matrix_of_another_first_step_is_searched_too(reviews):
    candidates = {
        f"alpha={alpha}": {"factory": f"{__name__}:signed", "parameters": {"alpha": alpha}}
        for alpha in (1.0, 2.0)
    }

    selection = find_best(reviews, a_plan(candidates), quiet)

    assert {score.name for score in selection.scores} == set(candidates)


def test_hopeless_settings_are_given_up_after_a_fold(reviews):
    plan = a_plan(steps(1e-6, 2e-6, 0.1, 0.2), keep_share=0.5)

    selection = find_best(reviews, plan, quiet)

    tried = {score.name: score.folds for score in selection.scores}
    assert tried["step=1e-06"] == tried["step=2e-06"] == 1
    assert sorted(tried.values()) == [1, 1, 2, 2]  # the last one left needs no third fold
    assert tried[selection.candidate] == 2


def test_the_last_setting_left_is_calibrated_on_the_folds_it_was_tried_on(reviews):
    plan = a_plan(steps(1e-6, 0.2), keep_share=0.5)

    selection = find_best(reviews, plan, quiet)

    assert {score.name: score.folds for score in selection.scores} == {
        "step=1e-06": 1,
        "step=0.2": 2,
    }
    ones = build(plan, "step=0.2")[0].fit_transform(reviews.all_texts)
    svm, margins, labels = selection.model[-1], [], []
    for fold in range(2):
        is_out = reviews.folds(3) == fold
        judge = clone(svm).fit_margin(ones[~is_out], reviews.label[~is_out])
        margins.append(judge.margins(ones[is_out]))
        labels.append(reviews.label[is_out])
    expected = clone(svm).calibrate(np.concatenate(margins), np.concatenate(labels))
    assert (svm.slope_, svm.offset_) == pytest.approx((expected.slope_, expected.offset_), abs=1e-3)


@pytest.mark.parametrize(
    ("keep_share", "kept"), [(1.0, "abc"), (0.5, "ab"), (0.1, "a"), (0.34, "ab")]
)
def test_the_best_part_survives_ties_by_name(keep_share, kept):
    assert survivors({"c": 0.3, "b": 0.2, "a": 0.2}, keep_share) == set(kept)


def test_all_settings_share_one_matrix(reviews, monkeypatch):
    calls = []
    original = Corpus.matrix
    monkeypatch.setattr(
        Corpus, "matrix", lambda *arguments: calls.append(1) or original(*arguments)
    )

    find_best(reviews, a_plan(steps(0.1, 0.2, 0.4)), quiet)

    assert len(calls) == 1


def test_models_of_other_kinds_can_compete(reviews):
    other = {"factory": "pipelines.models.factories:tfidf_logistic", "parameters": {"ngram_max": 1}}
    sgd = {"factory": "pipelines.models.factories:fingerprint_sgd", "parameters": {"ngram_max": 1}}

    selection = find_best(reviews, a_plan({**steps(1e-6), "tfidf": other, "sgd": sgd}), quiet)

    assert selection.candidate in {"tfidf", "sgd"}
    assert selection.model.predict_proba(reviews.all_texts[:3]).shape == (3, 2)


def test_a_candidate_that_is_one_step_is_refused(reviews, monkeypatch):
    monkeypatch.setattr(search, "build", lambda *_: fingerprint_svm(seed=1)[1:])

    with pytest.raises(ConfigError, match="must return a Pipeline whose first step"):
        find_best(reviews, a_plan(steps(0.1)), quiet)


def test_reviews_that_cannot_be_fitted_name_the_candidate(reviews):
    one_class = SomeReviews(
        reviews.all_texts, np.ones(400, np.int8), reviews.fold, reviews.is_selection
    )

    with pytest.raises(FitError, match=r"candidate step=0.1 cannot be fitted on \d+ reviews"):
        find_best(one_class, a_plan(steps(0.1, 0.2)), quiet)
