"""Scores of models with more than two classes, from probabilities that can be checked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.core import config
from pipelines.core.errors import ConfigError
from pipelines.evaluation.check_rows import as_answers, largest_difference
from pipelines.evaluation.metrics import is_usable, metrics, review_losses
from pipelines.evaluation.scores import Scored, set_scores, slice_scores
from pipelines.records.evaluations import ClassMetrics, Evaluation, Metrics, SetScores
from pipelines.training.dataset import check_same_classes
from tests.support.made.judgement_builders import (
    a_set_of_classes,
    an_evaluation,
    an_evaluation_of_classes,
    some_metrics,
    some_set,
)
from tests.support.made.made_searches import STARS, a_plan

POLICY = config.load(config.CONFIG_FOLDER / "test.toml").gate
LABELS = np.array([0, 0, 1, 1, 1, 2], np.int8)
GOOD = np.array(
    [
        [0.8, 0.1, 0.1], [0.3, 0.6, 0.1],  # the second is called 1
        [0.1, 0.8, 0.1], [0.2, 0.6, 0.2], [0.1, 0.3, 0.6],  # the last is called 2
        [0.0, 0.1, 0.9],
    ]
)  # fmt: skip


def test_scores_of_three_classes_equal_a_hand_count():
    found = metrics(LABELS, GOOD)

    assert isinstance(found, ClassMetrics)
    assert found.rows == 6
    assert found.confusion == ((1, 1, 0), (0, 2, 1), (0, 0, 1))
    assert found.recalls == (0.5, round(2 / 3, 9), 1.0)
    assert found.accuracy == round(4 / 6, 9)
    # F1 of each: 2*1/(1+2), 2*2/(3+3), 2*1/(2+1)
    assert found.f1 == pytest.approx((2 / 3 + 4 / 6 + 2 / 3) / 3)
    truths = [0.8, 0.3, 0.8, 0.6, 0.3, 0.9]
    assert found.log_loss == pytest.approx(-sum(map(math.log, truths)) / 6)
    np.testing.assert_allclose(review_losses(LABELS, GOOD), -np.log(truths))
    # Pairs in order: 8 of 8 for class 0, 7.5 of 9 for class 1 (one tie), 5 of 5 for class 2
    assert found.roc_auc == pytest.approx((1 + 7.5 / 9 + 1) / 3)


def test_calibration_is_that_of_the_predicted_class():
    bins = metrics(LABELS, GOOD).calibration

    assert [(one.rows, one.mean_probability, one.positive_share) for one in bins] == [
        (3, 0.6, round(1 / 3, 9)), (2, 0.8, 1.0), (1, 0.9, 1.0),
    ]  # fmt: skip


def test_a_class_that_is_not_there_leaves_the_scores_empty():
    assert metrics(LABELS[:5], GOOD[:5]) is None


@pytest.mark.parametrize(
    "row", [[0.5, 0.4, 0.2], [np.nan, 0.5, 0.5], [1.5, -0.5, 0.0]], ids=["sum", "nan", "range"]
)
def test_a_row_that_is_no_distribution_leaves_the_scores_empty(row):
    broken = GOOD.copy()
    broken[2] = row

    assert not is_usable(broken)
    assert set_scores("holdout", "a" * 64, Scored(LABELS, broken), POLICY).challenger is None


def test_a_set_counts_each_class_and_compares_review_by_review():
    swapped = GOOD[:, [1, 0, 2]]

    scores = set_scores("holdout", "a" * 64, Scored(LABELS, GOOD, swapped, GOOD), POLICY)

    assert (scores.rows, scores.rows_by_class) == (6, (2, 3, 1))
    # The other has rows 1 and 5 right; 0, 2 and 3 are won, 1 is lost.
    assert scores.against_champion.only_challenger_right == 3
    assert scores.against_champion.only_other_right == 1
    assert scores.against_reference.log_loss_change == 0


def test_slices_of_three_classes_have_their_accuracy():
    masks = {"a=1": LABELS == 1, "a=2": LABELS != 1}

    first, second = slice_scores(Scored(LABELS, GOOD), masks, POLICY)

    assert first.challenger_accuracy == second.challenger_accuracy == pytest.approx(2 / 3)


# ── Records ──────────────────────────────────────────────────────────────────────────────────


def test_records_of_two_classes_have_no_field_of_more():
    said = an_evaluation().to_bytes().decode()

    assert "class" not in said
    assert '"positive_rows":2500' in said


def test_records_of_three_classes_come_back_as_they_were():
    evaluation = an_evaluation_of_classes(golden_probabilities=((0.1, 0.2, 0.7), (0.5, 0.25, 0.25)))

    again = Evaluation.from_bytes(evaluation.to_bytes(), uri="here")

    assert again == evaluation
    assert isinstance(again.holdout.challenger, ClassMetrics)
    assert again.names == ("poor", "middling", "great")
    assert "positive_rows" not in again.to_bytes().decode()


def test_two_classes_have_recalls_and_a_confusion_in_the_order_of_the_classes():
    found = some_metrics(recall_negative=0.25, true_negative=1, false_positive=3)

    assert isinstance(found, Metrics)
    assert found.recalls == (0.25, 0.91)
    assert found.confusion == ((1, 3), (225, 2275))


@pytest.mark.parametrize(
    "rows",
    [
        {"class_rows": (1, 2, 3)},
        {"positive_rows": None},
        {"positive_rows": None, "negative_rows": None},
    ],
)
def test_a_set_counts_either_two_classes_or_each(rows):
    values = some_set().model_dump() | rows

    with pytest.raises(ValidationError, match="counts the reviews of two classes, or else"):
        SetScores(**values)
    assert a_set_of_classes().rows == 4000


# ── Answers ──────────────────────────────────────────────────────────────────────────────────


def test_answers_are_compared_number_by_number():
    answers = as_answers(GOOD)
    other = as_answers(GOOD + np.array([0, 0.25, 0]))

    assert answers[0] == (0.8, 0.1, 0.1)
    assert largest_difference(answers, answers) == 0
    assert largest_difference(answers, other) == pytest.approx(0.25)
    assert as_answers(np.array([0.5, 0.25])) == (0.5, 0.25)


@pytest.mark.parametrize(
    "expected",
    [[], [0.5], [0.5, 0.5], [(0.5, 0.5), (0.5, 0.5)], [(0.2, 0.3, 0.5), 0.5],
     [(0.2, 0.3, 0.5), (math.nan, 0.5, 0.5)]],
    ids=["none", "fewer", "of two classes", "of other classes", "mixed", "nan"],
)  # fmt: skip
def test_answers_that_cannot_be_compared_differ_without_end(expected):
    answers = [(0.2, 0.3, 0.5), (0.2, 0.3, 0.5)]

    assert largest_difference(answers, expected) == math.inf


# ── Opponents ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "others",
    [(), STARS[:2], (*STARS[:2], STARS[2].model_copy(update={"high": 9}))],
    ids=["labels", "two", "other stars"],
)
def test_models_with_other_classes_are_not_compared(others):
    with pytest.raises(ConfigError, match=r"poor \(1 to 2 stars\).*needs another name"):
        check_same_classes(a_plan({}, classes=STARS), a_plan({}, classes=others))


def test_models_with_the_same_classes_are_compared():
    check_same_classes(a_plan({}, classes=STARS), a_plan({}, classes=STARS, seed=2))
    check_same_classes(a_plan({}), a_plan({}, seed=2))
