"""The monitor's runs, and how a retraining learns that it was asked for."""

from __future__ import annotations

from types import SimpleNamespace

import pendulum
import pytest
from loop_defaults import ACCEPTED, asked_by, wanted_of

from pipelines.steps import monitor
from tests.support.made.dag_runs import run, states
from tests.support.made.window_builders import a_trigger

pytestmark = pytest.mark.airflow

WANTED = wanted_of()


def test_a_run_without_a_champion_is_green_and_asks_for_nothing(dagbag, stores):
    done = run(dagbag.dags["sentiment_monitor"], at=pendulum.datetime(2026, 1, 6, 6, tz="UTC"))

    assert str(done.state) == "success"
    assert states(done)["watch", -1] == "success"
    assert states(done)["ask", -1] == "skipped"


def test_a_started_trigger_sends_an_event_that_names_its_decision(dagbag, stores, monkeypatch):
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    decision = a_trigger(is_started=True, trigger="fading", why="FADING in 2 of 3.")
    stores.reviews.put_record(decision)
    uri = stores.reviews.uri(decision.object_key)
    monkeypatch.setattr(monitor, "decide_trigger", lambda *_: uri)

    done = run(dagbag.dags["sentiment_monitor"], at=pendulum.datetime(2026, 1, 7, 6, tz="UTC"))

    assert states(done)["ask", -1] == "success"
    with create_session() as session:
        event = session.scalars(select(AssetEvent).order_by(AssetEvent.id.desc())).first()
    assert event.extra["decision"] == uri
    assert asked_by({WANTED: [event]}, WANTED) == uri
    assert monitor.reason_of(uri) == "asked for by the monitor (fading): FADING in 2 of 3."


@pytest.mark.parametrize(
    "events",
    [
        None,
        {},
        {ACCEPTED: [SimpleNamespace(extra={"decision": "s3://x"})]},
        {WANTED: [SimpleNamespace(extra=None)]},
        {WANTED: [SimpleNamespace(extra={"decision": 7})]},
    ],
)
def test_a_run_that_the_monitor_did_not_ask_for_has_no_such_decision(events):
    assert asked_by(events, WANTED) is None


def test_new_reviews_and_the_monitor_start_a_retraining(dagbag):
    condition = dagbag.dags["sentiment_retrain"].timetable.asset_condition

    assert {asset.name for asset in condition.objects} == {ACCEPTED.name, WANTED.name}


def test_the_monitor_runs_daily_and_when_reviews_count(dagbag):
    timetable = dagbag.dags["sentiment_monitor"].timetable

    assert [asset.name for asset in timetable.asset_condition.objects] == [ACCEPTED.name]
    assert timetable.timetable.expression == "0 6 * * *"
