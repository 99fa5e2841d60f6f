"""A failed run is cleared before its deadline, as Airflow's own pages and its API do it.

Nothing runs here: the failure is written into Airflow's database.
"""

from pathlib import Path

import pytest

from pipelines.core import config
from tests.support.services.airflow_pages import as_user, store_dags

pytestmark = pytest.mark.airflow

DAGS = Path(__file__).resolve().parents[2] / "dags"
# The setting of its deadline, and the task that fails.
LOOP = {
    "reviews_ingest": ("ingest_late_minutes", "find_deliveries"),
    "sentiment_retrain": ("retrain_late_minutes", "take_snapshot"),
}
# What Airflow's own pages send for a task, for all failed tasks, and for a run.
WAYS = {
    "task": lambda run_id, task: (
        "clearTaskInstances",
        {"dag_run_id": run_id, "task_ids": [task], "only_failed": False, "dry_run": False},
    ),
    "failed_tasks": lambda run_id, _task: (
        "clearTaskInstances", {"dag_run_id": run_id, "only_failed": True, "dry_run": False},
    ),
    "run": lambda run_id, _task: (
        f"dagRuns/{run_id}/clear", {"only_failed": True, "dry_run": False},
    ),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _dags_are_known(served):
    """The DAGs with their deadlines, which `dagbag` takes from them."""
    from airflow.dag_processing.dagbag import DagBag

    store_dags([DagBag(str(DAGS / f"{name}.py")).dags[name] for name in LOOP])


def deadlines(run_id):
    """When each deadline of a run passes, and since when the run waits, as Airflow has it."""
    from airflow.models import DagRun, Deadline
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        one = select(Deadline.deadline_time, DagRun.queued_at).join(DagRun)
        return [tuple(row) for row in session.execute(one.where(DagRun.run_id == run_id))]


@pytest.fixture
def call(served):
    """A call of Airflow's API by an admin, which must be answered well."""
    admin = as_user(served, "ada")

    def call(method, path, **body):
        answer = served.request(method, f"/api/v2/dags/{path}", json=body, headers=admin)
        assert answer.status_code == 200, answer.text

    return call


@pytest.mark.parametrize("dag_id", LOOP)
@pytest.mark.parametrize("way", WAYS)
def test_a_failed_run_can_be_cleared_before_its_deadline_which_then_counts_again(call, dag_id, way):
    setting, task = LOOP[dag_id]
    run_id = f"{dag_id}__cleared_by_{way}"
    run = f"{dag_id}/dagRuns/{run_id}"
    call("POST", f"{dag_id}/dagRuns", dag_run_id=run_id, logical_date=None)
    call("PATCH", f"{run}/taskInstances/{task}", new_state="failed")
    call("PATCH", run, state="failed")
    ((due_before, _),) = deadlines(run_id)

    path, body = WAYS[way](run_id, task)
    call("POST", f"{dag_id}/{path}", **body)

    ((due, queued),) = deadlines(run_id)
    assert due > due_before
    assert (due - queued).total_seconds() == getattr(config.load().alerts, setting) * 60
