"""One champion takes another's place only when it proves to be what was approved."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pipelines.core.errors import (
    ConfigError,
    ObjectMissingError,
    SignatureError,
    StoreUnavailableError,
)
from pipelines.models.factories import tfidf_logistic
from pipelines.serving.swap import Champions, Traffic, largest_difference
from tests.support.made.served_builders import MadeUpSource, golden_set, model_of


def looked(source, *, retry_seconds=60.0):
    champions = Champions(source, golden_set(), retry_seconds=retry_seconds)
    champions.look()
    return champions


def spoil(monkeypatch, source, *, generation, error=None, answers=None):
    """Loading this generation raises, or the gate is said to have recorded other answers."""
    load = source.load

    def spoilt(number):
        champion, evaluation = load(number)
        if number != generation:
            return champion, evaluation
        if error is not None:
            raise error
        return champion, evaluation.model_copy(update={"golden_probabilities": answers})

    monkeypatch.setattr(source, "load", spoilt)


def test_a_service_without_a_champion_says_so_and_is_not_ready():
    champions = looked(MadeUpSource())

    assert champions.current is None
    assert champions.trouble == "model 'sentiment' has no champion yet"


def test_a_new_champion_takes_over_after_it_answered_the_golden_set():
    source = MadeUpSource(1)
    champions = looked(source)
    first = champions.current

    source.promote(2)
    champions.look()

    assert first.generation == 1
    assert (champions.current.generation, champions.current.golden_compared) == (2, 172)
    assert [swap["instead_of"] for swap in champions.swaps] == [None, 1]
    (probability,) = champions.current.probabilities(["a great film"])
    assert probability == model_of(2).predict_proba(["a great film"])[0, 1]


def test_a_look_that_finds_nothing_new_loads_nothing(monkeypatch):
    source = MadeUpSource(1)
    champions = looked(source)
    before = champions.current
    spoil(monkeypatch, source, generation=1, error=AssertionError("loaded again"))

    champions.look()

    assert champions.current is before
    assert champions.trouble == ""


@pytest.mark.parametrize("error", [SignatureError("forged"), ObjectMissingError("gone")])
def test_a_champion_that_cannot_be_trusted_is_refused_and_the_last_one_goes_on(monkeypatch, error):
    source = MadeUpSource(1)
    champions = looked(source)
    source.promote(2)
    spoil(monkeypatch, source, generation=2, error=error)

    champions.look()

    assert champions.current.generation == 1
    assert (champions.refused.generation, champions.refused.why) == (2, str(error))
    assert champions.refused_count == 1


def test_a_champion_that_answers_otherwise_than_at_the_gate_is_refused(monkeypatch):
    source = MadeUpSource(1)
    champions = looked(source)
    source.promote(2)
    spoil(monkeypatch, source, generation=2, answers=(0.5,) * 172)

    champions.look()

    assert champions.current.generation == 1
    assert "does not answer as it did at the gate" in champions.refused.why


def test_a_champion_that_was_judged_with_another_golden_set_is_taken_but_not_called_compared(
    monkeypatch,
):
    source = MadeUpSource(1)
    spoil(monkeypatch, source, generation=1, answers=())

    champions = looked(source)

    assert champions.current.golden_compared == 0


def test_a_refused_champion_is_tried_again_only_after_a_while(monkeypatch):
    source = MadeUpSource(1)
    patient, eager = looked(source), looked(source, retry_seconds=0)
    source.promote(2)
    spoil(monkeypatch, source, generation=2, error=SignatureError("forged"))

    for champions in (patient, eager):
        champions.look()
        champions.look()

    assert (patient.refused_count, eager.refused_count) == (1, 2)


def test_the_champion_after_a_refused_one_is_taken(monkeypatch):
    source = MadeUpSource(1)
    champions = looked(source)
    source.promote(2)
    spoil(monkeypatch, source, generation=2, error=SignatureError("forged"))
    champions.look()

    source.promote(3)
    champions.look()

    assert champions.current.generation == 3
    assert champions.refused is None


@pytest.mark.parametrize("error", [StoreUnavailableError("no route"), ConfigError("no key")])
def test_a_store_that_cannot_be_used_changes_nothing_but_what_is_said(error):
    source = MadeUpSource(1)
    champions = looked(source)
    before = champions.current
    source.error = error

    champions.look()

    assert champions.current is before
    assert (champions.trouble, champions.failed_looks) == (str(error), 1)
    assert champions.refused is None

    source.error = None
    champions.look()
    assert champions.trouble == ""


def test_a_store_that_fails_while_a_champion_is_loaded_does_not_make_it_refused(monkeypatch):
    source = MadeUpSource(1)
    champions = looked(source)
    source.promote(2)
    spoil(monkeypatch, source, generation=2, error=StoreUnavailableError("timed out"))

    champions.look()

    assert champions.refused is None
    assert champions.trouble == "timed out"


def test_a_log_that_ends_earlier_than_before_is_not_followed():
    source = MadeUpSource(1, 2)
    champions = looked(source)
    source.numbers.pop()

    champions.look()

    assert champions.current.generation == 2
    assert "was cut back" in champions.trouble


def test_the_age_of_what_is_known_counts_from_the_last_look_that_succeeded():
    source = MadeUpSource(1)
    never = Champions(source, golden_set(), retry_seconds=60)
    source.error = StoreUnavailableError("no route")
    never.look()

    assert never.seconds_since_look is None
    source.error = None
    assert looked(source).seconds_since_look >= 0


@pytest.mark.parametrize(
    ("answers", "expected", "worst"),
    [
        ([0.5, 0.25], (0.5, 0.5), 0.25),
        ([0.5], (0.5,), 0.0),
        ([0.5], (0.5, 0.5), math.inf),
        ([math.nan], (0.5,), math.inf),
        ([], (), math.inf),
    ],
)
def test_what_cannot_be_compared_differs_infinitely(answers, expected, worst):
    assert largest_difference(answers, expected) == worst


def test_the_99th_percentile_is_of_the_requests_of_this_champion():
    traffic = Traffic()
    assert traffic.p99_milliseconds() is None

    for _ in range(101):
        traffic.count(0.002, is_error=False)
    traffic.count(5.0, is_error=True)

    assert (traffic.requests, traffic.errors) == (102, 1)
    assert traffic.p99_milliseconds() == pytest.approx(2.0)


def test_only_models_of_the_default_kind_answer_without_a_thread():
    champions = looked(MadeUpSource(1))
    usual = champions.current
    other = replace(usual, champion=replace(usual.champion, model=tfidf_logistic(seed=1)))

    assert usual.is_quick
    assert not other.is_quick
