"""What is measured of a model here and of one elsewhere is the same, and all of it is shown."""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.pipeline import Pipeline

from benchmarks import bench_model, bench_peers
from benchmarks.compared.models import default_candidate, two_views
from pipelines.core.config import load


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
@pytest.mark.parametrize("name", ["ours", "three", "lecture", "nbsvm"])
def test_a_model_is_measured_for_every_column_of_the_table(name, reviews):
    figures = bench_peers.measure(name, reviews)

    assert figures["accuracy"] > 0.9
    assert figures["artefact_mb"] > 0
    table = bench_peers.as_markdown({name: {**figures, "peak_mb": 1.0}})
    assert bench_peers.TITLES[name] in table


def test_every_model_has_a_title_and_those_of_ours_a_factory():
    assert set(bench_peers.OURS) < set(bench_peers.TITLES)
    assert set(bench_peers.ELSEWHERE) < set(bench_peers.TITLES)


@pytest.mark.parametrize(
    "factory", sorted({*bench_peers.OURS.values(), *bench_model.MODELS.values()})
)
def test_every_model_that_is_compared_can_be_built(factory):
    assert isinstance(resolve_name(factory)(seed=1), Pipeline)


def test_the_default_candidate_is_measured_with_the_parameters_that_it_is_shipped_with():
    shipped = load().candidates["fingerprint_svm"].parameters

    words, svm = default_candidate(seed=7)

    measured = {**words.get_params(), **svm.get_params()}
    assert {name: measured[name] for name in shipped} == shipped
    assert measured["random_state"] == 7


def test_both_views_are_measured_as_they_are_shipped():
    shipped = load().candidates["fingerprint_svm_views"].parameters["views"]

    members = two_views(seed=7)[0].members

    read = [member[0].get_params() for member in members]
    assert [
        {name: own[name] for name in view} for own, view in zip(read, shipped, strict=True)
    ] == [dict(view) for view in shipped]
