"""A model waits for a person in the real Airflow: nobody answers, one approves, one rejects.

Two versions of a model that has no champion, so both of them ask.
"""

from __future__ import annotations

import json
import re
import time
from datetime import date

import pytest

from ops.services.airflow_api import FINISHED, AirflowApi
from pipelines.core import config
from pipelines.registry import approvals
from pipelines.registry.registry import Registry
from pipelines.simulation import film_site
from pipelines.simulation import plans as simulation_plans
from pipelines.simulation.made_up import make_reviews
from pipelines.steps import ingest
from tests.support.made.builders import deliver
from tests.support.settings_file import write_settings
from tests.support.timing import HANG_SECONDS, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.long]

RETRAIN, NAME = "sentiment_retrain", "asked"
# Airflow 3.3.2 can lose an answer that comes sooner; `ask` then asks again half a minute later.
PATIENCE_SECONDS = 3
# Whether a model of 600 made-up reviews is any good is not asked here.
NO_FLOORS = {"max_overlap_share": 1.0, "min_accuracy": 0.0, "min_recall": 0.0, "max_log_loss": 99.0}
SILENT_SECONDS = 2  # how long the questions wait that nobody answers


def task_states(api, run_id):
    return {task["task_id"]: task["state"] for task in api.tasks(RETRAIN, run_id)}


def question(api, run_id):
    """The run's open question, once it can be answered without being lost."""
    wait_for(lambda: task_states(api, run_id)["ask"] == "awaiting_input", f"{run_id} does not ask")
    time.sleep(PATIENCE_SECONDS)
    (found,) = api.questions(RETRAIN, run_id)
    return found


def answer(client, run_id, option, why):
    """Answer, and again should Airflow lose it; the first reply, and how the run ended."""
    reply = client.answer(RETRAIN, run_id, "ask", option, why=why)

    def end():
        if client.questions(RETRAIN, run_id):  # it asks again
            client.answer(RETRAIN, run_id, "ask", option, why=why)
        state = client.state(RETRAIN, run_id)
        return state if state in FINISHED else ""

    return reply, wait_for(end, f"{run_id} did not end")


def log_of(api, run_id, task_id):
    path = f"/dags/{RETRAIN}/dagRuns/{run_id}/taskInstances/{task_id}/logs/1"
    return str(api.get(path)["content"])


@pytest.fixture(scope="module")
def change_settings(stack):
    """Change what tasks read when they start; as it was afterwards."""
    before = stack.config.read_text(encoding="utf-8")
    store = config.load(stack.config).store
    sections = {
        "store": {"reviews_bucket": store.reviews_bucket, "models_bucket": store.models_bucket},
        "model": {"name": NAME},
        "gate": {"ask_for_first_model": True, **NO_FLOORS},
        "alerts": {"webhook": {"is_enabled": True, "timeout_seconds": 60}},
    }

    def change(*, timeout_hours):
        write_settings(stack.config, sections | {"approval": {"timeout_hours": timeout_hours}})

    yield change
    stack.config.write_text(before, encoding="utf-8")


@pytest.fixture(scope="module")
def silent_runs(api, stores, change_settings):
    """Two runs of two versions, whose questions nobody answers in time."""
    plans = [
        simulation_plans.NightPlan(
            date(2026, 2, 2), (simulation_plans.DeliveryPlan("web", 600, "csv"),)
        )
    ]
    for delivery in film_site.simulate(make_reviews(600, seed=5), plans, seed=0):
        arrival = ingest.land(deliver(stores, delivery.key, delivery.body), "2026-02-02")
        ingest.accept(arrival, ingest.validate(arrival))
    wait_for(lambda: is_quiet(api), "runs of other tests go on")
    change_settings(timeout_hours=SILENT_SECONDS / 3600)
    return [api.trigger(RETRAIN, logical_date=None, conf={"seed": seed}) for seed in (1, 2)]


@pytest.fixture(scope="module")
def open_runs(api, silent_runs, change_settings):
    """The same runs, asking once more and with plenty of time."""
    for run_id in silent_runs:
        api.wait(RETRAIN, run_id, timeout_seconds=HANG_SECONDS)
    change_settings(timeout_hours=20)
    for run_id in silent_runs:
        api.clear(RETRAIN, run_id, "ask")
    return silent_runs


@pytest.fixture
def ops(stack):
    return AirflowApi(stack.ui_url, username="ops", password="ops")


def is_quiet(api):
    """Whether no run would read the settings that are about to change, except to ask."""
    going_on = [run for dag_id in (RETRAIN, "reviews_ingest") for run in api.runs(dag_id)
                if run["state"] not in FINISHED]  # fmt: skip
    return all(api.questions(run["dag_id"], run["dag_run_id"]) for run in going_on)


def decision_of(api, run_id, registry):
    _, _, key = api.xcom(RETRAIN, run_id, "decide").partition(f"{registry.models.name}/")
    return registry.decisions.decision(key)


@pytest.fixture(scope="module")
def registry(stores):
    return Registry(stores.models, NAME)


def test_no_answer_in_time_is_a_no_that_nobody_said(api, silent_runs, registry):
    run_id = silent_runs[0]
    state = api.wait(RETRAIN, run_id, timeout_seconds=HANG_SECONDS)

    states = task_states(api, run_id)
    decision = decision_of(api, run_id, registry)
    assert state == "success"
    assert (states["ask"], states["record_answer"]) == ("success", "success")
    assert (states["promote"], states["confirm"]) == ("skipped", "skipped")
    assert "Nobody approved version" in log_of(api, run_id, "record_answer")
    assert approvals.find_approval(registry, decision) is None
    assert approvals.is_open(registry, decision)
    assert registry.log.champion() is None


def test_who_may_only_look_cannot_answer(api, stack, open_runs):
    viewer = AirflowApi(stack.ui_url, username="viewer", password="viewer")
    asked = question(api, open_runs[0])

    refused = viewer.answer(RETRAIN, open_runs[0], "ask", "Approve", why="I would like it")

    assert refused.status_code == 403
    assert viewer.questions(RETRAIN, open_runs[0])[0]["subject"] == asked["subject"]
    assert task_states(api, open_runs[0])["ask"] == "awaiting_input"


def test_a_first_model_waits_for_a_person_and_the_log_says_who_approved_it_and_why(
    ops, open_runs, registry
):
    run_id = open_runs[0]
    asked = question(ops, run_id)
    champion_before = registry.log.champion()

    taken, state = answer(ops, run_id, "Approve", "errors are few and even")

    assert "no champion to compare it with (verdict **PROMOTE**)" in asked["body"]
    assert re.search(r"\d+ other rules passed", asked["body"])
    assert champion_before is None
    assert (taken.status_code, state) == (200, "success")
    (entry,) = registry.log.history()
    assert entry.actor == f"ops on airflow {RETRAIN} {run_id}"
    assert entry.reason == "errors are few and even"
    assert entry.version in asked["body"]
    assert (
        registry.decisions.find_approval(registry.decisions.decision(entry.decision_key)).digest()
        == entry.approval_sha256
    )
    assert ops.answer(RETRAIN, run_id, "ask", "Reject", why="too late now").status_code == 409


def test_somebody_was_told_once_per_run_that_it_waits_though_it_asked_twice(posts, open_runs):
    every = [json.loads(one.body) for one in posts.received]
    told = {run_id: [one["kind"] for one in every if one["run_id"] == run_id]
            for run_id in open_runs}  # fmt: skip

    assert told == {run_id: ["approval_waiting"] for run_id in open_runs}


def test_a_rejected_model_is_not_promoted_and_the_run_is_green(ops, open_runs, registry):
    run_id = open_runs[1]
    asked = question(ops, run_id)
    before = registry.log.history()

    _, state = answer(ops, run_id, "Reject", "the other one is better")

    decision = decision_of(ops, run_id, registry)
    approval = approvals.find_approval(registry, decision)
    assert decision.version in asked["body"]
    assert (state, task_states(ops, run_id)["promote"]) == ("success", "skipped")
    assert (approval.answer, approval.reason) == ("reject", "the other one is better")
    assert registry.log.history() == before
