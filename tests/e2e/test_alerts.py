"""Alerts of the real Airflow: from a run's last task, from its deadline, and from the backstop."""

from __future__ import annotations

import json
from datetime import date

import pytest

from tests.support.made.builders import deliver
from tests.support.timing import HANG_SECONDS, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.long]

INGEST, ROLLBACK = "reviews_ingest", "sentiment_rollback"
HELD_NIGHT = date(2026, 3, 20)


def told(posts, run_id):
    every = [json.loads(one.body) for one in posts.received]
    return sorted(one["kind"] for one in every if one["run_id"] == run_id)


def wait_until_told(posts, run_id, kind):
    wait_for(lambda: kind in told(posts, run_id), f"{run_id} did not tell {kind}")


def deliver_broken(stores, night):
    deliver(stores, f"landing/web/{night}/a.csv", b"no,such,columns\n1,2,3\n" + str(night).encode())


@pytest.fixture(scope="module")
def held_run(api, stores, scheduled_run):
    """The run of a night whose only file is held; the scheduled one must not take it up."""
    deliver_broken(stores, HELD_NIGHT)
    return api.trigger_night(INGEST, HELD_NIGHT)


def test_a_held_delivery_and_a_late_night_are_told_once_each(api, posts, held_run):
    """The first by the last task in a worker, the second by the deadline in the triggerer."""
    state = api.wait(INGEST, held_run, timeout_seconds=HANG_SECONDS)
    wait_until_told(posts, held_run, "night_late")

    assert state == "failed"
    assert told(posts, held_run) == ["held_delivery", "night_late"]


def test_clearing_the_run_tells_nothing_again(api, posts, held_run):
    api.clear(INGEST, held_run, "summarize_night")

    state = api.wait(INGEST, held_run, timeout_seconds=HANG_SECONDS)

    assert state == "failed"
    assert told(posts, held_run) == ["held_delivery", "night_late"]


def test_a_failed_run_whose_last_task_did_not_run_is_told_by_the_dag_processor(api, posts):
    """Also where the form has a field that must be filled."""
    api.wait_for_dags([ROLLBACK], timeout_seconds=HANG_SECONDS)
    nobody = {"to": "0" * 20, "reason": "there is no such version"}
    run_id = api.trigger(ROLLBACK, logical_date=None, conf=nobody)
    api.mark(ROLLBACK, run_id, "alert", "skipped")
    api.unpause(ROLLBACK)  # only now, or the task might run before it is marked

    state = api.wait(ROLLBACK, run_id, timeout_seconds=HANG_SECONDS)
    wait_until_told(posts, run_id, "rollback_failed")

    states = {task["task_id"]: task["state"] for task in api.tasks(ROLLBACK, run_id)}
    assert (state, states["alert"]) == ("failed", "skipped")
    assert told(posts, run_id) == ["rollback_failed"]
