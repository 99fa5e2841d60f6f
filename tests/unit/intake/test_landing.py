from datetime import date

import pytest

from pipelines.core.config import load
from pipelines.core.errors import DataError
from pipelines.core.keys import arrival_id
from pipelines.intake import arrivals
from pipelines.intake.landing import LandingName, checked_night, discover, parse_name
from pipelines.records.deliveries import Receipt
from tests.support.in_memory import InMemory
from tests.support.made.builders import NIGHT, deliver, landing_key

DAY = date(2026, 1, 5)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("landing/web/2026-01-05/a.csv", LandingName("web", DAY, "csv", is_gzipped=False)),
        ("landing/web/2026-01-05/a.csv.gz", LandingName("web", DAY, "csv", is_gzipped=True)),
        ("landing/web/date=2026-01-05/A.JSONL", LandingName("web", DAY, "jsonl", is_gzipped=False)),
        ("landing/app/eu/2026-01-05/a.parquet", LandingName("app", DAY, "parquet", False)),
        ("landing/web/a.csv", LandingName("web", None, "csv", is_gzipped=False)),
        ("landing/a.csv", LandingName("unsorted", None, "csv", is_gzipped=False)),
        ("landing/Web Site/2026-01-05/a.csv", LandingName("unsorted", DAY, "csv", False)),
        ("landing/../2026-01-05/a.csv", LandingName("unsorted", DAY, "csv", is_gzipped=False)),
        ("landing/web/2026-02-30/a.csv", LandingName("web", None, "csv", is_gzipped=False)),
        ("landing/web/2026-01-05/a.txt", LandingName("web", DAY, "unknown", is_gzipped=False)),
        ("landing/web/2026-01-05/csv", LandingName("web", DAY, "csv", is_gzipped=False)),
        ("landing/web/2026-01-05/a.gz", LandingName("web", DAY, "unknown", is_gzipped=True)),
    ],
)
def test_a_key_says_source_day_and_format(key, name):
    assert parse_name(key) == name


@pytest.mark.parametrize("night", ["2026-1-5", "20260105", "2026-W02-1", "2026-02-30", "", "x"])
def test_a_night_is_a_day_of_the_calendar_in_one_spelling(night):
    with pytest.raises(DataError, match="must be a day like 2026-01-05"):
        checked_night(night)


def test_changed_content_under_the_same_name_is_another_arrival():
    ids = {arrival_id("landing/a.csv", tag) for tag in ("one", "two")}
    ids |= {arrival_id("landing/b.csv", tag) for tag in ("one", "two")}

    assert len(ids) == 4
    assert all(len(each) == 32 for each in ids)


# ── What is due ──────────────────────────────────────────────────────────────────────────────


def give_receipt(stores, key: str, night: str) -> None:
    info = stores.reviews.find(key)
    receipt = Receipt(
        landing_key=key, version_tag=info.version_tag, night=night, delivery="0" * 64,
        verdict="ACCEPTED", why="All count.", delivered_rows=1, accepted_rows=1,
        quarantined_rows=0, held_rows=0,
    )  # fmt: skip
    stores.reviews.put_record(receipt)


def test_an_empty_landing_has_nothing_due(stores):
    assert discover(stores.reviews, NIGHT, most=1000) == []


def test_files_of_this_night_and_of_earlier_ones_are_due_sorted_by_key(stores):
    for day in ("2026-01-05", "2026-01-04", "2026-01-06"):
        deliver(stores, landing_key("a.csv", night=day), b"x")

    due = discover(stores.reviews, "2026-01-05", most=1000)

    assert due == [
        "landing/web/2026-01-04/a.csv",
        "landing/web/2026-01-05/a.csv",
    ]


@pytest.mark.parametrize("name", ["a.csv.part", "a.csv.tmp", "folder/"])
def test_what_is_still_being_written_is_not_due(name):
    reviews = InMemory()  # a store on a folder would not take a folder's own name
    reviews.objects[landing_key(name)] = b"x"

    assert discover(reviews, NIGHT, most=1000) == []


def test_what_has_a_receipt_is_due_again_for_its_own_night_only(stores):
    deliver(stores, landing_key("a.csv"), b"x")
    give_receipt(stores, landing_key("a.csv"), "2026-01-05")

    assert discover(stores.reviews, "2026-01-05", most=1000) == [landing_key("a.csv")]
    assert discover(stores.reviews, "2026-01-06", most=1000) == []


def test_a_file_that_changed_after_its_receipt_is_due_again(stores):
    deliver(stores, landing_key("a.csv"), b"x")
    give_receipt(stores, landing_key("a.csv"), "2026-01-05")

    deliver(stores, landing_key("a.csv"), b"y")

    assert discover(stores.reviews, "2026-01-06", most=1000) == [landing_key("a.csv")]


def test_a_landed_file_without_a_receipt_stays_due(stores):
    key = landing_key("a.csv")
    deliver(stores, key, b"x")

    arrivals.receive(stores.reviews, key, night=NIGHT, intake=load().intake)

    assert discover(stores.reviews, "2026-01-06", most=1000) == [key]


TODAY = date(2026, 1, 7)


def due_on(stores, night, **options):
    return discover(stores.reviews, night, **{"most": 1000, "today": TODAY} | options)


def test_a_file_without_a_day_is_due_in_the_last_complete_night_only(stores):
    deliver(stores, "landing/web/a.csv", b"x")

    assert due_on(stores, "2026-01-05") == []
    assert due_on(stores, "2026-01-06") == ["landing/web/a.csv"]
    assert due_on(stores, "2026-01-07") == ["landing/web/a.csv"]


def test_a_night_that_is_not_over_is_refused(stores):
    with pytest.raises(DataError, match="after today"):
        due_on(stores, "2026-01-08")


def test_more_files_than_one_run_can_take_are_taken_in_turns(stores):
    for name in "abc":
        deliver(stores, landing_key(f"{name}.csv"), b"x")
    first = due_on(stores, NIGHT, most=2)
    for info in stores.reviews.list("landing/"):
        if info.key in first:
            give_receipt(stores, info.key, NIGHT)

    again = due_on(stores, NIGHT, most=2)

    assert first == [landing_key("a.csv"), landing_key("b.csv")]
    assert landing_key("c.csv") in again


def test_other_bytes_under_one_name_and_tag_are_a_conflict_and_no_endless_failure():
    """As a store gives them that keeps no digest of what it holds."""

    class Fickle(InMemory):
        def stream(self, key):
            return "one", iter([self.get(key)])

    reviews, key, intake = Fickle(), landing_key("a.csv"), load().intake
    reviews.put(key, b"first")
    first_key, first = arrivals.receive(reviews, key, night=NIGHT, intake=intake)
    reviews.put(key, b"fjrst")

    for _ in range(2):
        second_key, second = arrivals.receive(reviews, key, night=NIGHT, intake=intake)

        assert second_key != first_key
        assert (first.conflicts_with, second.conflicts_with) == (None, first.delivery)
