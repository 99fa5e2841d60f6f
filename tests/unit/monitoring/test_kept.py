"""Which of several records of a night or a day counts: what is signed decides."""

from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest

from pipelines.core import keys
from pipelines.monitoring import kept
from tests.support.in_memory import InMemory
from tests.support.made.window_builders import a_trigger, a_window, an_answered_day

FEW = a_window(partitions=("a" * 64,), rows=300, verdict="FADING")
MANY = a_window(partitions=("a" * 64, "b" * 64), rows=1000, verdict="QUIET")
MODEL, NIGHT, LATER = MANY.model_name, MANY.night, "2026-12-31"


@pytest.fixture
def reviews():
    return InMemory()


def newest(reviews, count=5, nights=1):
    return kept.newest_windows(reviews, MODEL, LATER, count, nights=nights)


@pytest.mark.attack
def test_an_earlier_window_that_is_stored_again_does_not_count_again(reviews):
    for window in (FEW, MANY):
        reviews.put_first(window)

    reviews.put(FEW.object_key, reviews.get(FEW.object_key))

    assert newest(reviews) == [MANY]
    assert kept.of_night(reviews, MODEL, NIGHT, nights=1)[0] == MANY.object_key


@pytest.mark.attack
def test_an_earlier_decision_that_is_stored_again_is_not_the_newest(reviews):
    first = a_trigger(token="f" * 64, at="2026-01-07T02:00:00+00:00")
    second = a_trigger(token="0" * 64, at="2026-01-07T09:00:00+00:00")
    for decision in (first, second):
        reviews.put_first(decision)

    reviews.put(first.object_key, reviews.get(first.object_key))

    assert kept.newest_decisions(reviews, first.model_name, LATER, 1) == [second]
    assert kept.newest_decisions(reviews, first.model_name, LATER, 5) == [second, first]


def test_of_a_night_the_window_of_the_configured_length_counts_and_else_what_there_is(reviews):
    week = a_window(first_night="2025-12-30", partitions=("a" * 64, "c" * 64), rows=7000)
    for window in (week, FEW):
        reviews.put_first(window)

    assert newest(reviews, nights=1) == [FEW]
    assert newest(reviews, nights=7) == [week]
    assert newest(reviews, nights=3) == [week]
    assert kept.of_night(reviews, MODEL, NIGHT, nights=1) == [FEW.object_key, week.object_key]


def test_windows_of_the_same_rows_and_another_length_are_others():
    week = FEW.model_copy(update={"first_night": "2025-12-30"})

    assert (FEW.nights, week.nights) == (1, 7)
    assert week.object_key != FEW.object_key


@pytest.mark.parametrize("count", [1, 2])
def test_no_older_month_is_listed_to_see_that_a_night_ends(reviews, count):
    for night in ("2026-12-30", "2026-12-31"):
        reviews.put_first(a_window(night))
    reviews.list = Mock(wraps=reviews.list)

    assert len(newest(reviews, count)) == count
    reviews.list.assert_called_once_with(keys.windows_folder(MODEL, "2026-12"))


STRAYS = [
    "2026-01-05-001-999999999-ffffffffffffffff.json",
    "2026-01-06-001-999999999-ffffffffffffffff.json",
    "2026-01-05-and-more", "2026-01-99.json", "0", "notes.txt", "2026-01-07",
]  # fmt: skip


def stray(reviews, folder):
    for name in STRAYS:
        reviews.put(f"{folder}{name}", b"nobody signed this")


@pytest.mark.attack
@pytest.mark.parametrize("count", [1, 3])
def test_what_somebody_put_among_the_windows_hides_none_of_them(reviews, count):
    for window in (FEW, MANY, a_window("2026-01-04"), a_window("2025-12-31")):
        reviews.put_first(window)
    stray(reviews, keys.windows_folder(MODEL, "2026-01"))
    stray(reviews, keys.windows_folder(MODEL, "2026-02"))

    nights = [window.night for window in newest(reviews, count)]

    assert nights == [NIGHT, "2026-01-04", "2025-12-31"][:count]
    assert newest(reviews, 1) == [MANY]


@pytest.mark.attack
def test_what_somebody_put_among_the_decisions_hides_none_of_them(reviews):
    start = a_trigger(is_started=True, at="2026-01-07T02:00:00+00:00", day="2026-01-07")
    reviews.put_first(start)
    stray(reviews, keys.triggers_folder(MODEL, "2026-01"))
    reviews.put(f"{keys.triggers_folder(MODEL, '2026-01')}2026-01-08-{'e' * 16}.json", b"")
    now = datetime(2026, 1, 9, tzinfo=UTC)

    assert kept.newest_decisions(reviews, MODEL, LATER, 1) == [start]
    assert kept.last_start(reviews, MODEL, now, timedelta(days=3)) == datetime(
        2026, 1, 7, 2, tzinfo=UTC
    )


@pytest.mark.attack
def test_what_somebody_put_among_the_days_of_answers_hides_none_of_them(reviews):
    day = an_answered_day(model_name=MODEL, day="2026-01-07")
    reviews.put_first(day)
    stray(reviews, keys.answers_folder(MODEL, "2026-01"))
    reviews.put(keys.answered_day_key(MODEL, "2026-01-08"), b"")

    assert kept.newest_answers(reviews, MODEL, LATER, 1) == [day]
