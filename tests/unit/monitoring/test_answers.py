"""What services were asked, read from files that nobody signed and judged without labels."""

import io
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core import config, keys
from pipelines.core.record import sha256_of
from pipelines.monitoring import answers
from pipelines.monitoring.answers import Who
from pipelines.monitoring.judge import judge_answers
from pipelines.monitoring.sample import Scores
from tests.support.in_memory import InMemory
from tests.support.made.answer_builders import again, an_answer, many_answers, put_answers

DAY = "2026-01-06"
OLD, NEW = Who(1, "a" * 20), Who(2, "b" * 20)


@pytest.fixture
def reviews():
    return InMemory()


def read(reviews):
    return answers.read(reviews, DAY, config.load().intake)


def put(reviews, data):
    reviews.put(keys.prediction_key(DAY, sha256_of(data)), data)


# Reading


def test_a_day_without_a_log_has_no_answers(reviews):
    log = read(reviews)

    assert (log.files, log.rows, log.counts) == ((), 0, {})


def test_a_text_that_is_asked_again_counts_once_and_champions_are_kept_apart(reviews):
    put_answers(reviews, DAY, again(many_answers(*NEW, probabilities=[0.1, 0.9]), 3))
    put_answers(reviews, DAY, many_answers(*OLD, probabilities=[0.4]))
    put_answers(reviews, "2026-01-07", many_answers(*NEW, probabilities=[0.7]))

    log = read(reviews)

    assert log.rows == 7
    assert log.counts == {NEW: 6, OLD: 1}
    assert sorted(answers.probabilities(log, NEW)) == [0.1, 0.9]


def a_file(**columns):
    """A file of one row, with other columns than a service writes."""
    given = {
        "text_sha256": ["c" * 64], "version": ["b" * 20], "generation": [2], "probability": [0.5],
    } | columns  # fmt: skip
    file = io.BytesIO()
    pq.write_table(pa.table({name: given[name] for name in given if given[name]}), file)
    return file.getvalue()


@pytest.mark.attack
@pytest.mark.parametrize(
    "data",
    [b"", b"PAR1", b"no Parquet", a_file()[:-20], a_file(probability=[]),
     a_file(version=[["b" * 20]])],
    ids=["empty", "a mark", "text", "cut", "without a column", "a list"],
)  # fmt: skip
def test_a_file_that_no_service_writes_is_left_out_and_counted(reviews, data):
    put(reviews, data)
    put_answers(reviews, DAY, many_answers(*NEW, probabilities=[0.1]))

    log = read(reviews)

    assert (log.left_out_files, len(log.files), log.rows) == (1, 1, 1)


@pytest.mark.attack
@pytest.mark.parametrize(
    "column",
    [{"text_sha256": ["a film"]}, {"version": ["../" * 7]}, {"generation": [0]},
     {"generation": [10**12]}, {"generation": ["2"]}, {"probability": [float("nan")]},
     {"probability": [1.5]}, {"probability": ["0.5"]}, {"version": pa.array([None], pa.string())}],
)  # fmt: skip
def test_a_row_that_no_service_writes_is_no_answer_of_a_champion(reviews, column):
    put(reviews, a_file(**column))

    log = read(reviews)

    assert (log.rows, log.counts, log.left_out_files) == (1, {}, 0)


@pytest.mark.attack
def test_a_file_that_was_changed_or_is_too_large_is_left_out(reviews, monkeypatch):
    key = put_answers(reviews, DAY, many_answers(*NEW))
    reviews.objects[key] = a_file()
    put(reviews, a_file())
    assert read(reviews).left_out_files == 1

    monkeypatch.setattr(answers, "MOST_FILE_BYTES", 100)

    assert read(reviews).left_out_files == 2


def test_a_day_of_many_files_costs_a_bounded_number_of_reads_and_rows(reviews, monkeypatch):
    monkeypatch.setattr(answers, "MOST_FILES", 5)
    monkeypatch.setattr(answers, "MOST_ANSWERS", 20)
    for number in range(30):
        texts = [an_answer(f"{number} {n}", 0.5, *NEW) for n in range(50)]
        put_answers(reviews, DAY, texts)
    gets = []
    get = reviews.get
    reviews.get = lambda key, **limits: gets.append(key) or get(key, **limits)

    log = read(reviews)

    assert len(gets) == len(log.files) == 5
    assert log.rows == 20


# Judging


def reference(rows=4000, seed=0):
    """A champion that is calibrated: it is right as often as it says."""
    rng = np.random.default_rng(seed)
    probability = rng.beta(0.4, 0.4, rows)
    label = (rng.random(rows) < probability).astype(np.int8)
    return SimpleNamespace(scores=Scores(probability, label, {}))


def judged(probability):
    return judge_answers(np.asarray(probability), reference(), config.load().monitoring)


def test_answers_like_the_reference_are_quiet_and_estimated_with_an_interval():
    findings = judged(np.random.default_rng(1).beta(0.4, 0.4, 1000))

    assert findings.verdict == "QUIET"
    assert findings.measured is None
    estimate = findings.estimate
    assert estimate.low < estimate.accuracy < estimate.high
    assert estimate.accuracy == pytest.approx(reference().scores.is_right.mean(), abs=0.03)
    assert [test.name for test in findings.drift] == ["scores", "positive_scores"]


def test_a_champion_that_is_less_sure_is_fading():
    findings = judged(np.random.default_rng(1).beta(2, 2, 1000))

    assert findings.verdict == "FADING"
    assert "is usual. The loss of" in findings.why


def test_answers_that_are_more_often_positive_are_drift_if_the_champion_is_as_sure():
    probability = np.random.default_rng(1).beta(0.4, 0.4, 1000)
    turned = np.where(np.arange(1000) < 600, np.maximum(probability, 1 - probability), probability)

    findings = judged(turned)

    assert findings.verdict == "DRIFT"
    assert "how many it calls positive" in findings.why


def test_too_few_texts_have_no_verdict():
    findings = judged([0.5] * 199)

    assert (findings.verdict, findings.estimate, findings.drift) == ("TOO_FEW", None, ())
    assert findings.why == "199 different texts are too few to tell anything; 200 are needed."


def test_chance_alone_calls_few_quiet_days_anything():
    rng = np.random.default_rng(7)
    verdicts = [judged(rng.beta(0.4, 0.4, 500)).verdict for _ in range(300)]

    assert verdicts.count("QUIET") >= 297
