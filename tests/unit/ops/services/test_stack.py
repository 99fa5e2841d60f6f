"""How the components of a local Airflow are started; that they run is tested end to end."""

import pytest
from sqlalchemy import make_url

from ops.services.stack import PROJECT, LocalStack

URL = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
POSTGRESQL = "postgresql+psycopg2://loop:secret@db.example/airflow"


class Recorder:
    """Starts nothing, and keeps the environment that each component would get."""

    def __init__(self):
        self.environments = {}

    def spawn(self, name, _command, *, environment):
        self.environments[name] = environment

    def run(self, name, _command, *, environment, timeout_seconds):
        assert timeout_seconds > 0
        self.environments[name] = environment

    def wait_for(self, _name, _is_up, *, timeout_seconds):
        assert timeout_seconds > 0


@pytest.fixture
def urls_with(tmp_path):
    """The database's address of each component."""

    def urls(database):
        stack = LocalStack(
            tmp_path, PROJECT / "config" / "demo.toml", database_url=database, given_s3={}
        )
        stack._processes = recorder = Recorder()
        stack._start_airflow()
        return {name: make_url(env[URL]) for name, env in recorder.environments.items()}

    return urls


def test_the_api_server_waits_for_sqlites_lock_for_a_short_time_and_all_others_patiently(urls_with):
    waits = {name: int(url.query["timeout"]) for name, url in urls_with("").items()}

    others = {name: seconds for name, seconds in waits.items() if name != "api-server"}
    assert set(others) == {"migrate", "scheduler", "triggerer", "dag-processor"}
    assert set(others.values()) == {300}
    assert waits["api-server"] == 20


def test_all_use_one_database(urls_with, tmp_path):
    of_sqlite = {url.database for url in urls_with("").values()}
    of_postgresql = {url.render_as_string(False) for url in urls_with(POSTGRESQL).values()}

    assert of_sqlite == {f"{tmp_path}/airflow/airflow.db"}
    assert of_postgresql == {POSTGRESQL}


def test_what_one_process_compiled_serves_all_others(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    stack = LocalStack(tmp_path, PROJECT / "config" / "demo.toml", given_s3={})

    assert "PYTHONDONTWRITEBYTECODE" not in stack.environment
