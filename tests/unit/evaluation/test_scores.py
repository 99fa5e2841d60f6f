"""From probabilities to what the gate judges."""

import numpy as np

from pipelines.core import config
from pipelines.evaluation.fair_rows import newest_mask
from pipelines.evaluation.scores import Scored, set_scores, slice_scores

POLICY = config.load(config.CONFIG_FOLDER / "test.toml").gate
LABELS = np.array([1, 1, 0, 0], dtype=np.int8)
GOOD, BAD = np.array([0.9, 0.8, 0.2, 0.1]), np.array([0.9, 0.2, 0.2, 0.1])


def test_a_set_counts_its_classes_and_compares_with_both_others():
    scored = Scored(LABELS, challenger=GOOD, champion=BAD, reference=GOOD)

    scores = set_scores("holdout", "a" * 64, scored, POLICY)

    assert (scores.rows, scores.positive_rows, scores.negative_rows) == (4, 2, 2)
    assert scores.against_champion.accuracy_change == 0.25
    assert scores.against_reference.accuracy_change == 0.0


def test_without_a_champion_there_is_nothing_to_compare_with():
    scores = set_scores("holdout", "a" * 64, Scored(LABELS, challenger=GOOD), POLICY)

    assert scores.challenger.accuracy == 1.0
    assert (scores.champion, scores.reference, scores.against_champion) == (None, None, None)


def test_a_probability_that_is_none_leaves_the_scores_empty():
    broken = GOOD.copy()
    broken[1] = np.nan

    scores = set_scores("holdout", "a" * 64, Scored(LABELS, broken, GOOD, GOOD), POLICY)

    assert (scores.challenger, scores.against_champion) == (None, None)
    assert scores.champion is not None


def test_slices_are_scored_on_their_own_rows_and_empty_ones_have_no_scores():
    masks = {"a=1": LABELS == 1, "a=2": LABELS == 0, "a=3": np.zeros(4, np.bool_)}

    first, second, empty = slice_scores(Scored(LABELS, BAD, GOOD, GOOD), masks, POLICY)

    assert (first.challenger_accuracy, first.champion_accuracy) == (0.5, 1.0)
    assert second.against_champion.accuracy_change == 0.0
    assert (empty.rows, empty.challenger_accuracy, empty.against_champion) == (0, None, None)


def test_taking_rows_takes_them_of_every_model():
    taken = Scored(LABELS, GOOD, BAD).take(np.array([1, 3]))

    assert taken.labels.tolist() == [1, 0]
    assert taken.challenger.tolist() == [0.8, 0.1]
    assert taken.champion.tolist() == [0.2, 0.1]
    assert taken.reference is None


def test_the_newest_nights_are_whole_and_as_many_as_it_takes():
    nights = np.array(["2026-01-05", "2026-01-06", "2026-01-06", "2026-01-07"])

    assert newest_mask(nights, 1).tolist() == [False, False, False, True]
    assert newest_mask(nights, 2).tolist() == [False, True, True, True]
    assert newest_mask(nights, 99).tolist() == [True, True, True, True]
