"""What is measured of a model here and of one elsewhere is the same, and all of it is shown."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import bench_peers


@pytest.fixture
def reviews(tmp_path) -> Path:
    kinds = [("a great, moving film", 1), ("a dull and awful film", 0)]
    rows = [
        {"text": f"{text} {number % 3}", "label": label, "movie_id": f"m{number}", "split": split}
        for number in range(30)
        for text, label in kinds
        for split in ("train", "test")
    ]
    path = tmp_path / "reviews.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ["ours", "lecture", "nbsvm"])
def test_a_model_is_measured_for_every_column_of_the_table(name, reviews):
    figures = bench_peers.measure(name, reviews)

    assert figures["accuracy"] > 0.9
    assert figures["artefact_mb"] > 0
    table = bench_peers.as_markdown({name: {**figures, "peak_mb": 1.0}})
    assert bench_peers.TITLES[name] in table


def test_every_model_has_a_title_and_those_of_ours_a_factory():
    assert set(bench_peers.OURS) < set(bench_peers.TITLES)
    assert set(bench_peers.ELSEWHERE) < set(bench_peers.TITLES)
