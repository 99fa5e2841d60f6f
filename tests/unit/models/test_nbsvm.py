"""The weighted support vector machine against hand counts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.utils.estimator_checks import check_estimator

from pipelines.models.log_count_ratio import log_count_ratio, weigh
from pipelines.models.nbsvm import NaiveBayesSvm, in_half_precision, scaled


def noisy_rows(count: int, seed: int) -> tuple[sparse.csr_array, np.ndarray]:
    """Two weak words per class, and two thousand that occur in one or two rows each."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    weak = rng.random((count, 4)) < np.where(labels[:, None] == [0, 0, 1, 1], 0.7, 0.4)
    rare = rng.random((count, 2000)) < 1.5 / count
    return sparse.csr_array(np.hstack([weak, rare]).astype(np.float32)), labels


def test_the_ratio_equals_a_hand_count():
    presence = sparse.csr_array(np.array([[1, 0, 1], [1, 0, 0], [0, 1, 1]], np.float32))

    ratio = log_count_ratio(presence, np.array([True, True, False]), 1.0)

    # positive counts 2,0,1 -> 3,1,2 of 6; negative counts 0,1,1 -> 1,2,2 of 5
    expected = np.log([(3 / 6) / (1 / 5), (1 / 6) / (2 / 5), (2 / 6) / (2 / 5)])
    np.testing.assert_allclose(ratio, expected, rtol=1e-6)


def test_weighed_rows_have_length_one_and_share_their_positions():
    presence, labels = noisy_rows(50, seed=1)

    weighted = weigh(presence, labels, 1.0)

    lengths = np.sqrt(weighted.rows.power(2).sum(axis=1))
    np.testing.assert_allclose(lengths[presence.sum(axis=1) > 0], 1, rtol=1e-6)
    assert np.shares_memory(weighted.rows.indices, presence.indices)


def test_a_margin_is_the_weighted_sum_over_the_length():
    svm = NaiveBayesSvm().fit_margin(*noisy_rows(60, seed=2))
    svm.ratio_ = np.array([3, 4, *[0] * 2002], np.float32)
    svm.coef_ = np.array([1, 2, *[0] * 2002], np.float32)
    svm.intercept_ = 0.5
    rows = np.zeros((2, 2004), np.float32)
    rows[0, :2] = 1

    # (3 * 1 + 4 * 2) / sqrt(3**2 + 4**2) + 0.5, and the intercept alone
    np.testing.assert_allclose(svm.margins(sparse.csr_array(rows)), [11 / 5 + 0.5, 0.5])


def test_a_row_of_length_zero_is_not_divided_by_it():
    assert scaled(np.array([0.0, 6.0]), np.array([0.0, 4.0])).tolist() == [0.0, 3.0]


def test_probabilities_are_calibrated_on_rows_that_neither_ratio_nor_margin_saw():
    rows, labels = noisy_rows(2000, seed=3)
    held_out = np.arange(2000) >= 1500
    new, truth = noisy_rows(2000, seed=4)

    svm = NaiveBayesSvm().fit(rows, labels, held_out=held_out)

    naive = clone(svm).fit_margin(rows, labels)
    naive.calibrate(naive.margins(rows), labels)  # what not to do: rare words betray their own rows
    honest_loss = log_loss(truth, svm.predict_proba(new))
    assert honest_loss < log_loss(truth, naive.predict_proba(new)) - 0.05
    assert svm.slope_ < naive.slope_


def test_the_final_margin_is_fitted_to_all_rows():
    rows, labels = noisy_rows(300, seed=5)

    svm = NaiveBayesSvm(random_state=3).fit(rows, labels)

    assert np.array_equal(svm.coef_, NaiveBayesSvm(random_state=3).fit_margin(rows, labels).coef_)


def test_the_weights_are_the_mean_of_those_of_the_runs():
    rows, labels = noisy_rows(300, seed=5)
    weighted = weigh(rows, labels, 1.0, 0.2)

    svm = NaiveBayesSvm(runs=2, epochs=3, dropout=0.0).fit_margin(rows, labels)

    runs = [svm.descent(300, run) for run in (0, 1)]
    for linear in runs:
        for _ in range(3):
            linear.partial_fit(weighted.rows, labels, classes=[0, 1])
    first, second = (linear.coef_[0] for linear in runs)
    assert not np.array_equal(first, second)
    assert np.array_equal(svm.coef_, in_half_precision((first + second) / 2))
    assert svm.intercept_ == (runs[0].intercept_[0] + runs[1].intercept_[0]) / 2


def test_one_run_calibrates_the_mean_of_several():
    rows, labels = noisy_rows(300, seed=5)

    one, two = (NaiveBayesSvm(runs=runs).fit(rows, labels) for runs in (1, 2))

    assert (one.slope_, one.offset_) == (two.slope_, two.offset_)
    assert not np.array_equal(one.coef_, two.coef_)


def test_each_run_drops_by_draws_of_its_own():
    rows = weigh(*noisy_rows(50, seed=1), 1.0).rows
    svm = NaiveBayesSvm(runs=2)

    first, second = (
        svm.thinning(run).applied(rows, np.empty_like(rows.data), passing=0).data for run in (0, 1)
    )

    assert not np.array_equal(first, second)


def test_by_default_every_fifth_row_of_each_class_calibrates():
    rows, labels = noisy_rows(300, seed=6)
    every_fifth = np.zeros(300, bool)
    for label in (0, 1):
        every_fifth[np.flatnonzero(labels == label)[::5]] = True

    by_default, as_told = (
        NaiveBayesSvm().fit(rows, labels),
        NaiveBayesSvm().fit(rows, labels, every_fifth),
    )

    assert (by_default.slope_, by_default.offset_) == (as_told.slope_, as_told.offset_)


def test_margins_that_separate_without_error_get_a_finite_slope():
    svm = NaiveBayesSvm().fit_margin(*noisy_rows(60, seed=7))

    svm.calibrate(np.array([-1.0, -2.0, 1.0, 2.0]), np.array([0, 0, 1, 1]))

    assert 0 < svm.slope_ < 10


def test_probabilities_of_both_classes_add_up_and_decide_the_label():
    rows, labels = noisy_rows(200, seed=8)
    svm = NaiveBayesSvm().fit(rows, np.where(labels == 1, "up", "down"))

    probability = svm.predict_proba(rows)

    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-12)
    assert svm.predict(rows).tolist() == svm.classes_[probability.argmax(axis=1)].tolist()
    assert svm.classes_.tolist() == ["down", "up"]


def test_a_seed_is_the_only_difference_between_two_fits():
    rows, labels = noisy_rows(200, seed=9)

    first, same, other = (NaiveBayesSvm(random_state=seed).fit(rows, labels) for seed in (1, 1, 2))

    assert first.coef_.tobytes() == same.coef_.tobytes()
    assert first.coef_.tobytes() != other.coef_.tobytes()


@pytest.mark.parametrize(("labels", "classes"), [([1, 1, 1], "1 class"), ([0, 1, 2], "3 classes")])
def test_two_classes_are_needed(labels, classes):
    with pytest.raises(
        ValueError, match=f"Only binary classification.*two classes, found {classes}"
    ):
        NaiveBayesSvm().fit(sparse.csr_array(np.eye(3, dtype=np.float32)), labels)


def test_a_class_that_is_held_out_altogether_is_not_learned():
    rows, labels = noisy_rows(100, seed=10)

    with pytest.raises(ValueError, match="found 1 class"):
        NaiveBayesSvm().fit(rows, labels, held_out=labels == 1)


@pytest.mark.parametrize("alpha", [0, -1, float("nan")])
def test_smoothing_must_be_positive(alpha):
    with pytest.raises(ValueError, match="alpha must be above 0"):
        NaiveBayesSvm(alpha=alpha).fit(sparse.csr_array(np.eye(2)), [0, 1])


def test_a_row_has_a_feature_that_is_above_zero_however_much():
    values = np.array([[1, -2, 1.5], [0.5, 0, 0], [0, 3, 1]], np.float32)

    ratio = log_count_ratio(sparse.csr_array(values), np.array([True, True, False]), 1.0)

    ones = sparse.csr_array((values > 0).astype(np.float32))
    assert ratio.tolist() == log_count_ratio(ones, np.array([True, True, False]), 1.0).tolist()


def test_a_floor_moves_each_ratio_away_from_zero():
    presence, is_second = noisy_rows(80, seed=11)[0], np.arange(80) % 3 == 0

    plain, floored = (log_count_ratio(presence, is_second, 1.0, floor) for floor in (0.0, 0.25))

    expected = [value + 0.25 * np.sign(value) for value in plain.tolist()]
    np.testing.assert_allclose(floored, expected, atol=1e-6)


@pytest.mark.parametrize("floor", [-0.1, float("nan"), float("inf")])
def test_a_floor_below_zero_or_without_end_is_refused(floor):
    with pytest.raises(ValueError, match="floor must not be negative"):
        NaiveBayesSvm(floor=floor).fit(sparse.csr_array(np.eye(2)), [0, 1])


@pytest.mark.parametrize("averaged", [0, 9])
def test_only_passes_that_there_are_can_be_averaged(averaged):
    with pytest.raises(ValueError, match=f"averaged must be from 1 to epochs=8, got {averaged}"):
        NaiveBayesSvm(averaged=averaged).fit(sparse.csr_array(np.eye(2)), [0, 1])


def test_there_is_at_least_one_run():
    with pytest.raises(ValueError, match="runs must be at least 1, got 0"):
        NaiveBayesSvm(runs=0).fit(sparse.csr_array(np.eye(2)), [0, 1])


def test_dropout_makes_another_fit_and_the_same_one_every_time():
    rows, labels = noisy_rows(200, seed=12)

    first, same, without = (
        NaiveBayesSvm(dropout=share).fit(rows, labels) for share in (0.5, 0.5, 0.0)
    )

    assert first.coef_.tobytes() == same.coef_.tobytes()
    assert np.abs(first.coef_ - without.coef_).max() > 0.01


def test_scikit_learn_finds_no_fault():
    check_estimator(NaiveBayesSvm(), on_skip=None)


def test_asking_before_fitting_says_so():
    with pytest.raises(NotFittedError):
        NaiveBayesSvm().predict_proba(sparse.csr_array(np.eye(2)))
