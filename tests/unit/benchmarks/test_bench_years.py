"""The benchmark of years says by how much a night became dearer, and fails above its limits."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks import bench_years
from benchmarks.years import Years
from pipelines.core import config
from pipelines.intake import ledger, snapshot, standings
from pipelines.validation import history
from tests.support.in_memory import InMemory


def figures(requests: float, cpu_seconds: float) -> dict[str, float]:
    parts = {
        f"{part}_{what}": 1.0 for part in bench_years.PARTS for what in ("requests", "cpu_seconds")
    }
    return parts | {
        "requests": requests, "cpu_seconds": cpu_seconds, "lists": 3.0, "peak_mb_so_far": 300.0,
    }  # fmt: skip


RESULTS = {"3 x 10": figures(100, 4), "3 x 1,100": figures(130, 6)}


def test_a_night_is_compared_with_the_one_after_ten_of_as_many_sources():
    table = bench_years.as_markdown(RESULTS | {"20 x 365": figures(1, 1)})

    assert "| 3 x 1,100 / 3 x 10 | 1.30 |  | 1.50 | 1.00 |" in table
    assert "20 x 365 /" not in table


@pytest.mark.parametrize(
    ("requests", "cpu_seconds", "over"), [(150, 8, 0), (151, 8, 1), (150, 8.1, 1), (151, 8.1, 2)]
)
def test_more_than_the_limits_is_said(requests, cpu_seconds, over):
    results = RESULTS | {"3 x 1,100": figures(requests, cpu_seconds)}

    assert len(list(bench_years._over(results))) == over


def test_the_plot_is_a_picture():
    plot = bench_years.as_plot(RESULTS)

    assert ElementTree.fromstring(plot).tag.endswith("svg")  # noqa: S314 - our own


def test_nights_that_were_laid_down_are_as_an_ingest_leaves_them(configure, s3_environment):
    configure()
    reviews, years = InMemory(), Years(2, 3)
    years.lay_down(reviews)

    every = standings.every(reviews)
    read = history.counted_before(every, years.night(4), config.load().validation)
    assert len(every) == 6 == len(ledger.all_outcomes(reviews))
    assert snapshot.take(reviews, config.load().split).rows == 18
    assert len(history.read_known(reviews, read)[0].text_keys) == 18


def test_years_and_the_ten_nights_that_they_are_compared_with_hold_as_many_reviews():
    few, many = bench_years._years("20 x 10"), bench_years._years("20 x 365")

    def rows(years: Years) -> int:
        return years.sources * years.nights * years.rows + years.archive_rows

    assert rows(few) == rows(many) == 21_900
    assert many.archive_rows == 0


def test_an_archive_lies_before_the_nights_and_repeats_none_of_their_reviews(
    configure, s3_environment
):
    configure()
    reviews, years = InMemory(), Years(2, 3, archive_rows=7)
    years.lay_down(reviews)

    every = standings.every(reviews)

    assert sorted(standing.outcome.night for standing in every)[0] < years.night(1)
    assert snapshot.take(reviews, config.load().split).rows == 18 + 7
    read = history.counted_before(every, years.night(4), config.load().validation)
    assert len(history.read_known(reviews, read)[0].text_keys) == 25
