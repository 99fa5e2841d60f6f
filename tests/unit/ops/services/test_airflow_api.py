"""What the demo and the benchmarks assume of Airflow's schedule, and how they wait for answers."""

from __future__ import annotations

import functools
import json
from datetime import UTC, date, datetime

import httpx
import pytest

from ops.services.airflow_api import AirflowApi, last_complete_night
from ops.services.processes import StackError


@pytest.mark.parametrize(
    ("now", "night"),
    [("2026-03-10T01:59:59", "2026-03-08"), ("2026-03-10T02:00:00", "2026-03-09"),
     ("2026-03-10T23:59:59", "2026-03-09")],
)  # fmt: skip
def test_the_schedulers_own_night_is_the_last_whose_interval_is_over(now, night):
    """Played by the demo as well, it would be refused: two runs of one date."""
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)

    assert last_complete_night(moment) == date.fromisoformat(night)


class BusyAirflow:
    """Answers a call only the second time it is made; a trigger it carries out the first time."""

    def __init__(self, *, answers=True):
        self.calls, self.runs, self.bodies, self.answers = [], [], [], answers

    def __call__(self, request):
        call = f"{request.method} {request.url.path}"
        self.calls.append(call)
        if call == "POST /auth/token":
            return httpx.Response(201, json={"access_token": "token"})
        body = json.loads(request.content or "{}")
        is_new = "dag_run_id" in body and body["dag_run_id"] not in self.runs
        if is_new:
            self.runs.append(body["dag_run_id"])
            self.bodies.append(body)
        if not self.answers or self.calls.count(call) == 1:
            raise httpx.ReadTimeout("timed out", request=request)
        if "dag_run_id" in body:
            return httpx.Response(200 if is_new else 409, json=body)
        return httpx.Response(503 if self.calls.count(call) == 2 else 200, json={"state": "queued"})


@pytest.fixture
def airflow(monkeypatch):
    made = BusyAirflow()
    transport = httpx.MockTransport(made)
    monkeypatch.setattr("httpx.Client", functools.partial(httpx.Client, transport=transport))
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    return made


def test_what_is_not_answered_is_asked_again(airflow):
    api = AirflowApi("http://here", username="admin", password="admin")

    assert api.state("a_dag", "a_run") == "queued"
    assert airflow.calls.count("GET /api/v2/dags/a_dag/dagRuns/a_run") == 3


def test_a_run_whose_start_was_not_answered_is_started_once(airflow):
    api = AirflowApi("http://here", username="admin", password="admin")

    run_id = api.trigger("a_dag", logical_date=None)

    assert airflow.runs == [run_id]
    assert airflow.calls.count("POST /api/v2/dags/a_dag/dagRuns") == 2


def test_a_run_may_start_at_once_by_a_clock_of_whole_seconds(airflow):
    api = AirflowApi("http://here", username="admin", password="admin")

    api.trigger("a_dag", logical_date=None)

    run_after = datetime.fromisoformat(airflow.bodies[0]["run_after"])
    assert run_after < datetime.now(UTC).replace(microsecond=0)


def test_an_airflow_that_never_answers_is_an_error_that_names_the_call_and_the_cure(airflow):
    api = AirflowApi("http://here", username="admin", password="admin", patience_seconds=0)
    airflow.answers = False

    with pytest.raises(StackError, match=r"GET /api/v2/dags/a_dag .*busy: stop them.*\.log"):
        api.has_dag("a_dag")


def test_what_an_asset_starts_is_known_and_a_file_is_read_again(monkeypatch):
    asked = []
    answers = {
        "POST /auth/token": {"access_token": "token"},
        "GET /api/v2/dags/weigh": {"file_token": "token-of-its-file"},
        "GET /api/v2/assets": {"assets": [
            {"scheduled_dags": [{"dag_id": "weigh"}, {"dag_id": "watch"}]},
        ]},
    }  # fmt: skip

    def answer(request):
        asked.append(f"{request.method} {request.url.path}")
        return httpx.Response(201, json=answers.get(asked[-1], {}))

    transport = httpx.MockTransport(answer)
    monkeypatch.setattr("httpx.Client", functools.partial(httpx.Client, transport=transport))
    api = AirflowApi("http://here", username="admin", password="admin")

    api.read_again("weigh")

    assert asked[-1] == "PUT /api/v2/parseDagFile/token-of-its-file"
    assert api.started_by("reviews_accepted") == {"weigh", "watch"}
