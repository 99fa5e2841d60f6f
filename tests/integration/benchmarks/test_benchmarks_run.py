"""Each benchmark still runs: on few made-up reviews, which says nothing of its figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.simulation.made_up import make_reviews

PROJECT = Path(__file__).resolve().parents[3]
REVIEWS = 12_500
RUNS = {
    "bench_growth": ["--only", "night_cached", "stream_25k"],
    "bench_model": ["--only", "tfidf", "fingerprint", "views"],
    "bench_monitoring": ["--sizes", "200", "--nights", "2", "--trials", "1", "--trained", "6000"],
    "bench_poison": ["--repeats", "2", "--sizes", "300", "--trained", "6000"],
    "bench_retrain": ["--only", "night_cached", "stream_50k"],
    "bench_search": ["--only", "grid", "ours"],
    "bench_serving": ["--only", "empty", "ours", "plain", "--swaps", "5", "--seconds", "1"],
    "bench_triggers": ["--nights", "9", "--rows", "100", "--first-rows", "1500"],
    "bench_validation": ["--rows", "1000"],
    "bench_years": ["--only", "3 x 10"],
    "cluster.bench": ["--rows", "600"],
    "gate_study.bench": ["--quick"],
    "large_delivery.bench": ["--rows", "3000"],
    "sizing.bench": ["--only", "reviews_12500"],
    "sizing.bench_models": ["--only", "1", "3"],
}
ELSEWHERE = {
    "bench_night": "a night through Airflow, minutes long; its settings: tests/unit/benchmarks",
    "bench_peers": "other projects' programs, which `make bench-peers` installs",
}  # fmt: skip
WITHOUT_REVIEWS = {"bench_validation", "bench_years", "sizing.bench_models"}


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up reviews in the columns of the data set of record."""
    made = make_reviews(REVIEWS, seed=1)
    is_positive = np.array(made["label"].to_pylist()) == "positive"
    splits = np.where(np.arange(REVIEWS) % 2, "train", "test")
    table = pa.table(
        {
            "review_id": [f"r-{row}" for row in range(REVIEWS)],
            "text": made["text"], "label": is_positive.astype(np.int8), "split": splits,
            "rating": made["rating"], "movie_id": made["movie_id"],
        }
    )  # fmt: skip
    path = tmp_path_factory.mktemp("reviews") / "reviews.parquet"
    pq.write_table(table, path)
    return path


def test_all_are_tried() -> None:
    folder = PROJECT / "benchmarks"
    found = {
        ".".join(path.relative_to(folder).with_suffix("").parts)
        for path in folder.rglob("bench*.py")
    }
    assert found == set(RUNS) | set(ELSEWHERE)


@pytest.mark.long
@pytest.mark.parametrize("name", RUNS)
def test_it_runs(name: str, reviews: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", *RUNS[name]]
    if name not in WITHOUT_REVIEWS:
        command += ["--reviews", str(reviews)]
    run = subprocess.run(
        [*command, "--json", str(tmp_path / "figures.json")],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    # A limit that so few reviews cannot keep is said in a sentence; a fault is a traceback.
    assert "Traceback" not in run.stderr, run.stderr[-3000:]
    assert run.stdout.strip()
    assert (tmp_path / "figures.json").exists()
