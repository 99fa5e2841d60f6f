"""Estimates without labels, and intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.monitoring import estimates


@given(st.integers(1, 10_000).flatmap(lambda rows: st.tuples(st.integers(0, rows), st.just(rows))))
def test_an_interval_of_a_share_holds_it_and_lies_in_0_to_1(counts):
    right, rows = counts

    low, high = estimates.wilson(right, rows)

    assert 0 <= low <= right / rows + 1e-12
    assert right / rows - 1e-12 <= high <= 1


def test_an_interval_by_hand():
    """90 of 100: Wilson's interval is 0.826 to 0.945."""
    assert estimates.wilson(90, 100) == pytest.approx((0.826, 0.945), abs=0.001)


def calibrated(rng, rows, hardness):
    """Probabilities, and labels that are positive as often as these say."""
    probability = 1 / (1 + np.exp(-rng.normal(0, hardness, rows)))
    return probability, (rng.random(rows) < probability).astype(np.int8)


def right(probability, label):
    return (probability >= 0.5) == (label == 1)


def test_the_interval_covers_the_true_accuracy_where_calibration_holds_even_if_reviews_get_harder():
    rng = np.random.default_rng(3)
    covered = 0

    for night in range(100):
        usual, usual_label = calibrated(rng, 4000, 4.0)
        probability, label = calibrated(rng, 1000, 4.0 - 2.5 * (night % 2))
        found = estimates.average_confidence(probability, usual, right(usual, usual_label))
        covered += found.low <= right(probability, label).mean() <= found.high

    assert covered >= 90


def test_labels_turned_round_are_not_noticed_without_labels():
    rng = np.random.default_rng(4)
    usual, usual_label = calibrated(rng, 4000, 4.0)
    probability, label = calibrated(rng, 1000, 4.0)

    found = estimates.average_confidence(probability, usual, right(usual, usual_label))

    assert right(probability, 1 - label).mean() < 0.3
    assert found.low > 0.8


def test_a_model_that_is_too_sure_is_corrected_by_its_reference():
    rng = np.random.default_rng(5)
    probability, label = calibrated(rng, 8000, 2.0)
    too_sure = np.where(probability >= 0.5, 0.999, 0.001)

    found = estimates.average_confidence(
        too_sure[4000:], too_sure[:4000], right(too_sure[:4000], label[:4000])
    )

    assert found.accuracy == pytest.approx(right(too_sure, label).mean(), abs=0.02)


def test_the_second_opinion_is_the_accuracy_where_nothing_changed():
    rng = np.random.default_rng(6)
    probability, label = calibrated(rng, 4000, 3.0)
    is_right = right(probability, label)

    second = estimates.thresholded_confidence(probability, probability, is_right)

    assert second == pytest.approx(is_right.mean(), abs=0.001)


def test_the_expected_log_loss_is_the_reference_s_where_nothing_changed():
    rng = np.random.default_rng(7)
    probability, _ = calibrated(rng, 1000, 3.0)

    assert estimates.expected_log_loss(probability, probability, 0.25) == pytest.approx(0.25)
    assert estimates.expected_log_loss(np.full(9, 0.5), np.full(9, 1.0), 0.0) == pytest.approx(
        np.log(2), abs=1e-6
    )
