"""The tables of the benchmarks show ratios of one run, and leave out what was not measured."""

from __future__ import annotations

from collections import defaultdict

from benchmarks import bench_growth, bench_monitoring, bench_night, bench_retrain
from benchmarks.large_delivery import bench as large_delivery
from benchmarks.sizing import bench as sizing
from benchmarks.sizing import bench_models
from pipelines.core import config


def some_figures(**values: float) -> dict[str, float]:
    return defaultdict(lambda: 1.0, values)


def test_a_nights_ratios_are_those_of_nothing_cached_to_yesterdays_cache():
    nights = {
        "night_scratch": some_figures(counted_cpu_seconds=8.0, cpu_seconds=12.0),
        "night_cached": some_figures(counted_cpu_seconds=0.5, cpu_seconds=3.0),
    }

    table = bench_growth.as_markdown(nights)

    assert "16.0 (both)" in table  # 8 / 0.5
    assert "| 4.0 |" in table  # 12 / 3


def test_a_night_that_was_measured_alone_has_no_ratio():
    assert "times less" not in bench_growth.as_markdown({"night_cached": some_figures()})


def test_growth_is_compared_with_tfidf_of_the_same_size():
    corpora = {
        "stream_200k": some_figures(wall_seconds=20.0, fit_wall_seconds=10.0),
        "tfidf_200k": some_figures(wall_seconds=120.0),
        "stream_1m": some_figures(wall_seconds=100.0, fit_wall_seconds=50.0),
    }

    ours, rival, larger = bench_growth.as_markdown(corpora).splitlines()[2:]

    assert "| 6.0 | 12.0 |" in ours
    assert "| - | - |" in rival
    assert "| - | - |" in larger


def test_airflows_share_is_what_its_night_takes_longer():
    nights = {"airflow": some_figures(wall_seconds=50.0, tasks=20.0),
              "plain": some_figures(wall_seconds=31.5)}  # fmt: skip

    assert "| Airflow's share | 18.5 | - |" in bench_night.as_markdown(nights)


def test_a_whole_retraining_is_compared_step_by_step():
    runs = {
        "night_scratch": some_figures(train_cpu_seconds=9.0, cpu_seconds=20.0),
        "night_cached": some_figures(train_cpu_seconds=3.0, cpu_seconds=8.0),
    }

    *_, scratch, cached, times = bench_retrain.as_markdown(runs).splitlines()

    assert "| 9.0 |" in scratch
    assert "| 3.0 |" in cached
    assert times.startswith("| times less with a cache | 1.0 | 3.0 | 1.0 |")
    assert "| 2.5 |" in times


def test_a_retraining_that_was_measured_alone_has_no_ratio():
    assert "times less" not in bench_retrain.as_markdown({"stream_1m": some_figures()})


def test_each_step_of_a_large_delivery_has_a_line():
    steps = {"land": some_figures(peak_mb=180.0), "validate": some_figures(cpu_seconds=182.66)}

    table = large_delivery.as_markdown(steps)

    assert "| land | 1.0 | 1.0 | 180 |" in table
    assert "| validate | 182.7 | 1.0 | 1 |" in table


def test_what_a_thousand_reviews_more_cost_is_the_slope_of_the_line_through_the_corpora():
    corpora = {
        f"reviews_{rows}": some_figures(
            rows=rows, train_cpu_seconds=3 + 0.1 * rows / 1000, features_bytes=2_000.0 * rows
        )
        for rows in (10_000, 20_000, 40_000)
    }

    table = sizing.as_markdown(corpora)

    assert "| train, CPU s | 0.1 | 3 |" in table
    assert any(line.startswith("| `features`, kB | 2e+03 | ") for line in table.splitlines())
    assert "| 10,000 |" in table


def test_what_each_model_more_costs_is_the_slope_of_the_line_through_the_counts():
    counts = {
        str(count): some_figures(models=count, page_requests=6 * count, fsck_cpu_seconds=0.5)
        for count in (1, 10, 100)
    }

    lines = bench_models.as_markdown(counts).splitlines()

    assert lines[0].endswith("| each 1 model more | without any |")
    (page,) = (line for line in lines if line.startswith("| page *Models*, requests |"))
    assert page.startswith("| page *Models*, requests | 6 | 60 | 600 | 6 |")
    assert any(line.startswith("| `champion fsck`, CPU s | 0.5 | 0.5 | 0.5 |") for line in lines)


def test_models_of_one_count_have_no_slope():
    assert "each 1 model more" not in bench_models.as_markdown({"1": some_figures(models=1)})


def test_what_the_monitor_notices_is_shown_beside_its_false_alarms():
    shares = {name: 0.5 for _, name in bench_monitoring.FOLK}
    quiet = {"rows": 1000, "nights": 180, "DRIFT": 1, "FADING": 0, "accuracy": 0.9,
             "covered": 0.95, **dict.fromkeys(shares, 90)}  # fmt: skip
    changed = {"rows": 1000, "change": "slang", "trials": 10, "first night": 7, "second night": 2,
               "missed": 1, "accuracy": 0.8, "FADING": 0.25, "covered": 0.5, **shares}  # fmt: skip

    table = bench_monitoring.as_markdown({"quiet": [quiet], "changed": [changed]}).splitlines()

    assert table[2] == (
        "| 1,000 | none, 180 nights | 90.0% | 1 of 180 |  |  | 0% | 95% | 50% | 50% | 50% |"
    )
    assert table[3] == "| 1,000 | slang | 80.0% | 7 of 10 | 2 | 1 | 25% | 50% | 50% | 50% | 50% |"


def test_the_night_in_one_process_has_the_same_settings_and_buckets_of_its_own(tmp_path):
    demo = config.CONFIG_FOLDER / "demo.toml"
    other = tmp_path / "plain.toml"
    other.write_text(bench_night._other_buckets(demo), encoding="utf-8")

    plain = config.load(other)

    assert plain.store.reviews_bucket == "reviews-plain"
    assert plain.store.models_bucket == "models-plain"
    assert plain.model_copy(update={"store": None}) == config.load(demo).model_copy(
        update={"store": None}
    )
