"""Alerts in whole runs, in process, with real webhooks on loopback."""

import asyncio
import json

import pendulum
import pytest
from alerting import alert_late

from pipelines.core.keys import outcome_key
from pipelines.intake.landing import delivery_digest, parse_name
from pipelines.simulation import film_site, plans
from pipelines.simulation.made_up import make_reviews
from tests.support.made.builders import as_csv, deliver, landing_key, some_rows
from tests.support.made.dag_runs import deliver_night, run, states
from tests.support.services.alert_servers import web_server

pytestmark = pytest.mark.airflow

NIGHT = "2026-01-05"
ON = {"is_enabled": True}


def told(posts):
    return [json.loads(one.body) for one in posts.received]


def without_alert(found):
    return {key: state for key, state in found.items() if key[0] != "alert"}


def at(hour):
    return pendulum.datetime(2026, 1, 6, hour, tz="UTC")


@pytest.mark.long
def test_a_dead_webhook_leaves_the_night_as_it_is_and_a_held_delivery_is_told_once(
    dagbag, stores, configure, monkeypatch
):
    ingest, form = dagbag.dags["reviews_ingest"], {"night": NIGHT}
    deliver_night(stores, rows=300)
    configure(alerts={"webhook": ON, "retry_after_minutes": 0})
    with web_server(status=500) as dead:
        monkeypatch.setenv("LOOP_WEBHOOK_URL", dead.url)
        first = run(ingest, at=at(1), conf=form)
    with web_server() as posts:
        monkeypatch.setenv("LOOP_WEBHOOK_URL", posts.url)
        second = run(ingest, at=at(2), conf=form)
        third = run(ingest, at=at(3), conf=form)

    for night in (first, second, third):
        assert str(night.state) == "failed"
        assert states(night)["alert", -1] == "success"
    assert without_alert(states(first))["delivery.validate", 1] == "failed"
    assert states(first)["announce", -1] == "success"
    assert [(one["kind"], one["delivery"] is not None) for one in told(posts)] == [
        ("held_delivery", True)
    ]
    (held,) = told(posts)
    assert held["title"] == f"A delivery of source 'web' is held ({NIGHT})"
    assert held["links"][0]["url"].endswith("/report.html")


def test_a_green_night_tells_nobody(dagbag, stores, configure, monkeypatch):
    plan = plans.NightPlan(pendulum.parse(NIGHT).date(), (plans.DeliveryPlan("web", 200, "csv"),))
    (delivery,) = film_site.simulate(make_reviews(200, seed=3), [plan], seed=0)
    deliver(stores, delivery.key, delivery.body)
    configure(alerts={"webhook": ON})
    with web_server() as posts:
        monkeypatch.setenv("LOOP_WEBHOOK_URL", posts.url)
        night = run(dagbag.dags["reviews_ingest"], at=at(4), conf={"night": NIGHT})

    assert str(night.state) == "success"
    assert told(posts) == []


@pytest.mark.parametrize(
    ("run_type", "state", "is_late"),
    [
        ("scheduled", "running", True), ("scheduled", "queued", True), ("manual", "running", True),
        ("scheduled", "success", False), ("scheduled", "failed", False),
        ("backfill", "queued", False), ("backfill", "running", False),
    ],
)  # fmt: skip
def test_a_night_of_a_backfill_that_waits_for_the_others_is_not_late(
    stores, configure, monkeypatch, run_type, state, is_late
):
    from airflow.utils.types import DagRunType

    configure(alerts={"webhook": ON})
    facts = {"dag_id": "reviews_ingest", "dag_run_id": "r", "state": state}
    with web_server() as posts:
        monkeypatch.setenv("LOOP_WEBHOOK_URL", posts.url)
        context = {"dag_run": facts | {"run_type": DagRunType(run_type).value}}
        asyncio.run(alert_late(60, context=context))

    assert [one["kind"] for one in told(posts)] == ["night_late"] * is_late


@pytest.mark.long
def test_a_night_is_told_with_the_error_of_the_file_that_was_not_processed(
    dagbag, stores, configure, monkeypatch
):
    key, body = landing_key("r.csv"), as_csv(some_rows(40))
    deliver(stores, landing_key("held.csv"), b"no,such,columns\n1,2,3\n")
    deliver(stores, key, body)
    torn = outcome_key(delivery_digest(parse_name(key), body).hexdigest())
    stores.reviews.put(torn, b"{")
    configure(alerts={"webhook": ON})
    with web_server() as posts:
        monkeypatch.setenv("LOOP_WEBHOOK_URL", posts.url)
        night = run(dagbag.dags["reviews_ingest"], at=at(6), conf={"night": NIGHT})

    assert str(night.state) == "failed"
    (one,) = [one for one in told(posts) if one["kind"] == "ingest_incomplete"]
    (said,) = [text for text in one["sentences"] if text.startswith("SignatureError: ")]
    assert torn in said
    assert said.endswith("What to do: docs/runbooks/retrain-failed.md#signatureerror")


def test_a_failed_retraining_is_told_with_the_tasks_that_failed(
    dagbag, stores, configure, monkeypatch
):
    configure(alerts={"webhook": ON, "airflow_url": "https://airflow.example.org"})
    with web_server() as posts:
        monkeypatch.setenv("LOOP_WEBHOOK_URL", posts.url)
        failed = run(dagbag.dags["sentiment_retrain"], at=at(5))  # nothing was ever accepted

    assert str(failed.state) == "failed"
    (one,) = told(posts)
    red = sorted(task for (task, _), state in states(failed).items() if state == "failed")
    assert (one["kind"], one["run_id"]) == ("retrain_failed", failed.run_id)
    assert red
    assert one["sentences"][0] == f"Failed: {', '.join(red)}."
    assert one["sentences"][1].startswith("NoReviewsError: ")
    assert one["links"][-1]["url"].endswith("/retraining/runbooks/retrain-failed#noreviewserror")
    assert one["links"][0]["url"].startswith(
        "https://airflow.example.org/dags/sentiment_retrain/runs/manual__2026-01-06T05%3A00"
    )
