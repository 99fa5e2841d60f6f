"""Tasks that need memory ask Kubernetes for a larger pod, if one is configured; no others do."""

from __future__ import annotations

import json
import subprocess
import sys

LARGE = {
    "reviews_ingest": {"delivery.validate"},
    "reviews_replay": {"plan_replay", "apply_replay"},
    "sentiment_monitor": {"watch", "watch_answers"},
    "sentiment_retrain": {"featurize", "train", "score", "evaluate", "verify"},
}
PROGRAM = """
import json, sys
sys.path.insert(0, "plugins")
from airflow.dag_processing.dagbag import DagBag

def asked(task):
    mapped = task.is_mapped
    return task.partial_kwargs.get("executor_config") if mapped else task.executor_config

bag = DagBag("dags")
assert not bag.import_errors, bag.import_errors
found = {dag.dag_id: {task.task_id: asked(task) for task in dag.tasks} for dag in bag.dags.values()}
print(json.dumps(found))
"""
TEMPLATE = "/opt/airflow/pods/large-pod.yaml"


def test_the_tasks_that_need_memory_ask_for_the_large_pod_alone(tmp_path, monkeypatch):
    path = tmp_path / "settings.toml"
    path.write_text(f'[workers]\nlarge_pod_template = "{TEMPLATE}"\n')
    monkeypatch.setenv("LOOP_CONFIG", str(path))

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

    dags = json.loads(done.stdout.splitlines()[-1])
    asking = {
        dag_id: {task: asked for task, asked in tasks.items() if asked}
        for dag_id, tasks in dags.items()
        if any(tasks.values())
    }
    large = {"pod_template_file": TEMPLATE}
    assert asking == {dag_id: dict.fromkeys(tasks, large) for dag_id, tasks in LARGE.items()}


def test_without_a_template_no_task_asks_for_anything(dagbag):
    asked = [
        task.partial_kwargs.get("executor_config") if task.is_mapped else task.executor_config
        for dag in dagbag.dags.values()
        for task in dag.tasks
    ]

    assert asked
    assert not any(asked)
