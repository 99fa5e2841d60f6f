"""The example for Kubernetes is what Kubernetes and Airflow can read, and asks for little."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from pipelines.core import config

FOLDER = Path("ops/kubernetes")
PODS = ("usual-pod.yaml", "large-pod.yaml")
KINDS = {"usual-pod.yaml": "V1Pod", "large-pod.yaml": "V1Pod", "settings.yaml": "V1ConfigMap"}


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def test_every_file_is_tried():
    assert {path.name for path in FOLDER.glob("*.yaml")} == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_kubernetes_reads_all_of_it(name):
    """Its own client builds the object from the text; what it does not know would be lost."""
    written = read(name)
    api = client.ApiClient()

    made = api.deserialize(Reply(written), KINDS[name])

    assert api.sanitize_for_serialization(made) == written


class Reply:
    """What the client takes for an answer of Kubernetes."""

    def __init__(self, written: dict[str, Any]) -> None:
        self.data = json.dumps(written)


@pytest.mark.parametrize("name", PODS)
def test_a_task_runs_without_rights_and_within_limits(name):
    spec = read(name)["spec"]
    (container,) = spec["containers"]

    assert container["name"] == "base"  # Airflow adds the command to this one
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"memory", "ephemeral-storage"} <= container["resources"]["limits"].keys()


def test_the_large_pod_differs_in_its_name_and_in_what_it_may_take_alone():
    usual, large = (read(name) for name in PODS)

    for pod in (usual, large):
        del pod["metadata"]["name"]
        del pod["metadata"]["labels"]["app.kubernetes.io/component"]
        del pod["spec"]["containers"][0]["resources"]

    assert usual == large


def test_the_logs_of_tasks_outlast_their_pods_as_in_compose_and_without_a_secret():
    values = read("settings.yaml")["data"]
    compose = yaml.safe_load(Path("docker-compose.yaml").read_text(encoding="utf-8"))
    natively = compose["services"]["scheduler"]["environment"]
    prefix = "AIRFLOW__LOGGING__REMOTE_"
    login, native = (json.loads(one["AIRFLOW_CONN_TASK_LOGS"]) for one in (values, natively))

    assert {name for name in values if name.startswith(prefix)} == {
        name for name in natively if name.startswith(prefix)
    }
    assert values["AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER"] == "s3://task-logs"
    assert login.keys() == {"conn_type", "extra"}
    assert login["extra"] == {"profile_name": "loop-logs", **native["extra"]}
    for name in PODS:
        assert not [one for one in read(name)["spec"]["volumes"] if one["name"] == "logs"]


def test_no_secret_is_among_the_settings_and_the_large_pod_is_where_they_say():
    values = read("settings.yaml")["data"]
    secret = ("PASSWORD", "SECRET", "KEY", "SQL_ALCHEMY_CONN")

    assert not [name for name in values if name.endswith(secret)]
    folder = Path(values["AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE"]).parent
    settings = config.load(Path("config") / Path(values["LOOP_CONFIG"]).name)
    assert settings.workers.large_pod_template == str(folder / "large-pod.yaml")
