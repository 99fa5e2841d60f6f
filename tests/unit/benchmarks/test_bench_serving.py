"""The table of the scoring services shows ratios of one run, and what the swaps cost."""

from __future__ import annotations

from benchmarks import bench_serving


def some_figures(**changes: float) -> dict[str, float]:
    values = dict.fromkeys(
        ("singles_per_second", "p50_milliseconds", "p99_milliseconds", "lone_p50_milliseconds",
         "reviews_per_second", "memory_mb", "start_seconds"), 1.0,
    )  # fmt: skip
    return values | changes


def test_requests_are_compared_with_an_empty_handler_of_the_same_run():
    table = bench_serving.as_markdown(
        {
            "empty": some_figures(singles_per_second=4000.0),
            "ours": some_figures(singles_per_second=2200.0),
        },
        None,
    )

    assert "| 2,200 | 0.55 |" in table
    assert "swaps" not in table


def test_a_run_without_the_empty_handler_has_no_ratio():
    assert "| 2,200 | - |" in bench_serving.as_markdown(
        {"ours": some_figures(singles_per_second=2200.0)}, None
    )


def test_the_swaps_are_said_with_what_failed_and_how_much_slower_answers_were():
    swaps = {
        "swaps": 200, "failed": 0, "requests": 123_456, "swap_p99_milliseconds": 30.0,
        "calm_p99_milliseconds": 20.0, "median_seconds_to_first_answer": 0.75,
        "memory_mb_after_10": 300.0, "memory_mb_at_the_end": 310.0,
    }  # fmt: skip

    text = bench_serving.as_markdown({}, swaps)

    assert "0 of 123,456 requests failed" in text
    assert "(1.5 times)" in text
