"""Who may do what on the pages with the roles of Airflow's FAB, as docker compose has them."""

from __future__ import annotations

import httpx
import pytest

from ops.services.processes import free_port
from ops.services.stack import LocalStack
from tests.support.settings_file import write_settings
from tests.support.timing import HANG_SECONDS

pytestmark = [pytest.mark.e2e, pytest.mark.long]

ROLES = {"admin": "Admin", "operator": "Op", "oncall": "OnCall", "viewer": "Viewer"}


@pytest.fixture(scope="module")
def fab(tmp_path_factory):
    """An Airflow that keeps its users in its database."""
    folder = tmp_path_factory.mktemp("fab")
    settings = write_settings(folder / "settings.toml", {})
    with LocalStack(
        folder, settings, roles=ROLES, has_fab=True, ui_port=free_port(), s3_port=free_port()
    ) as stack:
        yield stack


@pytest.mark.parametrize("name", ROLES)
def test_everybody_may_read_all_but_the_viewer_start_a_replay_and_operators_pause(fab, name):
    body = {"username": name, "password": name}
    reply = httpx.post(f"{fab.ui_url}/auth/token", json=body, timeout=HANG_SECONDS)
    headers = {"Authorization": f"Bearer {reply.json()['access_token']}"}

    read = httpx.get(f"{fab.ui_url}/api/v2/dags", headers=headers, timeout=HANG_SECONDS)
    started = httpx.post(
        f"{fab.ui_url}/api/v2/dags/reviews_replay/dagRuns",
        headers=headers, json={"logical_date": None, "conf": {}}, timeout=HANG_SECONDS,
    )  # fmt: skip

    paused = httpx.patch(
        f"{fab.ui_url}/api/v2/dags/reviews_replay",
        headers=headers, json={"is_paused": False}, timeout=HANG_SECONDS,
    )  # fmt: skip

    assert read.status_code == 200
    assert (started.status_code == 403) == (name == "viewer")
    assert (paused.status_code == 403) == (name in {"viewer", "oncall"})
