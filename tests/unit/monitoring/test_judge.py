"""The verdict on a window: what makes it FADING, DRIFT, QUIET or TOO_FEW, and what it says."""

import numpy as np
import pytest

from pipelines.core import config
from pipelines.monitoring import judge as judging
from pipelines.monitoring.reference import Reference, Usual
from pipelines.monitoring.sample import Scores, Texts
from pipelines.monitoring.word_table import WordTable

SETTINGS = config.load().monitoring
WORDS = [f"word{number}" for number in range(200)]
USUAL_ROWS = 2000


def texts_of(rng, rows, table, *, add="", length=12):
    """Made-up reviews of common words."""
    written = [" ".join(rng.choice(WORDS, length)) + add for _ in range(rows)]
    return Texts(
        documents=table.read(written),
        chars=np.array([len(text) for text in written], np.float64),
        class_labels=(rows - rows // 2, rows // 2),
    )


def scores_of(rng, rows, accuracy, *, sources=("web",), sure=0.9):
    """A champion that is right on such a share of half positive reviews."""
    label = (np.arange(rows) % 2).astype(np.int8)
    is_right = np.arange(rows) < accuracy * rows
    rng.shuffle(is_right)
    said = np.where(is_right, label, 1 - label)
    probability = np.where(said == 1, sure, 1 - sure) + rng.uniform(-0.05, 0.05, rows)
    of_source = np.arange(rows) // 2 % len(sources)
    groups = {f"source={name}": of_source == place for place, name in enumerate(sources)}
    return Scores(probability, label, groups)


@pytest.fixture
def rng():
    return np.random.default_rng(8)


@pytest.fixture
def table():
    words = WordTable()
    words.read([" ".join(WORDS)])
    return words


@pytest.fixture
def usual(rng, table):
    known = len(table)
    scores = scores_of(rng, USUAL_ROWS, 0.9, sources=("web", "app"))
    groups = {
        name: Usual(int(mask.sum()), int(scores.is_right[mask].sum()))
        for name, mask in scores.groups.items()
    }
    texts = texts_of(rng, USUAL_ROWS, table)
    return Reference(
        Scores(scores.probability, scores.label, {}), groups, np.zeros(USUAL_ROWS), texts,
        tuple(table.names), known, "d" * 64,
    )  # fmt: skip


def judged(scores, texts, table, usual, *, is_provisional=False):
    return judging.judge(scores, texts, table, usual, SETTINGS, is_provisional=is_provisional)


def test_a_usual_night_is_quiet(rng, table, usual):
    found = judged(scores_of(rng, 1000, 0.9), texts_of(rng, 1000, table), table, usual)

    assert found.verdict == "QUIET"
    assert found.why == "All as usual: the champion is right on 90.0%, 90.0% is usual."
    assert len(found.drift) == 7
    assert not any(test.is_beyond for test in found.drift)


def test_a_certain_loss_of_accuracy_is_fading_and_points_at_the_labels_if_the_texts_are_usual(
    rng, table, usual
):
    found = judged(scores_of(rng, 1000, 0.8), texts_of(rng, 1000, table), table, usual)

    assert found.verdict == "FADING"
    assert found.why.startswith(
        "The champion is right on 80.0% of 1,000 new reviews; 90.0% is usual. "
        "The loss of 10.0 points exceeds the limit of"
    )
    assert found.why.endswith("look at the labels first: are they right?")
    assert found.measured.low < 0.8 < found.measured.high


def test_a_small_loss_is_no_fading_on_few_reviews_and_none_at_all_below_the_floor(
    rng, table, usual
):
    few = judged(scores_of(rng, 250, 0.88), texts_of(rng, 250, table), table, usual)
    tiny = judged(scores_of(rng, 2000, 0.89), texts_of(rng, 2000, table), table, usual)

    assert few.verdict == tiny.verdict == "QUIET"
    assert few.measured.limit > tiny.measured.limit >= SETTINGS.min_accuracy_loss


def test_one_broken_source_is_named_although_the_average_hides_it(rng, table, usual):
    scores = scores_of(rng, 1000, 0.9, sources=("web", "app"))
    app = np.flatnonzero(scores.groups["source=app"])[:80]
    label = scores.label.copy()
    label[app] = 1 - label[app]
    web = np.flatnonzero(scores.groups["source=web"] & ~scores.is_right)
    label[web] = 1 - label[web]  # the other source does better, so the average stays

    found = judged(
        Scores(scores.probability, label, scores.groups), texts_of(rng, 1000, table), table, usual
    )

    assert found.verdict == "FADING"
    assert "source 'app'" in found.why
    assert not found.measured.is_beyond


def test_new_words_are_drift_and_are_named(rng, table, usual):
    texts = texts_of(rng, 600, table, add=" streaming binge")

    found = judged(scores_of(rng, 600, 0.9), texts, table, usual)

    assert found.verdict == "DRIFT"
    assert {"unseen_words", "words", "distinguishable"} <= {
        test.name for test in found.drift if test.is_beyond
    }
    assert {"streaming", "binge"} == {word.word for word in found.words[:2]}
    assert "how many words it never saw" in found.why


def test_longer_reviews_and_another_balance_are_drift(rng, table, usual):
    texts = texts_of(rng, 600, table, length=20)
    turned = Texts(texts.documents, texts.chars, class_labels=(180, 420))

    found = judged(scores_of(rng, 600, 0.9), turned, table, usual)

    assert {"length", "labels"} <= {test.name for test in found.drift if test.is_beyond}


def test_a_window_with_too_few_reviews_has_no_verdict(rng, table, usual):
    found = judged(scores_of(rng, 199, 0.2), texts_of(rng, 199, table), table, usual)

    assert found.verdict == "TOO_FEW"
    assert found.why == "199 reviews are too few to tell anything; 200 are needed."
    assert found.measured is None


def test_a_provisional_window_is_judged_by_the_estimate_and_not_by_its_few_labels(
    rng, table, usual
):
    """Labels come for the easy reviews first, or for the hard ones."""
    measured_low = scores_of(rng, 1000, 0.7)
    unsure = scores_of(rng, 1000, 0.9, sure=0.6)

    by_labels = judged(measured_low, texts_of(rng, 1000, table), table, usual, is_provisional=True)
    by_estimate = judged(unsure, texts_of(rng, 1000, table), table, usual, is_provisional=True)

    assert by_labels.verdict == "QUIET"
    assert by_estimate.verdict == "FADING"
    assert by_estimate.why.startswith("By its own confidence")


def test_probabilities_that_are_no_numbers_are_fading(rng, table, usual):
    scores = scores_of(rng, 300, 0.9)
    scores.probability[3] = np.nan

    found = judged(scores, texts_of(rng, 300, table), table, usual)

    assert found.verdict == "FADING"
    assert "not numbers" in found.why
