"""What services were asked, read from files that nobody signed and judged without labels."""

from types import SimpleNamespace

import numpy as np
import pytest

from pipelines.core import config, keys
from pipelines.core.errors import TransientError, TrustError
from pipelines.monitoring import answers
from pipelines.monitoring.judge import judge_answers
from pipelines.monitoring.sample import Scores
from pipelines.serving.logged import Who
from tests.support.in_memory import InMemory
from tests.support.made.window_builders import an_answered_day

DAY = "2026-01-06"


@pytest.fixture
def reviews():
    return InMemory()


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


def judge_days(reviews, monkeypatch, faults):
    """Judge all days up to this one; some of them raise."""

    def judge_one(_reviews, _registry, _settings, _asked, day):
        if day in faults:
            raise faults[day]
        return an_answered_day(day)

    monkeypatch.setattr(answers, "_judge", judge_one)
    monkeypatch.setattr(answers, "Asked", lambda *_: None)
    registry = SimpleNamespace(name="sentiment")
    return answers.judge_new(reviews, registry, config.load(), until=DAY)


@pytest.mark.attack
def test_a_day_that_cannot_be_judged_is_in_the_way_of_no_other(reviews, monkeypatch):
    with pytest.raises(TrustError, match="the model file"):
        judge_days(reviews, monkeypatch, {"2026-01-05": TrustError("the model file was changed")})

    kept = {keys.day_of_monitoring(key) for key in reviews.objects}
    assert {"2026-01-04", DAY} <= kept
    assert "2026-01-05" not in kept


def test_a_store_that_is_away_ends_the_judging(reviews, monkeypatch):
    with pytest.raises(TransientError):
        judge_days(reviews, monkeypatch, {"2026-01-05": TransientError("away")})

    assert keys.answered_day_key("sentiment", DAY) not in reviews.objects


def test_answers_of_many_other_models_hide_no_champion():
    own = SimpleNamespace(version="a" * 20)
    registry = SimpleNamespace(log=SimpleNamespace(find_entry=lambda _generation: own))
    others = {Who(1, f"{number:020x}"): 100 + number for number in range(20)}
    log = SimpleNamespace(counts={**others, Who(1, own.version): 1})

    assert answers._who_answered(registry, log) is own
