"""A champion with three classes is watched: accuracy, class shares, and where reviews stand."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from pipelines.core import config
from pipelines.intake.partitions import ACCEPTED_SCHEMA
from pipelines.monitoring import estimates, reference, sample, windows
from pipelines.monitoring.drift_tests import MEANINGS, OF_CLASSES, meaning
from pipelines.monitoring.judge import judge, judge_answers
from pipelines.monitoring.reference import Made, Reference
from pipelines.monitoring.sample import Scores, Texts
from pipelines.monitoring.word_table import WordTable
from tests.support.made.made_searches import STARS

SETTINGS = config.load().monitoring
NAMES = ("poor", "middling", "great")
SHARES = [0.3, 0.4, 0.3]
USUAL_ROWS = 3000


def scores_of(rng, rows, *, accuracy=0.75, shares=SHARES):
    """A champion that gives its answer 0.75, and is right on such a share."""
    label = rng.choice(3, rows, p=shares).astype(np.int8)
    is_right = rng.random(rows) < accuracy
    said = np.where(is_right, label, (label + rng.integers(1, 3, rows)) % 3)
    probability = np.full((rows, 3), 0.125)
    probability[np.arange(rows), said] = 0.75
    return Scores(probability, label, {"source=web": np.ones(rows, np.bool_)})


def texts_of(rng, rows, words, labels):
    written = [f"word{number % 7} word{number % 5} film" for number in rng.integers(0, 99, rows)]
    return Texts(
        words.read(written), np.array([len(text) for text in written], np.float64),
        tuple(np.bincount(labels, minlength=3).tolist()),
    )  # fmt: skip


@pytest.fixture
def usual():
    rng, words = np.random.default_rng(1), WordTable()
    scores = scores_of(rng, USUAL_ROWS)
    texts = texts_of(rng, USUAL_ROWS, words, scores.label)
    made = Made(scores, np.zeros(USUAL_ROWS), texts, words.names, len(words))
    found = reference.decode(reference.encode(made))
    assert found is not None
    return found


def judged(usual: Reference, scores: Scores, **changes):
    rng, words = np.random.default_rng(3), WordTable(usual.words)
    texts = texts_of(rng, len(scores), words, scores.label)
    return judge(scores, texts, words, usual, SETTINGS, is_provisional=False, names=NAMES)


def test_a_reference_of_three_classes_comes_back_from_the_cache_as_it_was(usual):
    scores = scores_of(np.random.default_rng(1), USUAL_ROWS)

    np.testing.assert_array_equal(usual.scores.probability, scores.probability)
    assert usual.texts.class_labels == tuple(np.bincount(scores.label).tolist())
    assert usual.groups["source=web"].rows == USUAL_ROWS


def test_reviews_as_usual_are_quiet_and_every_number_is_there(usual):
    found = judged(usual, scores_of(np.random.default_rng(4), 1000))

    assert found.verdict == "QUIET"
    assert found.measured.accuracy == pytest.approx(0.75, abs=0.05)
    assert found.measured.low < 0.75 < found.measured.high
    assert found.estimate.accuracy == pytest.approx(0.75, abs=0.05)
    names = [test.name for test in found.drift]
    assert names == ["scores", "class_scores", "class_labels", *list(MEANINGS)[3:]]


def test_a_champion_that_is_right_less_often_is_fading(usual):
    found = judged(usual, scores_of(np.random.default_rng(5), 1000, accuracy=0.6))

    assert found.verdict == "FADING"
    assert "The champion is right on 5" in found.why or "right on 6" in found.why


def test_another_share_of_a_class_is_drift_and_the_class_is_named(usual):
    found = judged(usual, scores_of(np.random.default_rng(6), 1500, shares=[0.3, 0.2, 0.5]))

    beyond = {test.name: test.sentence for test in found.drift if test.is_beyond}
    assert found.verdict == "DRIFT"
    assert {"class_scores", "class_labels"} <= beyond.keys()
    assert "The share that is great changes by" in beyond["class_labels"] or (
        "The share that is middling changes by" in beyond["class_labels"]
    )
    assert "which classes it answers with, which classes reviews are of" in found.why


def test_each_class_has_its_part_of_the_chance(usual):
    """Twenty quiet windows, each with seven comparisons: a false alarm is one in hundreds."""
    verdicts = [
        judged(usual, scores_of(np.random.default_rng(seed), 600)).verdict
        for seed in range(100, 120)
    ]

    assert verdicts.count("QUIET") >= 19


def test_answers_without_labels_are_judged_by_confidence_and_shares(usual):
    as_usual = scores_of(np.random.default_rng(7), 1000).probability
    great = scores_of(np.random.default_rng(8), 1000, shares=[0.1, 0.2, 0.7]).probability
    unsure = np.tile([0.4, 0.3, 0.3], (1000, 1))

    found = [judge_answers(each, usual, SETTINGS, NAMES) for each in (as_usual, great, unsure)]

    assert [each.verdict for each in found] == ["QUIET", "DRIFT", "FADING"]
    assert [test.name for test in found[0].drift] == ["scores", "class_scores"]
    assert found[2].estimate.accuracy == pytest.approx(0.4, abs=0.02)


def test_expected_loss_is_the_entropy_over_all_classes():
    sure, even = np.array([[1.0, 0.0, 0.0]]), np.full((1, 3), 1 / 3)

    assert estimates.expected_log_loss(even, sure, 0.0) == pytest.approx(np.log(3))


def test_a_comparison_of_classes_has_a_meaning_of_its_own():
    assert {meaning(name) for name in OF_CLASSES}.isdisjoint(MEANINGS.values())


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────


def a_table(ratings) -> pa.Table:
    rows = [
        {"text_id": f"{number:064x}", "review_id": None, "movie_id": None, "label": 1,
         "text": f"film {number}", "rating": rating, "written_on": date(2026, 1, 5),
         "source": "web"}
        for number, rating in enumerate(ratings)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=ACCEPTED_SCHEMA).select(sample.COLUMNS)


def test_rows_without_stars_of_a_class_are_not_looked_at():
    table = a_table([1, None, 5, 10, 9])

    rows = sample.in_classes(table, STARS)

    assert sample.labels_of(rows, STARS).tolist() == [0, 1, 2, 2]
    assert sample.read_texts(rows, WordTable(), STARS).class_labels == (1, 1, 2)
    assert sample.in_classes(table, ()).num_rows == 5
    assert sample.read_texts(table, WordTable()).class_labels == (0, 5)


def test_a_model_of_stars_is_scored_on_its_classes(monkeypatch):
    answers = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    monkeypatch.setattr(sample, "probabilities", lambda _model, _texts: answers)

    scores = sample.score(SimpleNamespace(), a_table([2, 4]), config.load().gate, STARS)

    assert scores.label.tolist() == [0, 1]
    assert scores.is_right.tolist() == [True, False]
    assert scores.log_loss == pytest.approx(-(np.log(0.8) + np.log(0.1)) / 2)


@pytest.mark.parametrize("rated", [0, 1, 199])
def test_a_window_of_which_few_reviews_have_stars_in_a_class_gets_no_verdict(monkeypatch, rated):
    ratings = [1] * rated + [None] * (1000 - rated)
    table = pa.table({"rating": pa.array(ratings, pa.int8()), "text": ["a film"] * 1000})
    monkeypatch.setattr(windows, "read_sample", lambda *_: table)
    asked = object.__new__(windows.Asked)
    asked._reviews, asked._settings = None, config.load()
    rows = windows.Rows("2026-01-05", "2026-01-05", (), (), 0)
    champion = windows.AskedChampion(None, None, SimpleNamespace(classes=STARS))

    findings = asked._findings(rows, champion, is_provisional=False)

    assert findings.verdict == "TOO_FEW"
    assert f"{rated} reviews are too few" in findings.why
