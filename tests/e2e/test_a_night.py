"""A night through Airflow's own scheduler: schedule, REST, form, backfill, asset."""

from __future__ import annotations

import contextlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import make_url

from pipelines.core.store.clock import day_before
from pipelines.registry.registry import Registry
from pipelines.simulation import film_site
from pipelines.simulation import plans as simulation_plans
from pipelines.simulation.made_up import make_reviews
from tests.support.made.builders import deliver
from tests.support.timing import HANG_SECONDS, wait_for

pytestmark = pytest.mark.e2e

INGEST, RETRAIN = "reviews_ingest", "sentiment_retrain"
NIGHT = date(2026, 3, 2)


def wait(api, dag_id, run_id):
    return api.wait(dag_id, run_id, timeout_seconds=HANG_SECONDS)


def task_states(api, dag_id, run_id):
    return {
        (task["task_id"], task["map_index"]): task["state"] for task in api.tasks(dag_id, run_id)
    }


def deliver_night(stores, night, *plans):
    rows = sum(plan.rows for plan in plans)
    nights = [simulation_plans.NightPlan(night, plans)]
    table = make_reviews(rows, seed=night.toordinal())
    for delivery in film_site.simulate(table, nights, seed=1):
        deliver(stores, delivery.key, delivery.body)


def test_unpausing_runs_the_last_night_by_schedule_and_an_empty_one_is_green(api, scheduled_run):
    run = scheduled_run

    counts = api.xcom(INGEST, run["dag_run_id"], "summarize_night")
    assert api.state(INGEST, run["dag_run_id"]) == "success"
    assert run["data_interval_start"] != run["data_interval_end"]
    assert counts["status"] == "NO_NEW_DATA"
    assert counts["night"] == run["data_interval_start"][:10]
    assert task_states(api, INGEST, run["dag_run_id"])["announce", -1] == "skipped"


class Night(NamedTuple):
    """The runs of one night, which ended, and how."""

    ingest_id: str
    ingest_state: str
    retrain_id: str
    retrain_state: str


@pytest.fixture(scope="module")
def night(api, stores, scheduled_run):
    """A night of three deliveries, one of them broken, and the retraining that it caused.

    The scheduled run must not take them up.
    """
    deliver_night(
        stores,
        NIGHT,
        simulation_plans.DeliveryPlan("app", 500, "jsonl.gz"),
        simulation_plans.DeliveryPlan("partner", 200, "csv.gz", fault="truncated"),
        simulation_plans.DeliveryPlan("web", 500, "parquet", dirty_share=0.03),
    )
    ingest_id = api.trigger_night(INGEST, NIGHT)
    ingest_state = wait(api, INGEST, ingest_id)
    retrain_id = wait_for(lambda: api.run_caused_by(RETRAIN, ingest_id), "no retraining")
    return Night(ingest_id, ingest_state, retrain_id, wait(api, RETRAIN, retrain_id))


def test_a_night_by_rest_goes_from_landing_to_champion_and_only_the_broken_delivery_is_red(
    api, stores, night
):
    states = task_states(api, INGEST, night.ingest_id)
    counts = api.xcom(INGEST, night.ingest_id, "summarize_night")
    assert night.ingest_state == "failed"
    assert [states["delivery.validate", index] for index in range(3)] == [
        "success", "failed", "success",
    ]  # fmt: skip
    assert states["check_night", -1] == "failed"
    assert counts["held_deliveries"] == 1
    assert counts["delivered_rows"] == 1000
    # 3 % of 500, and one made-up review whose made-up names read like another language.
    assert counts["quarantined_rows"] == 15 + 1
    assert counts["accepted_rows"] == 984
    assert night.retrain_state == "success"
    first = Registry(stores.models, "sentiment").log.entry(1)
    assert first.actor == f"airflow {RETRAIN} {night.retrain_id}"


def test_a_held_delivery_is_not_tried_again_and_says_what_to_do(api, night):
    run_id = night.ingest_id

    held = next(
        task for task in api.tasks(INGEST, run_id)
        if (task["task_id"], task["map_index"]) == ("delivery.validate", 1)
    )  # fmt: skip
    log = api.get(
        f"/dags/{INGEST}/dagRuns/{run_id}/taskInstances/delivery.validate/logs/1", map_index=1
    )

    text = str(log["content"])
    assert held["try_number"] == 1
    assert "truncated" in text or "ends before its content does" in text
    assert "reports/" in text


@pytest.mark.usefixtures("night")
def test_a_retraining_by_rest_without_any_date_finds_nothing_changed(api):
    run_id = api.trigger(RETRAIN, logical_date=None)

    state = wait(api, RETRAIN, run_id)

    states = task_states(api, RETRAIN, run_id)
    assert state == "success"
    assert states["has_work", -1] == "success"
    assert states["train", -1] == "skipped"


@pytest.mark.parametrize("logical_date", [None, "now"])
def test_a_night_by_hand_needs_no_interval(api, logical_date):
    """REST sends no date; the form in the UI fills in the present moment."""
    now = datetime.now(UTC)
    sent = now.isoformat() if logical_date else None

    run_id = api.trigger(INGEST, logical_date=sent)
    state = wait(api, INGEST, run_id)

    # It may have become midnight meanwhile, when another day is complete.
    last_complete = {day_before(one).isoformat() for one in (now, datetime.now(UTC))}
    assert state == "success"
    assert api.xcom(INGEST, run_id, "summarize_night")["night"] in last_complete


@pytest.mark.usefixtures("night")
def test_a_backfill_ingests_a_past_night_once(api, stores):
    night = NIGHT + timedelta(days=1)
    deliver_night(stores, night, simulation_plans.DeliveryPlan("web", 300, "csv"))
    before = {run["dag_run_id"] for run in api.runs(INGEST)}

    api.backfill(INGEST, first=night, last=night)
    new = wait_for(
        lambda: [run for run in api.runs(INGEST) if run["dag_run_id"] not in before], "no backfill"
    )
    state = wait(api, INGEST, new[0]["dag_run_id"])
    retrain_id = wait_for(lambda: api.run_caused_by(RETRAIN, new[0]["dag_run_id"]), "no retraining")
    wait(api, RETRAIN, retrain_id)  # or the next one would find its reviews

    counts = api.xcom(INGEST, new[0]["dag_run_id"], "summarize_night")
    assert (new[0]["run_type"], state) == ("backfill", "success")
    assert (counts["night"], counts["accepted_rows"]) == (night.isoformat(), 300)


def test_the_scheduler_holds_the_libraries_that_its_task_processes_need(stack):
    scheduler = stack._processes._children["scheduler"].pid

    loaded = Path(f"/proc/{scheduler}/maps").read_text()

    assert "/sklearn/" in loaded
    assert "/pyarrow/" in loaded


def test_on_sqlite_who_reads_keeps_nobody_from_writing(stack):
    if stack.database_url.startswith("postgresql"):
        return  # nobody does there
    with contextlib.closing(sqlite3.connect(stack.folder / "airflow" / "airflow.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.long
def test_on_sqlite_a_locked_database_stops_airflow_only_as_long_as_its_api_server_waits(api, stack):
    """What a form cannot write is refused, and nothing was started: it can be sent again."""
    if stack.database_url.startswith("postgresql"):
        return  # no writer locks out all others there
    runs, patient = api.runs(INGEST), int(make_url(stack.database_url).query["timeout"])
    file = stack.folder / "airflow" / "airflow.db"
    body = {"logical_date": None, "conf": {"night": str(NIGHT)}}
    login = {"username": "admin", "password": stack.password}
    token = httpx.post(f"{stack.ui_url}/auth/token", json=login, timeout=HANG_SECONDS).json()

    with (
        contextlib.closing(sqlite3.connect(file, isolation_level=None)) as holder,
        ThreadPoolExecutor(1) as others,
    ):
        holder.execute("BEGIN IMMEDIATE")
        scheduler = others.submit(write_patiently, file, patient)
        reply = httpx.post(
            f"{stack.ui_url}/api/v2/dags/{INGEST}/dagRuns",
            json=body,
            headers={"Authorization": f"Bearer {token['access_token']}"},
            timeout=HANG_SECONDS,
        )
        wait_for(stack.is_answering, "the api-server waits still")
        was_first = not scheduler.done()
        holder.execute("ROLLBACK")
        scheduler.result()

    assert reply.is_server_error
    assert was_first
    assert api.runs(INGEST) == runs


def write_patiently(file, lock_seconds):
    """Wait for the lock as all parts but the api-server do."""
    with contextlib.closing(
        sqlite3.connect(file, timeout=lock_seconds, isolation_level=None)
    ) as database:
        database.execute("BEGIN IMMEDIATE")
        database.execute("ROLLBACK")


def test_no_secret_is_in_any_log(stack):
    secrets = [
        stack.s3_environment["AWS_SECRET_ACCESS_KEY"],
        stack.environment["AIRFLOW__API_AUTH__JWT_SECRET"],
        stack.environment["AIRFLOW__CORE__FERNET_KEY"],
        stack.identity.s3_key,
        stack.environment["LOOP_WEBHOOK_URL"].rpartition("/")[2],
    ]
    if password := urlsplit(stack.database_url).password:
        secrets.append(password)

    logs = [path for path in stack.folder.rglob("*.log") if path.is_file()]

    assert len(logs) > 20
    for path in logs:
        text = path.read_text(errors="replace")
        assert not [secret for secret in secrets if secret in text], path
