"""One real Airflow for all end-to-end tests.

On SQLite and an S3 server on a folder, unless ``LOOP_TEST_DATABASE`` names a PostgreSQL server and
``LOOP_TEST_S3_ENDPOINT`` an S3 server.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy

from ops.services.airflow_api import AirflowApi
from ops.services.processes import free_port
from ops.services.stack import LocalStack
from pipelines.core import config
from pipelines.core.store.stores import Stores, open_stores
from tests.support.leftovers import processes_with
from tests.support.services.alert_servers import Posts, web_server
from tests.support.services.s3_under_test import CREDENTIALS, GIVEN_SERVER, THIS_RUN
from tests.support.settings_file import write_settings
from tests.support.timing import HANG_SECONDS, wait_for


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Tests that bring an Airflow of their own come first: the shared one is not up yet then.

    On the shared one the night comes first: its champion is the first of all.
    """
    items.sort(key=lambda item: ("stack" in item.fixturenames, "night" not in item.fixturenames))


@pytest.fixture(scope="session")
def database_url() -> Iterator[str]:
    """A database of this run's own; the empty text stands for SQLite."""
    with _new_database(f"loop_{THIS_RUN}") as url:
        yield url


@pytest.fixture
def own_database_url() -> Iterator[str]:
    """A database of one test's own; the empty text stands for SQLite."""
    with _new_database(f"loop_{THIS_RUN}_{uuid.uuid4().hex[:8]}") as url:
        yield url


@contextmanager
def _new_database(name: str) -> Iterator[str]:
    server = os.environ.get("LOOP_TEST_DATABASE", "")
    if not server:
        yield ""
        return
    engine = sqlalchemy.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
        yield engine.url.set(database=name).render_as_string(hide_password=False)
        connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(scope="session")
def posts() -> Iterator[Posts]:
    """The webhook that gets all alerts of this run."""
    with web_server() as server:
        yield server


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    database_url: str,
    s3_server_if_given: str,
    posts: Posts,
) -> Iterator[LocalStack]:
    """Airflow's four components and an S3 server, running; gone afterwards, or the test fails."""
    folder = tmp_path_factory.mktemp("stack")
    buckets = {name: f"{name}-{THIS_RUN}-e2e" for name in ("reviews", "models")}
    settings = write_settings(
        folder / "settings.toml",
        {
            "store": {f"{name}_bucket": bucket for name, bucket in buckets.items()},
            "gate": {"max_overlap_share": 0.1},  # made-up reviews are alike
            # Every night takes longer than these two seconds.
            "alerts": {
                "webhook": {"is_enabled": True, "timeout_seconds": 60},
                "ingest_late_minutes": 0.03,
            },
        },
    )
    given = {
        "AWS_ENDPOINT_URL_S3": s3_server_if_given,
        "AWS_ACCESS_KEY_ID": CREDENTIALS[0],
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS[1],
    }
    saved = dict(os.environ)
    with LocalStack(
        folder,
        settings,
        given_s3=given if s3_server_if_given else None,
        database_url=database_url,
        # Not the usual ports: what else runs on this machine would answer in place of this.
        ui_port=free_port(),
        s3_port=free_port(),
        roles={"admin": "admin", "ops": "op", "viewer": "viewer"},
        extra_environment={
            # Seconds between two looks for questions whose time is up.
            "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
            "LOOP_WEBHOOK_URL": posts.url,
        },
    ) as running:
        os.environ.update(running.s3_environment)
        yield running
    os.environ.clear()
    os.environ.update(saved)
    assert processes_with(str(folder)) == []


@pytest.fixture(scope="session")
def s3_server_if_given(request: pytest.FixtureRequest) -> str:
    """Address of the S3 server to use; the empty text means that the stack starts its own."""
    return str(request.getfixturevalue("s3_server")) if GIVEN_SERVER else ""


@pytest.fixture(scope="session")
def stores(stack: LocalStack) -> Stores:
    """The two buckets of the running stack."""
    opened = open_stores(config.load(stack.config))
    opened.reviews.create_if_missing()
    opened.models.create_if_missing()
    return opened


@pytest.fixture(scope="session")
def api(stack: LocalStack, stores: Stores) -> AirflowApi:
    """Airflow's REST API, with both DAGs parsed and unpaused."""
    client = AirflowApi(stack.ui_url, username="admin", password=stack.password)
    client.wait_for_dags(["reviews_ingest", "sentiment_retrain"], timeout_seconds=HANG_SECONDS)
    for dag_id in ("sentiment_retrain", "reviews_ingest"):
        client.unpause(dag_id)
    return client


@pytest.fixture(scope="session")
def scheduled_run(api: AirflowApi) -> dict[str, Any]:
    """The run of the ingest that its schedule starts as soon as it may; it has ended."""

    def found() -> list[dict[str, Any]]:
        return [run for run in api.runs("reviews_ingest") if run["run_type"] == "scheduled"]

    run = wait_for(found, "no scheduled run")[0]
    api.wait("reviews_ingest", run["dag_run_id"], timeout_seconds=HANG_SECONDS)
    return run
