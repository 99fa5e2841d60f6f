"""Paired statistics, against counts done by hand."""

import math

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss, roc_auc_score

from pipelines.evaluation.metrics import calibration, calibration_error, metrics, review_losses
from pipelines.evaluation.paired import Changes, compare_parts, detectable, holm, mcnemar_p_value
from pipelines.evaluation.paired import compare as compare_changes

LABELS = np.array([1, 1, 1, 0, 0, 0], dtype=np.int8)


def compare(labels, champion, challenger, **how):
    return compare_changes(Changes.between(labels, champion, challenger), **how)


def test_ten_disagreements_split_one_to_nine():
    # 2 * (C(10,0) + C(10,1)) / 2**10
    assert mcnemar_p_value(1, 9) == pytest.approx(22 / 1024)
    assert mcnemar_p_value(9, 1) == pytest.approx(22 / 1024)


def test_no_disagreement_and_an_even_split_prove_nothing():
    assert mcnemar_p_value(0, 0) == 1.0
    assert mcnemar_p_value(5, 5) == 1.0


def test_log_loss_of_a_review_is_minus_the_log_of_the_truths_probability():
    losses = review_losses(LABELS[[0, 3]], np.array([0.25, 0.25]))

    assert losses == pytest.approx([-math.log(0.25), -math.log(0.75)])


def test_certainty_in_the_wrong_is_a_large_but_finite_loss():
    assert review_losses(LABELS[[0]], np.array([0.0]))[0] == pytest.approx(-math.log(1e-15))


def test_metrics_by_hand():
    probability = np.array([0.9, 0.8, 0.4, 0.3, 0.2, 0.6])

    scores = metrics(LABELS, probability)

    assert scores.accuracy == pytest.approx(4 / 6)
    assert scores.recall_positive == pytest.approx(2 / 3)
    assert scores.recall_negative == pytest.approx(2 / 3)
    assert scores.f1 == pytest.approx(2 / 3)
    assert scores.roc_auc == pytest.approx(8 / 9)  # 8 of 9 pairs are in the right order
    assert (scores.true_positive, scores.false_negative) == (2, 1)
    assert (scores.true_negative, scores.false_positive) == (2, 1)


def test_calibration_by_hand():
    """Four answers of 0.85, three of them right, and one of exactly 1.0."""
    labels = np.array([1, 1, 1, 0, 1], dtype=np.int8)
    bins = calibration(labels, np.array([0.85, 0.85, 0.85, 0.85, 1.0]))

    assert [(each.rows, each.mean_probability, each.positive_share) for each in bins] == [
        (4, 0.85, 0.75),
        (1, 1.0, 1.0),
    ]
    assert calibration_error(bins) == pytest.approx(4 / 5 * 0.10)


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        (
            [0.01, 0.04, 0.03],
            [0.03, 0.06, 0.06],
        ),  # 3 * .01, 2 * .03, and not less
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holms_correction_by_hand(p_values, adjusted):
    assert holm(p_values) == pytest.approx(adjusted)


def test_the_smallest_change_that_would_show_by_hand():
    """A standard deviation of 1 on 100 reviews: 0.1 * (1.645 + 0.842)."""
    changes = np.tile([-1.0, 1.0], 50) * math.sqrt(99 / 100)

    assert detectable(changes, confidence=0.95) == pytest.approx(0.2486, abs=1e-4)


def test_parts_are_compared_on_their_own_rows():
    champion = np.array([0.1, 0.9, 0.9, 0.1, 0.1, 0.1])  # row 0 wrong
    challenger = np.array([0.9, 0.9, 0.9, 0.1, 0.1, 0.9])  # row 5 wrong
    parts = {"positive": LABELS == 1, "negative": LABELS == 0}

    by_label = compare_parts(
        Changes.between(LABELS, champion, challenger), parts, confidence=0.95, repeats=100
    )

    assert by_label["positive"].accuracy_change == pytest.approx(1 / 3)
    assert by_label["negative"].accuracy_change == pytest.approx(-1 / 3)
    assert (by_label["negative"].only_other_right, by_label["negative"].rows) == (1, 3)


def test_no_reviews_or_no_numbers_give_no_comparison():
    nothing = np.empty(0)

    assert Changes.between(np.empty(0, np.int8), nothing, nothing) is None
    assert Changes.between(LABELS, np.full(6, np.nan), np.full(6, 0.5)) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
def test_a_probability_that_is_none_gives_no_metrics(bad):
    assert metrics(LABELS, np.array([0.9, 0.8, 0.4, 0.3, 0.2, bad])) is None


def test_one_class_alone_gives_no_metrics():
    assert metrics(np.ones(6, dtype=np.int8), np.full(6, 0.5)) is None


def test_changes_are_challenger_minus_champion():
    champion = np.array([0.9, 0.9, 0.1, 0.1, 0.1, 0.9])  # rows 2 and 5 wrong
    challenger = np.array([0.9, 0.9, 0.9, 0.1, 0.9, 0.9])  # rows 4 and 5 wrong

    comparison = compare(LABELS, champion, challenger, confidence=0.95, repeats=200)

    assert (comparison.only_other_right, comparison.only_challenger_right) == (1, 1)
    assert comparison.accuracy_change == 0.0
    assert comparison.log_loss_change == pytest.approx(0.0)


def test_a_model_compared_with_itself_changes_by_nothing():
    same = np.array([0.9, 0.8, 0.4, 0.3, 0.2, 0.6])

    comparison = compare(LABELS, same, same, confidence=0.95, repeats=200)

    assert comparison.accuracy_change_low == comparison.accuracy_change_high == 0.0
    assert comparison.log_loss_change_low == comparison.log_loss_change_high == 0.0
    assert comparison.mcnemar_p_value == 1.0


def test_bounds_hold_the_true_change_about_as_often_as_they_say():
    rng = np.random.default_rng(5)
    labels = np.ones(400, dtype=np.int8)
    held = 0
    for _ in range(200):
        # Each review's loss changes by a standard normal around 0.1.
        champion = np.full(400, 0.5)
        challenger = np.clip(0.5 * np.exp(-rng.normal(0.1, 0.3, 400)), 1e-9, 1.0)
        comparison = compare(labels, champion, challenger, confidence=0.95, repeats=200)
        held += comparison.log_loss_change_low <= 0.1

    assert 0.90 <= held / 200 <= 0.99


def test_the_same_comparison_twice_is_the_same_to_the_last_bit():
    rng = np.random.default_rng(1)
    labels = (rng.random(500) < 0.5).astype(np.int8)
    champion, challenger = rng.random(500), rng.random(500)

    first, second = (
        compare(labels, champion, challenger, confidence=0.95, repeats=300) for _ in range(2)
    )

    assert first.to_bytes() == second.to_bytes()


@pytest.mark.parametrize("decimals", [16, 1])  # one decimal: many ties
def test_scores_are_those_of_scikit_learn(decimals):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 500).astype(np.int8)
    probability = np.clip(np.round(rng.random(500), decimals), 0.01, 0.99)

    scores = metrics(labels, probability)

    assert scores.f1 == pytest.approx(f1_score(labels, probability >= 0.5), abs=1e-9)
    assert scores.roc_auc == pytest.approx(roc_auc_score(labels, probability), abs=1e-9)
    assert scores.log_loss == pytest.approx(log_loss(labels, probability), abs=1e-9)
