"""The pages as Airflow serves them: its own login and roles, on every route."""

import html
import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from pipelines.core import links
from tests.support.services.airflow_pages import as_user, store_dags

PROJECT = Path(__file__).resolve().parents[2]
HEAVY = ["pandas", "sklearn", "great_expectations", "boto3", "fastapi", "jinja2"]

pytestmark = pytest.mark.airflow


def routes():
    import retraining_pages

    fill = {"dag_id": "reviews_ingest", "run_id": "manual__1", "version": "a" * 20,
            "folder": f"00000000-{'d' * 16}", "delivery": "e" * 64, "basis": "f" * 16,
            "night": "2026-01-05", "source": "web", "name": "replay"}  # fmt: skip
    return [
        (method, links.ROOT + route.path.format(**fill))
        for route in retraining_pages.app().routes
        for method in route.methods
    ]


def test_nobody_gets_a_page_without_airflows_login(served):
    answers = {route: served.request(*route).status_code for route in routes()}

    assert len(answers) >= 8
    assert set(answers.values()) == {401}, answers


def test_the_page_leads_to_airflows_login_and_the_login_back_to_the_page(served):
    page = "/retraining/decisions?page=2"

    link = re.search(r'href="([^"]*)">Log in</a>', served.get(page).text)[1]
    answer = served.get(html.unescape(link))

    login = urlsplit(answer.headers["location"])
    assert answer.status_code == 307
    assert (login.netloc, login.path) == ("", "/auth/login")
    assert parse_qs(login.query) == {"next": [page]}


def test_a_forged_login_gets_no_page(served):
    forged = {"Authorization": "Bearer forged.forged.forged"}

    answers = {served.request(*route, headers=forged).status_code for route in routes()}

    assert answers == {403}


def test_a_store_that_does_not_answer_is_a_page_that_says_so(served):
    answer = served.get("/retraining/champion", headers=as_user(served, "vera"))

    assert answer.status_code == 503
    assert "reload this page in a moment" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_configuration_that_cannot_be_used_is_a_page_that_says_so(served, monkeypatch, tmp_path):
    import retraining_pages

    broken = tmp_path / "broken.toml"
    broken.write_text("[store\n")
    monkeypatch.setenv("LOOP_CONFIG", str(broken))
    retraining_pages.app.cache_clear()

    answer = served.get("/retraining/champion", headers=as_user(served, "vera"))

    assert answer.status_code == 500
    assert "The configuration cannot be used" in answer.text
    assert "LOOP_CONFIG" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.fixture
def known_dag(served, dagbag):
    """`sentiment_rollback` as the dag-processor would have stored it."""
    dag = dagbag.dags["sentiment_rollback"]
    store_dags([dag])
    return dag.dag_id


def test_an_operator_gets_the_dags_own_fields_and_a_viewer_is_told_why_not(served, known_dag):
    path = links.form_link(known_dag, {"to": "b" * 20})

    operator = served.get(path, headers=as_user(served, "olga"))
    viewer = served.get(path, headers=as_user(served, "vera"))

    assert operator.status_code == viewer.status_code == 200
    assert f'value="{"b" * 20}"' in operator.text
    assert "Kept permanently in the champion log." in operator.text
    assert "<form" not in viewer.text
    assert "needs the right to start runs of sentiment_rollback" in viewer.text


def sealed(served, path, name):
    page = served.get(path, headers=as_user(served, name)).text
    return re.findall(r'name="_seal" value="([0-9]+\.[0-9a-f]{64})"', page)


def test_an_operator_starts_a_run_under_their_own_name(served, known_dag):
    path = links.form_link(known_dag)
    (seal,) = sealed(served, path, "olga")
    filled = {"_seal": seal, "to": "previous", "reason": "to see", "dry_run": "true"}

    answer = served.post(path, data=filled, headers=as_user(served, "olga"))

    run = served.get(answer.headers["location"], headers=as_user(served, "vera"))
    runs = served.get(f"/api/v2/dags/{known_dag}/dagRuns", headers=as_user(served, "ada")).json()
    started = "/api/v2/eventLogs?event=trigger_dag_run"
    log = served.get(started, headers=as_user(served, "ada")).json()["event_logs"]
    assert answer.status_code == 303
    assert ("trigger_dag_run", "olga") in {(one["event"], one["owner"]) for one in log}
    assert runs["dag_runs"][-1]["triggering_user_name"] == "olga"
    assert runs["dag_runs"][-1]["conf"] == {"to": "previous", "reason": "to see", "dry_run": True}
    assert "It has no plan yet: it is queued." in run.text


def test_what_the_dag_does_not_take_starts_nothing_and_is_said(served, known_dag):
    path = links.form_link(known_dag)
    (seal,) = sealed(served, path, "olga")

    answer = served.post(
        path, data={"_seal": seal, "to": "whatever", "reason": "to see"},
        headers=as_user(served, "olga"),
    )  # fmt: skip

    assert answer.status_code == 400
    assert "Airflow did not start a run" in answer.text
    assert "whatever" in answer.text


def test_a_viewer_starts_nothing_even_with_an_operators_form(served, known_dag):
    path = links.form_link(known_dag)
    (seal,) = sealed(served, path, "olga")

    answer = served.post(
        path, data={"_seal": seal, "to": "previous", "reason": "to see"},
        headers=as_user(served, "vera"),
    )  # fmt: skip

    assert answer.status_code == 403


def test_airflow_knows_the_pages_and_the_tab(served):
    plugins = served.get("/api/v2/plugins", headers=as_user(served, "ada")).json()["plugins"]

    (ours,) = [one for one in plugins if one["name"] == "retraining_pages"]
    views = {one["name"]: (one["destination"], one["href"]) for one in ours["external_views"]}
    assert views == {
        "Champion": ("nav", "/retraining/champion"),
        "Decisions": ("nav", "/retraining/decisions"),
        "Incidents": ("nav", "/retraining/incidents"),
        "Monitoring": ("nav", "/retraining/monitoring"),
        "Run report": ("dag_run", "/retraining/runs/{DAG_ID}/{RUN_ID}"),
    }


def test_loading_the_plugin_costs_a_worker_next_to_nothing():
    code = (
        "import sys, json; sys.path[:0] = ['plugins', '.']\n"
        "import airflow.plugins_manager\n"
        "before = set(sys.modules)\n"
        "import retraining_pages\n"
        f"print(json.dumps(sorted((set(sys.modules) - before) & set({HEAVY!r}))))"
    )

    reply = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )

    assert json.loads(reply.stdout.splitlines()[-1]) == []
