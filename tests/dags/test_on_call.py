"""The role OnCall in an Airflow with FAB's roles: by its API, and on the pages of the loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.services.fab_answers import ASKED, STARTED
from tests.support.settings_file import write_settings
from tests.support.timing import HANG_SECONDS

PROJECT = Path(__file__).resolve().parents[2]
MAY_START = {
    "reviews_replay", "sentiment_rollback", "sentiment_release", "stars_rollback", "stars_release"
}  # fmt: skip
ADMINS_OWN = {"users", "roles"}
OPERATORS_OWN = {"connections", "variables", "settings"}

pytestmark = [pytest.mark.airflow, pytest.mark.attack]


@pytest.fixture(scope="module")
def may(tmp_path_factory) -> dict[str, set[str]]:
    """What a user of each role may do, with two models."""
    folder = tmp_path_factory.mktemp("fab")
    settings = write_settings(folder / "settings.toml", {"models": {"stars": {"seed": 7}}})
    own = {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "AIRFLOW__CORE__AUTH_MANAGER": "plugins.on_call.LoopFabAuthManager",
        "AIRFLOW__API__SECRET_KEY": "s" * 64,
        "AIRFLOW__API__EXPOSE_CONFIG": "non-sensitive-only",
        "LOOP_CONFIG": str(settings),
        "PYTHONPATH": str(PROJECT),
        # Nobody listens there: no page that is asked for reads records.
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.services.fab_answers"], cwd=PROJECT,
        env={**os.environ, **own}, capture_output=True, text=True, timeout=HANG_SECONDS,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-5000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    return {role: set(allowed) for role, allowed in found.items()}


def test_who_is_on_call_answers_retries_and_starts_what_mends_and_nothing_else(may):
    starts = {f"{verb} {dag}" for verb in ("start", "press") for dag in MAY_START}

    assert may["OnCall"] == {"read", "answer", "retry tasks", "retry a run"} | starts


def test_a_viewer_only_reads(may):
    assert may["Viewer"] == {"read"}


def test_operators_and_admins_keep_what_airflow_gives_them(may):
    everything = ASKED.keys() | {f"press {dag}" for dag in STARTED}

    assert may["Admin"] == everything
    assert may["Op"] == everything - ADMINS_OWN
    assert may["User"] >= may["OnCall"] | {"pause", "pause all", "start sentiment_retrain"}
    assert not may["User"] & (OPERATORS_OWN | ADMINS_OWN)


def test_no_component_of_airflow_loads_the_auth_manager_as_a_plugin():
    program = (
        "import sys\nfrom airflow import plugins_manager\n"
        "print([one.name for one in plugins_manager._get_plugins()[0]])\n"
        "print('flask_appbuilder' in sys.modules)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        timeout=HANG_SECONDS,
    )  # fmt: skip

    *_, plugins, is_loaded = ended.stdout.splitlines()
    assert "retraining_pages" in plugins
    assert is_loaded == "False"
