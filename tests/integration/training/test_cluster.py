"""A search and a streamed fit on a real Dask cluster give the very bytes that they give here."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import dask
import pytest
from distributed import LocalCluster

from pipelines.core.config import CONFIG_FOLDER, load
from pipelines.core.errors import ClusterError, ConfigError, FitError
from pipelines.models.artefacts import dump_model
from pipelines.training import compute
from pipelines.training.search import Selection, find_best
from tests.support.made.made_searches import (
    STARS,
    STREAM,
    a_plan,
    quiet,
    some_partitioned,
    some_rated,
)

REVIEWS = some_partitioned(400, seed=3)
RATED = some_rated(400, seed=3)
SVM = "pipelines.models.factories:fingerprint_svm"
STEPS = {
    f"step={step}": {"factory": SVM, "parameters": {"ngram_max": 1, "step": step, "runs": 2}}
    for step in (0.05, 0.1, 0.2)
}
BLEND = {
    "views": {
        "factory": "pipelines.models.factories:fingerprint_svm_views",
        "parameters": {"views": ({"ngram_max": 1, "min_df": 1}, {"ngram_max": 2, "min_df": 2})},
    }
}
TFIDF = {"tfidf": load(CONFIG_FOLDER / "default.toml").candidates["tfidf_logistic"].model_dump()}
STREAMED = {"stream": {**STREAM, "parameters": {"column_bits": 20, "runs": 2, "epochs": 3}}}
CLASSES = "three classes"
KINDS = {
    "settings": STEPS, "a blend": BLEND, "another kind": STEPS | TFIDF, "streamed": STREAMED,
    CLASSES: STEPS | TFIDF,
}  # fmt: skip


@contextmanager
def workers(count: int, tmp_path: Path) -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=count, threads_per_worker=1, dashboard_address=None, host="127.0.0.1",
        local_directory=str(tmp_path), silence_logs="CRITICAL",
    ) as cluster:  # fmt: skip
        yield cluster


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory):
    with workers(1, tmp_path_factory.mktemp("worker")) as cluster:
        yield cluster


def chosen(kind: str, address: str = "") -> Selection:
    reviews, classes = (RATED, STARS) if kind == CLASSES else (REVIEWS, ())
    plan = a_plan(KINDS[kind], keep_share=0.5, classes=classes)
    with compute.opened(address) as where:
        return find_best(reviews, plan, quiet, where)


def assert_alike(one: Selection, other: Selection) -> None:
    assert (one.candidate, one.scores) == (other.candidate, other.scores)
    assert dump_model(one.model) == dump_model(other.model)


@pytest.mark.long
@pytest.mark.parametrize(
    "kind",
    ["settings", "streamed", CLASSES, pytest.param("a blend", marks=pytest.mark.long),
     pytest.param("another kind", marks=pytest.mark.long)],
)  # fmt: skip
def test_a_worker_chooses_the_same_and_fits_the_same_bytes(one_worker, kind):
    assert_alike(chosen(kind), chosen(kind, one_worker.scheduler_address))


@pytest.mark.long
@pytest.mark.parametrize("count", [2, 4])
def test_so_do_several(tmp_path, count):
    with workers(count, tmp_path) as cluster:
        for kind in KINDS:
            assert_alike(chosen(kind), chosen(kind, cluster.scheduler_address))


@pytest.mark.long
def test_a_worker_that_is_killed_is_replaced_and_changes_nothing(tmp_path):
    with workers(2, tmp_path) as cluster:
        killed = []

        def kill_one(step: str) -> None:
            if not killed:
                killed.append(next(iter(cluster.workers.values())).pid)
                os.kill(killed[0], signal.SIGKILL)

        plan = a_plan(STEPS, keep_share=0.5)
        with compute.opened(cluster.scheduler_address) as where:
            there = find_best(REVIEWS, plan, kill_one, where)

    assert killed
    assert_alike(chosen("settings"), there)


def not_fit() -> compute.Arrays:
    raise FitError("too few reviews")


def other_object() -> object:
    return Canary()


class Canary:
    """Says so when it is unpickled."""

    unpickled: ClassVar[list[int]] = []

    def __reduce__(self) -> tuple[object, ...]:
        return Canary._made, ()

    @staticmethod
    def _made() -> Canary:
        Canary.unpickled.append(os.getpid())
        return Canary()


def test_what_cannot_be_fitted_is_said_as_here(one_worker):
    with compute.opened(one_worker.scheduler_address) as where, pytest.raises(FitError) as caught:
        where.run(not_fit, [()])

    assert str(caught.value) == "too few reviews"


@pytest.mark.attack
def test_nothing_that_a_worker_sends_is_unpickled(one_worker):
    with compute.opened(one_worker.scheduler_address) as where:
        with pytest.raises(ClusterError):
            where.run(other_object, [()])
        sent = where.later(other_object)
        with pytest.raises(Exception):  # noqa: B017, PT011 - whichever Dask raises
            sent.result()

    assert os.getpid() not in Canary.unpickled


@pytest.mark.attack
@pytest.mark.parametrize(
    "answer",
    [b"", b"?", b"R", b"Rno archive", b"RPK\x03\x04" + bytes(40), "R", None, 7,
     b"R\x93NUMPY\x01\x00" + bytes(20)],
)  # fmt: skip
def test_what_is_no_result_is_an_error_in_words(answer):
    with pytest.raises(ClusterError, match="a worker sent something else than a result"):
        compute._arrays(answer)


def test_what_numpy_cannot_fit_is_a_fault_of_the_fit_wherever_it_runs():
    def breaks():
        raise ValueError("no such rows")

    with pytest.raises(FitError, match="no such rows"):
        compute._arrays(compute._as_bytes(compute._code(), breaks))


@pytest.mark.attack
def test_a_worker_with_other_code_is_refused(one_worker, monkeypatch):
    monkeypatch.setattr(compute, "_code", lambda: ("other", "code"))

    with pytest.raises(ClusterError, match="a worker has other code or libraries"):
        chosen("settings", one_worker.scheduler_address)


def test_a_scheduler_that_is_not_there_is_named():
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(ClusterError, match=r"tcp://127\.0\.0\.1:9 does not answer"),
    ):
        chosen("settings", "tcp://127.0.0.1:9")


def test_without_dask_the_setting_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)

    with pytest.raises(ConfigError, match=r"pip install 'retraining-loop\[dask\]'"):
        chosen("settings", "tcp://127.0.0.1:9")
