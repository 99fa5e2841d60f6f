"""What Airflow's app, with FAB's roles, answers to a user of each role.

A program, since a process has one Airflow: it prints, as JSON, what each role was not refused.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

ROLES = ("Viewer", "OnCall", "User", "Op", "Admin")
_NO_RUN = "dagRuns/none"
_SINCE = {"from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-02T00:00:00Z"}
STARTED = (
    "reviews_replay", "sentiment_rollback", "sentiment_release", "stars_rollback", "stars_release",
    "sentiment_retrain", "stars_retrain", "reviews_ingest",
)  # fmt: skip
ASKED: dict[str, tuple[str, str, Any]] = {
    "read": ("GET", "/api/v2/dags/reviews_ingest", None),
    "answer": (
        "PATCH", f"/api/v2/dags/sentiment_retrain/{_NO_RUN}/taskInstances/ask/-1/hitlDetails",
        {"chosen_options": ["Approve"]},
    ),
    "retry tasks": (
        "POST", "/api/v2/dags/sentiment_retrain/clearTaskInstances", {"dry_run": True}
    ),
    "retry a run": ("POST", f"/api/v2/dags/reviews_ingest/{_NO_RUN}/clear", {"dry_run": True}),
    "delete a run": ("DELETE", f"/api/v2/dags/reviews_ingest/{_NO_RUN}", None),
    "pause": ("PATCH", "/api/v2/dags/sentiment_retrain", {"is_paused": True}),
    "pause all": ("PATCH", "/api/v2/dags?dag_id_pattern=%25", {"is_paused": True}),
    "pause all, naming one": (
        "PATCH", "/api/v2/dags?dag_id=reviews_replay&dag_id_pattern=%25", {"is_paused": True}
    ),
    "backfill": ("POST", "/api/v2/backfills", {"dag_id": "sentiment_retrain", **_SINCE}),
    "send an asset's event": ("POST", "/api/v2/assets/events", {"asset_id": 1}),
    "connections": ("GET", "/api/v2/connections", None),
    "variables": ("GET", "/api/v2/variables", None),
    "settings": ("GET", "/api/v2/config", None),
    "users": ("GET", "/auth/fab/v1/users", None),
    "roles": ("GET", "/auth/fab/v1/roles", None),
    **{f"start {dag}": ("POST", f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None})
       for dag in STARTED},
}  # fmt: skip


def answers(client: Any, role: str) -> list[str]:
    login = client.post("/auth/token", json={"username": role, "password": role})
    headers = {"Authorization": f"Bearer {login.json()['access_token']}"}
    allowed = []
    for name, (method, path, body) in ASKED.items():
        reply = client.request(method, path, headers=headers, json=body)
        if reply.status_code not in {401, 403}:
            assert reply.status_code < 500, (name, reply.text)
            allowed.append(name)
    for dag in STARTED:
        page = client.get(f"/retraining/forms/{dag}", headers=headers)
        assert page.status_code == 200, (dag, page.text)
        if "not start a run" not in page.text:
            allowed.append(f"press {dag}")
    return allowed


def main() -> None:
    from airflow.utils.db import initdb
    from fastapi.testclient import TestClient

    from ops.services import fab_users
    from plugins import on_call
    from tests.support.made.dag_runs import parsed_dags
    from tests.support.services.airflow_pages import store_dags

    initdb()
    for _ in range(2):
        on_call.main()
    os.environ[fab_users.USERS_VARIABLE] = json.dumps({role: (role, role) for role in ROLES})
    fab_users.main()
    store_dags(list(parsed_dags().dags.values()))
    from airflow.api_fastapi.app import create_app

    with TestClient(create_app(), raise_server_exceptions=False) as client:
        sys.stdout.write(f"\n{json.dumps({role: answers(client, role) for role in ROLES})}\n")


if __name__ == "__main__":
    main()
