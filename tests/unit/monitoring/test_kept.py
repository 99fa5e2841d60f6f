"""Which of several records of a night or a day counts: what is signed decides."""

import pytest

from pipelines.monitoring import kept
from tests.support.in_memory import InMemory
from tests.support.made.window_builders import a_trigger, a_window

FEW = a_window(partitions=("a" * 64,), rows=300, verdict="FADING")
MANY = a_window(partitions=("a" * 64, "b" * 64), rows=1000, verdict="QUIET")


@pytest.fixture
def reviews():
    return InMemory()


@pytest.mark.attack
def test_an_earlier_window_that_is_stored_again_does_not_count_again(reviews):
    for window in (FEW, MANY):
        reviews.put_first(window)

    reviews.put(FEW.object_key, reviews.get(FEW.object_key))

    assert kept.newest_windows(reviews, MANY.model_name, "2026-12-31", 5) == [MANY]
    assert kept.of_night(reviews, MANY.model_name, MANY.night)[0] == MANY.object_key


@pytest.mark.attack
def test_an_earlier_decision_that_is_stored_again_is_not_the_newest(reviews):
    first = a_trigger(token="f" * 64, at="2026-01-07T02:00:00+00:00")
    second = a_trigger(token="0" * 64, at="2026-01-07T09:00:00+00:00")
    for decision in (first, second):
        reviews.put_first(decision)

    reviews.put(first.object_key, reviews.get(first.object_key))

    assert kept.newest_decisions(reviews, first.model_name, "2026-12-31", 1) == [second]
    assert kept.newest_decisions(reviews, first.model_name, "2026-12-31", 5) == [second, first]
