"""A model waits for a person in the real Airflow: nobody answers, one approves, one rejects.

Three versions of a model that has no champion, so each of them asks.
"""

from __future__ import annotations

import time
from datetime import date

import pytest
from builders import deliver
from settings_file import write_settings

from ops.airflow_api import FINISHED, AirflowApi
from pipelines import config, promotion, replayer, steps
from pipelines.made_up import make_reviews
from pipelines.registry import Registry

pytestmark = pytest.mark.e2e

RETRAIN, NAME = "sentiment_retrain", "asked"
SECONDS = 540
# Airflow 3.3.2 can lose an answer that comes sooner; `ask` then asks again half a minute later.
PATIENCE_SECONDS = 3
SILENT_SECONDS = 2  # how long the one question waits that nobody answers


def wait_for(find, what):
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if found := find():
            return found
        time.sleep(0.3)
    raise TimeoutError(what)


def task_states(api, run_id):
    return {task["task_id"]: task["state"] for task in api.tasks(RETRAIN, run_id)}


def question(api, run_id):
    """The run's open question, once it can be answered without being lost."""
    wait_for(lambda: task_states(api, run_id)["ask"] == "awaiting_input", f"{run_id} does not ask")
    time.sleep(PATIENCE_SECONDS)
    (found,) = api.questions(RETRAIN, run_id)
    return found


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
        # Made-up reviews are alike, so many of those held out resemble one that was trained on.
        "gate": {"ask_for_first_model": True, "max_overlap_share": 1.0},
    }

    def change(*, timeout_hours):
        write_settings(stack.config, sections | {"approval": {"timeout_hours": timeout_hours}})

    yield change
    stack.config.write_text(before, encoding="utf-8")


@pytest.fixture(scope="module")
def runs(api, stores, change_settings):
    """Run ids: two questions stay open, and one is put that nobody answers."""
    plans = [replayer.NightPlan(date(2026, 2, 2), (replayer.DeliveryPlan("web", 600, "csv"),))]
    for delivery in replayer.replay(make_reviews(600, seed=5), plans, seed=0):
        arrival = steps.land(deliver(stores, delivery.key, delivery.body), "2026-02-02")
        steps.accept(arrival, steps.validate(arrival))
    wait_for(lambda: is_quiet(api), "runs of other tests go on")
    change_settings(timeout_hours=20)
    started = {says: start(api, seed) for seed, says in enumerate(("approved", "rejected"))}
    for run_id in started.values():
        question(api, run_id)
    change_settings(timeout_hours=SILENT_SECONDS / 3600)
    return started | {"silent": start(api, seed=2)}


def is_quiet(api):
    """Whether no run would read the settings that are about to change, except to ask."""
    going_on = [run for dag_id in (RETRAIN, "reviews_ingest") for run in api.runs(dag_id)
                if run["state"] not in FINISHED]  # fmt: skip
    return all(api.questions(run["dag_id"], run["dag_run_id"]) for run in going_on)


def start(api, seed):
    return api.trigger(RETRAIN, logical_date=None, conf={"seed": seed})


@pytest.fixture(scope="module")
def registry(stores):
    return Registry(stores.models, NAME)


def test_no_answer_in_time_is_a_no_that_nobody_said(api, runs, registry):
    state = api.wait(RETRAIN, runs["silent"], timeout_seconds=SECONDS)

    states = task_states(api, runs["silent"])
    version = api.xcom(RETRAIN, runs["silent"], "plan").rpartition("/")[2].removesuffix(".json")
    decision = registry.decision(registry.decision_keys(version)[-1])
    assert state == "success"
    assert (states["ask"], states["record_answer"]) == ("success", "success")
    assert (states["promote"], states["confirm"]) == ("skipped", "skipped")
    assert "Nobody approved version" in log_of(api, runs["silent"], "record_answer")
    assert promotion.find_approval(registry, decision) is None
    assert promotion.is_open(registry, decision)
    assert registry.champion() is None


def test_who_may_only_look_cannot_answer(api, stack, runs):
    viewer = AirflowApi(stack.ui_url, username="viewer", password="viewer")
    asked = question(api, runs["approved"])

    refused = viewer.answer(RETRAIN, runs["approved"], "ask", "Approve", why="I would like it")

    assert refused.status_code == 403
    assert viewer.questions(RETRAIN, runs["approved"])[0]["subject"] == asked["subject"]
    assert task_states(api, runs["approved"])["ask"] == "awaiting_input"


def test_a_first_model_waits_for_a_person_and_the_log_says_who_approved_it_and_why(
    api, stack, runs, registry
):
    ops = AirflowApi(stack.ui_url, username="ops", password="ops")
    run_id = runs["approved"]
    asked = question(ops, run_id)
    champion_before = registry.champion()

    taken = ops.answer(RETRAIN, run_id, "ask", "Approve", why="errors are few and even")
    state = api.wait(RETRAIN, run_id, timeout_seconds=SECONDS)

    assert "no champion to compare it with (verdict **PROMOTE**)" in asked["body"]
    assert "| ok | accuracy\\_floor | Accuracy is " in asked["body"]
    assert champion_before is None
    assert (taken.status_code, state) == (200, "success")
    (entry,) = registry.history()
    assert entry.actor == f"ops on airflow {RETRAIN} {run_id}"
    assert entry.reason == "errors are few and even"
    assert entry.version in asked["body"]
    approval = registry.find_approval(entry.decision_key)
    assert approval.digest() == entry.approval_sha256
    assert ops.answer(RETRAIN, run_id, "ask", "Reject", why="too late now").status_code == 409


def test_a_rejected_model_is_not_promoted_and_the_run_is_green(api, stack, runs, registry):
    ops = AirflowApi(stack.ui_url, username="ops", password="ops")
    run_id = runs["rejected"]
    asked = question(ops, run_id)
    before = registry.history()

    ops.answer(RETRAIN, run_id, "ask", "Reject", why="the other one is better")
    state = api.wait(RETRAIN, run_id, timeout_seconds=SECONDS)

    states = task_states(api, run_id)
    version = api.xcom(RETRAIN, run_id, "plan").rpartition("/")[2].removesuffix(".json")
    approval = registry.find_approval(registry.decision_keys(version)[0])
    assert version in asked["body"]
    assert (state, states["promote"]) == ("success", "skipped")
    assert (approval.answer, approval.reason) == ("reject", "the other one is better")
    assert registry.history() == before
