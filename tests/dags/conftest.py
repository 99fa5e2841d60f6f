"""Airflow in process. Its environment must be set before it is first imported."""

import os
import tempfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
_HOME = Path(tempfile.mkdtemp(prefix="airflow-tests-"))

os.environ.update(
    {
        "AIRFLOW_HOME": str(_HOME),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(_HOME / "logs"),
        "AIRFLOW__API_AUTH__JWT_SECRET": "t" * 64,
    }
)


@pytest.fixture(scope="session")
def airflow_db():
    """A fresh metadata database in SQLite."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(scope="session")
def dagbag(airflow_db):
    """All DAGs of the project, with the default settings."""
    from tests.support.made.dag_runs import parsed_dags

    return parsed_dags()


@pytest.fixture(scope="module")
def served(airflow_db, tmp_path_factory):
    """Airflow's app with the plugin, and a viewer, an operator and an admin."""
    from tests.support.services.airflow_pages import airflow_app

    with airflow_app(tmp_path_factory.mktemp("login")) as client:
        yield client


@pytest.fixture(scope="session", autouse=True)
def _home_is_removed():
    import shutil

    yield
    shutil.rmtree(_HOME, ignore_errors=True)
