"""Which rows of a large window are judged."""

from datetime import date

import pyarrow as pa
import pytest

from pipelines.intake.partitions import ACCEPTED_SCHEMA, write_partition
from pipelines.monitoring import sample
from tests.support.in_memory import InMemory


@pytest.fixture
def reviews():
    return InMemory()


def a_partition(reviews, source, rows):
    made = [
        {
            "text_id": f"{number:064x}", "review_id": None, "movie_id": None,
            "text": f"{source} {number}", "label": number % 2, "rating": None,
            "written_on": date(2026, 1, 5), "source": source,
        }
        for number in range(rows)
    ]  # fmt: skip
    table = pa.Table.from_pylist(made, schema=ACCEPTED_SCHEMA)
    return write_partition(reviews, "accepted", table)


def drawn(reviews, parts, most):
    return sample.read_sample(reviews, parts, most).to_pylist()


def test_a_window_that_is_small_enough_is_judged_whole(reviews):
    parts = [a_partition(reviews, "web", 30), a_partition(reviews, "app", 20)]

    rows = drawn(reviews, parts, 50)

    assert [row["text"] for row in rows] == [
        *(f"web {number}" for number in range(30)), *(f"app {number}" for number in range(20))
    ]  # fmt: skip


def test_of_a_larger_one_the_same_share_of_each_partition_is_drawn_and_the_same_each_time(reviews):
    parts = [a_partition(reviews, "web", 300), a_partition(reviews, "app", 100)]

    rows = drawn(reviews, parts, 100)

    assert rows == drawn(reviews, parts, 100)
    assert rows == drawn(reviews, parts[:1], 75) + drawn(reviews, parts[1:], 25)
    texts = [row["text"] for row in rows]
    assert len(set(texts)) == 100
    assert sum(text.startswith("web") for text in texts) == 75
    numbers = [int(text.split()[1]) for text in texts[:75]]
    assert numbers == sorted(numbers)
    assert 100 < sum(numbers) / 75 < 200  # not the first ones


def test_a_partition_of_few_rows_is_not_left_out(reviews):
    parts = [a_partition(reviews, "web", 5000), a_partition(reviews, "app", 1)]

    assert [row["source"] for row in drawn(reviews, parts, 10)].count("app") == 1


def test_of_partitions_that_are_read_at_once_only_what_is_drawn_stays(reviews):
    parts = [a_partition(reviews, f"source {number}", 1000) for number in range(5)]

    assert sample.read_sample(reviews, parts, 50).nbytes < 10_000
