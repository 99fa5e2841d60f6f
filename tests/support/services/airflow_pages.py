"""Airflow's own app in process, with the project's pages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROLES = {"vera": "viewer", "olga": "op", "ada": "admin"}


@contextmanager
def airflow_app(folder: Path) -> Iterator[Any]:
    """A client of Airflow's app, which knows a viewer, an operator and an admin."""
    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps({name: name for name in ROLES}))
    values = {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
            f"{name}:{role}" for name, role in ROLES.items()
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        # Nobody listens there: what the pages say of that is tested.
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        from airflow.api_fastapi.app import create_app
        from fastapi.testclient import TestClient

        with TestClient(create_app(), follow_redirects=False) as client:
            yield client


def as_user(client: Any, name: str) -> dict[str, str]:
    reply = client.post("/auth/token", json={"username": name, "password": name})
    return {"Authorization": f"Bearer {reply.json()['access_token']}"}


def store_dags(dags: Sequence[Any]) -> None:
    """Store DAGs in Airflow's database as the dag-processor would."""
    from airflow.dag_processing.collection import update_dag_parsing_results_in_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session

    with create_session() as session:
        if session.get(DagBundleModel, "dags") is None:
            session.add(DagBundleModel(name="dags"))
            session.commit()
        update_dag_parsing_results_in_db(
            bundle_name="dags", bundle_version=None,
            dags=[LazyDeserializedDAG.from_dag(dag) for dag in dags],
            import_errors={}, parse_duration=None, warnings=set(), session=session,
        )  # fmt: skip
