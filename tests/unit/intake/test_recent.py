"""The newest night for those who watch: from few requests, and from nobody's word but ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipelines.core.keys import arrival_key, receipt_key
from pipelines.intake.recent import MOST_READ, NewestNight, newest_night
from tests.support.made.nights import a_receipt, a_silence, forge
from tests.support.page_site import Bucket

TODAY = "2026-01-20"
BEGAN = datetime(2026, 1, 19, 2, tzinfo=UTC)


@pytest.fixture
def reviews():
    return Bucket()


def take_up(reviews, night, name, *, seconds):
    """An arrival at two o'clock, and the receipt so many seconds later."""
    receipt = a_receipt(night, name)
    key = arrival_key(night, receipt.landing_key, receipt.version_tag, receipt.delivery)
    reviews.put(key, b"not read")
    reviews.put_record(receipt)
    reviews.moments |= {key: BEGAN, receipt.object_key: BEGAN + timedelta(seconds=seconds)}


def test_before_the_first_night_there_is_none(reviews):
    assert newest_night(reviews, TODAY) is None


def test_it_is_the_night_of_the_newest_receipt_or_silence_and_its_slowest_file_counts(reviews):
    take_up(reviews, "2026-01-18", "old.csv", seconds=900)
    take_up(reviews, "2026-01-19", "a.csv", seconds=3)
    take_up(reviews, "2026-01-19", "b.csv", seconds=41)
    reviews.put_record(a_silence("2026-01-18"))

    assert newest_night(reviews, TODAY) == NewestNight("2026-01-19", 0, 41.0)

    for source in ("web", "app"):
        reviews.put_record(a_silence(TODAY, source))

    assert newest_night(reviews, TODAY) == NewestNight(TODAY, 2, None)


@pytest.mark.parametrize("night", ["2025-12-31", "2026-01-01"])
def test_it_is_looked_for_in_this_month_and_the_one_before(reviews, night):
    reviews.put_record(a_receipt(night))

    found = newest_night(reviews, TODAY)

    assert found is not None
    assert found.night == night
    assert newest_night(reviews, "2026-03-01") is None


def test_a_night_after_today_and_records_that_are_not_ours_count_for_nothing(reviews):
    reviews.put_record(a_receipt("2026-01-17"))
    reviews.put_record(a_silence("2026-01-21"))
    forge(reviews, receipt_key("2026-01-19", landing_key="landing/web/x", version_tag="1"))
    forge(reviews, "receipts/2026-01-20/stray.json")
    forge(reviews, "missing/2026-01-19/web.json")
    forge(reviews, "missing/zzz/web.json")

    assert newest_night(reviews, TODAY) == NewestNight("2026-01-17", 0, None)


def test_forged_records_cost_a_bounded_number_of_reads(reviews, monkeypatch):
    for number in range(3 * MOST_READ):
        for night in ("2026-01-19", "2026-01-19a"):
            forge(reviews, receipt_key(night, landing_key=f"landing/web/{number}", version_tag="1"))
    asked, get = [], Bucket.get
    monkeypatch.setattr(
        Bucket, "get", lambda *given, **more: asked.append(1) or get(*given, **more)
    )

    assert newest_night(reviews, TODAY) is None
    assert 0 < len(asked) <= 2 * MOST_READ
