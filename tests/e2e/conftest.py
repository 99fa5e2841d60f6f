"""One real Airflow for all end-to-end tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from leftovers import processes_with

from ops.airflow_api import AirflowApi
from ops.stack import PROJECT, LocalStack
from pipelines import config
from pipelines.store import Stores, open_stores


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Airflow's four components and an S3 server, running; gone afterwards, or the test fails."""
    folder = tmp_path_factory.mktemp("stack")
    saved = dict(os.environ)
    with LocalStack(folder, PROJECT / "config" / "test.toml") as running:
        os.environ.update(running.s3_environment)
        yield running
    os.environ.clear()
    os.environ.update(saved)
    assert processes_with(str(folder)) == []


@pytest.fixture(scope="session")
def stores(stack: LocalStack) -> Stores:
    """The two buckets of the running stack."""
    opened = open_stores(config.load(stack.config).store)
    opened.reviews.create_if_missing()
    opened.models.create_if_missing()
    return opened


@pytest.fixture(scope="session")
def api(stack: LocalStack, stores: Stores) -> AirflowApi:
    """Airflow's REST API, with both DAGs parsed and unpaused."""
    client = AirflowApi(stack.ui_url, username="admin", password=stack.password)
    client.wait_for_dags(["reviews_ingest", "sentiment_retrain"], timeout_seconds=60)
    for dag_id in ("sentiment_retrain", "reviews_ingest"):
        client.unpause(dag_id)
    return client
