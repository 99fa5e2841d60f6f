"""Which nights are judged, and that what lies in the place of a window is no window."""

from types import SimpleNamespace

import pytest

from pipelines.core import config
from pipelines.core.errors import NoReviewsError, TrustError
from pipelines.monitoring import kept, windows
from tests.support.in_memory import InMemory
from tests.support.made.window_builders import a_window

FIRST, SECOND, THIRD = "2026-01-05", "2026-01-06", "2026-01-07"


def a_standing(night, digit):
    part = SimpleNamespace(sha256=digit * 64, rows=500)
    outcome = SimpleNamespace(night=night, source="web", delivered_rows=500, counted_in=night)
    return SimpleNamespace(
        outcome=outcome, accepted=(part,), accepted_rows=500, replays=(),
        newest=SimpleNamespace(held_rows=0),
    )  # fmt: skip


LEDGER = [a_standing(FIRST, "a"), a_standing(SECOND, "b"), a_standing(THIRD, "c")]


class Asked:
    """Champions that are right about everything, or cannot be asked about some nights."""

    spoiled: tuple[str, ...] = ()

    def __init__(self, *_):
        pass

    def judge(self, rows):
        if rows.night in self.spoiled:
            raise NoReviewsError(f"nothing is known of {rows.night}")
        return a_window(
            rows.night, first_night=rows.first_night, rows=rows.count,
            partitions=tuple(part.sha256 for part in rows.partitions),
        )  # fmt: skip


@pytest.fixture
def asked(monkeypatch):
    monkeypatch.setattr(windows, "Asked", Asked)
    monkeypatch.setattr(Asked, "spoiled", ())
    return Asked


@pytest.fixture
def judged(asked, configure):
    """``judged(window_nights)`` judges all nights; the new windows' nights and lengths."""
    reviews, registry = InMemory(), SimpleNamespace(name="sentiment")

    def judge(nights=1):
        configure(monitoring={"window_nights": nights})
        found = windows.judge_new(reviews, registry, LEDGER, config.load(), until=THIRD)
        return [(window.night, window.nights) for window in found]

    judge.reviews = reviews
    return judge


def counting(reviews, nights):
    found = kept.newest_windows(reviews, "sentiment", THIRD, 3, nights=nights)
    return [(window.night, window.nights, window.rows) for window in found]


def test_after_another_length_is_configured_the_windows_of_that_length_count(judged):
    longer, shorter = judged(2), judged(1)

    assert longer == [(FIRST, 2), (SECOND, 2), (THIRD, 2)]
    assert shorter == [(FIRST, 1), (SECOND, 1), (THIRD, 1)]
    assert judged(2) == judged(1) == []
    assert counting(judged.reviews, 1) == [(THIRD, 1, 500), (SECOND, 1, 500), (FIRST, 1, 500)]
    assert counting(judged.reviews, 2) == [(THIRD, 2, 1000), (SECOND, 2, 1000), (FIRST, 2, 500)]


@pytest.mark.attack
def test_what_lies_in_the_place_of_a_window_is_named_and_deleted_the_night_is_judged_again(judged):
    judged()
    (spoiled,) = kept.of_night(judged.reviews, "sentiment", SECOND, nights=1)
    judged.reviews.put(spoiled, b"nobody signed this")
    judged.reviews.delete(kept.of_night(judged.reviews, "sentiment", THIRD, nights=1)[0])

    with pytest.raises(TrustError, match=rf"{spoiled} .*the night {SECOND} showed. Delete it"):
        judged()
    assert [night for night, *_ in counting(judged.reviews, 1)] == [THIRD, FIRST]
    judged.reviews.delete(spoiled)

    assert judged() == [(SECOND, 1)]


def test_a_night_that_cannot_be_judged_keeps_no_other_from_it(judged, asked):
    asked.spoiled = (FIRST, THIRD)

    with pytest.raises(NoReviewsError, match=FIRST):
        judged()

    assert counting(judged.reviews, 1) == [(SECOND, 1, 500)]
