"""A run exports only where that is configured, and its state does not depend on it."""

from __future__ import annotations

import pendulum
import pytest

from pipelines.core.errors import ConfigError
from pipelines.steps import exports
from tests.support.made.dag_runs import DAGS, parsed_dags, run, states

pytestmark = pytest.mark.airflow

EXPORTING = ["reviews_ingest", "sentiment_retrain", "sentiment_rollback"]


def parsed(dag_id):
    """A DAG as it is parsed with the settings of this test."""
    bag = parsed_dags(DAGS / f"{dag_id}.py")
    assert bag.import_errors == {}
    return bag.dags[dag_id]


def test_without_a_target_no_dag_has_a_task_for_it(dagbag):
    assert not any("export" in dag.task_ids for dag in dagbag.dags.values())


@pytest.mark.parametrize("dag_id", EXPORTING)
def test_with_a_target_the_export_comes_last_and_decides_nothing(dagbag, stores, configure, dag_id):
    configure(exports={"openlineage": "/dev/null"})

    task = parsed(dag_id).get_task("export")

    assert "alert" in task.upstream_task_ids
    assert task.downstream_task_ids == set()
    assert task.is_teardown
    assert not task.on_failure_fail_dagrun


def test_mlflow_gets_champions_and_no_nights(dagbag, stores, configure):
    configure(exports={"mlflow_url": "http://127.0.0.1:9"})

    assert "export" in parsed("sentiment_retrain").task_ids
    assert "export" in parsed("sentiment_rollback").task_ids
    assert "export" not in parsed("reviews_ingest").task_ids


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_night_is_green_whatever_becomes_of_its_export(
    dagbag, stores, configure, monkeypatch, is_killed
):
    configure(exports={"openlineage": "http://127.0.0.1:9/none"})
    if is_killed:  # no error of an export reaches its task, so this stands for what ends a process
        monkeypatch.setattr(exports, "export_night", _fail)

    done = run(parsed("reviews_ingest"), at=pendulum.datetime(2026, 1, 6, 2, tz="UTC"))

    assert str(done.state) == "success"
    assert states(done)["alert", -1] == "success"
    assert states(done)["export", -1] == ("failed" if is_killed else "success")


def _fail(_night):
    raise ConfigError("a test")
