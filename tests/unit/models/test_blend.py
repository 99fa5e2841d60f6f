"""A blend is its members' margins, joined by a regression on reviews that they did not see."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import check_estimator

from pipelines.core.config import load, with_candidates
from pipelines.features.views import View
from pipelines.models.artefacts import dump_model, load_model
from pipelines.models.blend import Blend, members_of
from pipelines.models.explain import explain
from pipelines.models.factories import (
    fingerprint_svm,
    fingerprint_svm_views,
    reads_fingerprints,
    tfidf_logistic,
    views_of,
)
from pipelines.models.prediction import positive_probability, scorer_of
from pipelines.records.versions import Plan
from pipelines.training.candidates import build, check_configured, settings_to_try
from pipelines.training.search import find_best
from tests.support.made.made_models import LABELS, TEXTS
from tests.support.made.made_searches import SomeReviews, a_plan, quiet

VIEWS = ({"ngram_max": 2}, {"ngram_max": 2, "gap_max": 1, "prefix_bytes": 4, "min_df": 3})
READ = [*TEXTS, "", "nothing known", "a great, dull film", "great " * 3000]


def a_blend(seed: int = 1, **svm):
    return fingerprint_svm_views(seed=seed, views=VIEWS, **svm)


@pytest.fixture(scope="module")
def model():
    return a_blend().fit(TEXTS, LABELS)


def test_a_blend_names_all_views_that_it_reads(model):
    assert views_of(model) == (
        View(ngram_max=2),
        View(ngram_max=2, gap_max=1, prefix_bytes=4),
    )
    assert not reads_fingerprints(model)  # of a single view


def test_members_are_a_model_itself_or_those_of_a_blend(model):
    single = fingerprint_svm(seed=1)

    assert members_of(single) == [single]
    assert members_of(model) == model[0].members_
    assert len(members_of(a_blend())) == 2
    assert members_of(tfidf_logistic(seed=1)) == []
    assert members_of(None) == []


def test_the_log_odds_are_the_margins_of_all_members_weighed(model):
    blend = model[0]

    log_odds = blend.decision_function(READ)

    margins = [svm.margins(reader.transform(READ)) for reader, svm in blend.members_]
    expected = sum(slope * own for slope, own in zip(blend.slopes_, margins, strict=True))
    np.testing.assert_allclose(log_odds, expected + blend.offset_, rtol=1e-12)


def test_the_fused_probabilities_are_those_of_the_blend(model):
    fused = positive_probability(model, READ)

    assert scorer_of(model) is not None
    np.testing.assert_allclose(fused, model.predict_proba(READ)[:, 1], rtol=0, atol=1e-12)
    assert fused.tolist() == [positive_probability(model, [text])[0] for text in READ]


def test_members_are_joined_on_rows_that_they_did_not_see():
    held_out = np.arange(len(TEXTS)) % 3 == 0

    blend = a_blend().fit(TEXTS, LABELS, blend__held_out=held_out)[0]

    margins = []
    for reader, svm in a_blend()[0].members:
        rows = reader.fit_transform(TEXTS)
        first = clone(svm).fit_margin(rows[~held_out], LABELS[~held_out])
        margins.append(first.margins(rows[held_out]))
    joined = LogisticRegression().fit(np.column_stack(margins), LABELS[held_out])
    np.testing.assert_allclose(blend.slopes_, joined.coef_[0], atol=1e-2)
    assert blend.offset_ == pytest.approx(joined.intercept_[0], abs=1e-2)


def test_the_members_that_were_given_stay_as_they_were():
    model = a_blend().fit(TEXTS, LABELS)

    assert not [step for member in model[0].members for step in member if hasattr(step, "ratio_")]


def test_a_blend_is_saved_and_read_back_and_the_same_seed_gives_the_same_bytes(model):
    blob = dump_model(model)

    copy = load_model(blob)

    assert positive_probability(copy, READ).tolist() == positive_probability(model, READ).tolist()
    assert dump_model(copy) == blob == dump_model(a_blend().fit(TEXTS, LABELS))
    assert blob != dump_model(a_blend(seed=2).fit(TEXTS, LABELS))


def test_an_explanation_adds_up_over_all_views(model):
    text = "a great, dull film with a lovely cast"

    found = explain(model, text, top=5)

    assert found.probability == pytest.approx(positive_probability(model, [text])[0], abs=1e-9)
    assert found.log_odds == pytest.approx(model.decision_function([text])[0], abs=1e-9)
    everything = explain(model, text, top=1000)
    names = {ngram for ngram, _ in everything.ngrams}
    assert {"great", "grea*"} <= names


def test_no_views_are_refused():
    with pytest.raises(ValueError, match="at least one view"):
        fingerprint_svm_views(seed=1, views=())


def test_scikit_learn_finds_no_fault_in_what_it_can_ask_of_a_classifier_of_texts():
    check_estimator(Blend([fingerprint_svm(seed=1)]), on_skip=None)


# ── In a search ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def reviews():
    folds = np.arange(len(TEXTS)) // 6
    return SomeReviews(list(TEXTS), LABELS.astype(np.int8), folds, folds % 5 == 0)


def candidates(*names: str, **changes):
    factory = "pipelines.models.factories:fingerprint_svm_views"
    parameters = {"views": [dict(view) for view in VIEWS], **changes}
    return {name: {"factory": factory, "parameters": parameters} for name in names}


def test_a_lone_blend_is_joined_on_the_selection_films(reviews):
    found = find_best(reviews, a_plan(candidates("views")), quiet).model

    plain = a_blend().fit(TEXTS, LABELS, blend__held_out=reviews.is_selection)
    for own, other in zip(members_of(found), members_of(plain), strict=True):
        assert own[-1].coef_.tobytes() == other[-1].coef_.tobytes()
    np.testing.assert_allclose(found[0].slopes_, plain[0].slopes_, atol=1e-2)


def test_blends_compete_with_models_of_one_view(reviews):
    single = {
        "single": {
            "factory": "pipelines.models.factories:fingerprint_svm",
            "parameters": {"ngram_max": 2},
        }
    }

    selection = find_best(reviews, a_plan({**candidates("views"), **single}), quiet)

    assert {score.name for score in selection.scores} == {"views", "single"}
    assert selection.model.predict_proba(["great fun", "dull"]).argmax(axis=1).tolist() == [1, 0]


def test_the_configured_views_survive_a_plan_and_can_be_built():
    settings = with_candidates(load(), ("fingerprint_svm_views",))
    plan = a_plan(settings_to_try(settings))

    read = Plan.model_validate_json(plan.model_dump_json())

    check_configured(read, settings)
    assert views_of(build(read, "fingerprint_svm_views")) == (
        View(),
        View(ngram_max=2, gap_max=2, prefix_bytes=5),
    )
