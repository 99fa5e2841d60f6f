"""One machine's clock is far ahead or far behind: what is written and answered stays right."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from pipelines.alerts.notifier import Notifier
from pipelines.alerts.records import attempts
from pipelines.cli.app import app
from pipelines.core.config import PROJECT, load
from pipelines.core.errors import AlertChannelError, DataError, StoreUnavailableError
from pipelines.core.store import clock
from pipelines.core.store.bucket import Bucket
from pipelines.records.succession import LogEntry
from pipelines.registry import rollback
from pipelines.registry.fsck import check
from pipelines.steps import ingest as steps_ingest
from pipelines.steps import replay
from tests.support.clocks import FAR, real_now, set_machine_clock
from tests.support.made.alert_builders import an_alert
from tests.support.made.builders import some_rows
from tests.support.made.incident_builders import ingest, odd_rows, sent
from tests.support.made.registry_builders import promoted
from tests.support.sealing import to_stored

pytestmark = [pytest.mark.attack, pytest.mark.quick_every(1000)]

WRONG = [FAR, -FAR]
NEAR = timedelta(minutes=10)  # what a busy machine may take for a test


@pytest.fixture(params=WRONG, ids=["far ahead", "far behind"])
def wrong_machine(request, monkeypatch):
    """Call it, and from then on this machine's clock is wrong."""
    return lambda: set_machine_clock(monkeypatch, request.param)


@pytest.fixture(autouse=True)
def _any_model_loads(registry, monkeypatch):
    monkeypatch.setattr(type(registry.versions), "load", lambda _self, _manifest: None)


def is_now(at: str) -> bool:
    return abs(clock.read(at) - real_now()) < NEAR


def test_promotion_rollback_release_and_pin_are_dated_by_the_store(registry, wrong_machine):
    first = promoted(registry, "a")
    wrong_machine()
    second = promoted(registry, "b", against=first)
    _, plan = rollback.make_plan(registry, "previous", reason="a test")
    back = rollback.apply_plan(registry, plan, actor="test")
    released = rollback.release(registry, second.version, actor="test", reason="a test")
    pinned = rollback.pin(registry, first.version, actor="test", reason="a test")

    assert [entry.kind for entry in registry.log.history()[2:]] == ["rollback", "release", "pin"]
    assert all(is_now(one.at) for one in (second, back, released, pinned))


def test_champion_at_is_right_on_a_machine_with_a_wrong_clock(registry, wrong_machine):
    first = promoted(registry, "a")
    wrong_machine()
    second = promoted(registry, "b", against=first)
    now = (real_now() + NEAR).isoformat()

    reply = CliRunner().invoke(app, ["champion", "at", now, "--json"])
    before = CliRunner().invoke(app, ["champion", "at", "2026-01-05T00:00Z"])

    assert json.loads(reply.stdout)["version"] == second.version
    assert before.exit_code == 1
    assert "there was no champion yet" in before.stderr


def test_a_replay_is_dated_by_the_store(stores, wrong_machine):
    held = sent(stores, odd_rows(3), "bad.csv")
    ingest()
    wrong_machine()

    done = replay.read_replay(
        replay.apply_replay(replay.plan_replay(held, "discard", "a test"), "test")
    )

    assert is_now(done.at)


class Down:
    """A channel that fails."""

    name = "webhook"

    def __init__(self):
        self.tries = 0

    def send(self, _alert):
        self.tries += 1
        raise AlertChannelError(channel="webhook", why="it is down")


def a_notifier(stores, channel):
    return Notifier(stores.reviews, [channel], load().alerts)


def test_a_failed_alert_is_not_sent_again_too_soon_by_a_machine_that_is_ahead(
    stores, wrong_machine
):
    channel = Down()
    a_notifier(stores, channel).notify(an_alert(kind="test_alert"))
    wrong_machine()

    a_notifier(stores, channel).sweep()

    assert channel.tries == 1


def test_an_alert_of_a_machine_with_a_wrong_clock_is_sent_again_in_time(
    stores, wrong_machine, monkeypatch
):
    channel = Down()
    wrong_machine()
    a_notifier(stores, channel).notify(an_alert(kind="test_alert"))
    soon = real_now() + timedelta(minutes=load().alerts.retry_after_minutes + 1)
    monkeypatch.setattr(Bucket, "clock", lambda _self: soon)

    a_notifier(stores, channel).sweep()

    assert channel.tries == 2
    assert [attempt.number for attempt in attempts(stores.reviews)] == [2]


def test_a_claim_with_a_date_that_cannot_be_right_is_made_again(stores):
    channel = Down()
    a_notifier(stores, channel).notify(an_alert(kind="test_alert"))
    (key,) = [one.key for one in stores.reviews.list("alerts/") if one.key.endswith("failed.json")]
    for at in ("9999-12-31T23:59:59+00:00", "no moment"):
        stores.reviews.put(key, stores.reviews.get(key).replace(
            re.search(rb'"at":"([^"]*)"', stores.reviews.get(key))[1], at.encode()))  # fmt: skip

        assert a_notifier(stores, channel)._is_due(attempts(stores.reviews)[0])


# ── Dates that are wrong already ─────────────────────────────────────────────────────────────


def a_log(registry, *dates: str) -> list[LogEntry]:
    """A log whose entries are dated so, by whatever clock."""
    entries: list[LogEntry] = []
    for name, at in zip("abcdefgh", dates, strict=False):
        entry = promoted(registry, name, against=entries[-1] if entries else None)
        before = entries[-1].digest() if entries else None
        entry = entry.model_copy(update={"at": at, "previous_entry_sha256": before})
        registry.models.put(entry.object_key, to_stored(entry))
        entries.append(entry)
    return entries


def day(number: int) -> str:
    return f"2026-01-{number:02d}T00:00:00+00:00"


WRONG_DATES = ["2027-02-09T00:00:00+00:00", "9999-12-31T23:59:59+00:00",
               "0001-01-01T00:00:00+00:00", "2024-11-30T00:00:00+00:00", "no moment",
               "9999-12-31T23:59:59-23:59"]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_DATES)
def test_a_wrong_date_spoils_neither_later_entries_nor_answers(registry, wrong, monkeypatch):
    entries = a_log(registry, day(2), day(4), wrong, day(8))
    monkeypatch.setattr(Bucket, "clock", lambda _self: datetime(2026, 1, 10, tzinfo=UTC))

    newest = promoted(registry, "z", against=entries[-1])

    def at(number):
        return registry.log.champion_at(datetime(2026, 1, number, 12, tzinfo=UTC))

    assert newest.at == day(10)
    assert at(1) is None
    assert at(2) == entries[0]
    assert at(5) == entries[1]
    assert at(8) == entries[3]
    assert at(10) == newest


@pytest.mark.parametrize("wrong", WRONG_DATES)
def test_after_a_wrong_newest_date_the_next_entry_has_the_right_one(registry, wrong, monkeypatch):
    entries = a_log(registry, day(2), day(4), wrong)
    monkeypatch.setattr(Bucket, "clock", lambda _self: datetime(2026, 1, 10, tzinfo=UTC))

    now = registry.log.champion_at(datetime(2026, 1, 10, tzinfo=UTC))
    newest = promoted(registry, "z", against=entries[-1])

    assert now == entries[-1]
    assert newest.at == day(10)


def test_a_store_of_several_nodes_turns_no_succession_around(registry, monkeypatch):
    (first,) = a_log(registry, "2026-01-10T00:00:03+00:00")
    monkeypatch.setattr(Bucket, "clock", lambda _self: datetime(2026, 1, 10, tzinfo=UTC))

    second = promoted(registry, "b", against=first)

    assert second.at == first.at
    assert registry.log.champion_at(datetime(2026, 1, 10, 1, tzinfo=UTC)) == second


@pytest.mark.parametrize("wrong", WRONG_DATES[:4])
def test_fsck_names_a_date_that_contradicts_the_others(stores, registry, wrong, monkeypatch):
    a_log(registry, day(2), day(4), wrong, day(8))

    faults = check.check(stores.reviews, registry)

    dated = [one for one in faults if "dated" in one.what]
    assert len(dated) == 1
    assert dated[0].kind == "warning"


# ── The night ────────────────────────────────────────────────────────────────────────────────


def test_the_last_complete_night_is_that_of_the_store(stores, wrong_machine):
    yesterday = (real_now() - timedelta(days=1)).date().isoformat()
    sent(stores, some_rows(40, night=yesterday), "a.csv", night=yesterday)
    wrong_machine()

    reply = CliRunner().invoke(app, ["ingest", "--json"])

    assert json.loads(reply.stdout)["night"] == yesterday
    assert json.loads(reply.stdout)["accepted_rows"] == 40


def test_a_night_after_the_stores_today_is_refused_whatever_the_machine_says(stores, monkeypatch):
    ahead = (real_now() + FAR - timedelta(days=1)).date().isoformat()
    set_machine_clock(monkeypatch, FAR)

    with pytest.raises(DataError, match="after today"):
        steps_ingest.find_deliveries(ahead)


def test_undated_files_are_due_by_the_stores_today(stores, wrong_machine):
    key = "landing/web/undated.csv"
    stores.reviews.put(key, b"x")
    yesterday = (real_now() - timedelta(days=1)).date().isoformat()
    wrong_machine()

    assert steps_ingest.find_deliveries(yesterday) == [stores.reviews.uri(key)]


# ── The store says what time it is ───────────────────────────────────────────────────────────


def test_the_store_says_the_time_and_a_wrong_machine_is_told(stores, wrong_machine, caplog):
    assert abs(clock.now(stores.reviews) - real_now()) < NEAR
    assert caplog.records == []
    wrong_machine()

    with caplog.at_level(logging.WARNING):
        store_time = clock.now(stores.models)

    assert abs(store_time - real_now()) < NEAR
    assert "This machine's clock says" in caplog.text
    assert clock.written(store_time) in caplog.text


@pytest.mark.parametrize("headers", [
    {}, {"date": ""}, {"date": "yesterday"}, {"date": "Mon, 32 Jan 2026 00:00:00 GMT"}, None,
])  # fmt: skip
def test_a_reply_without_a_time_dates_nothing(registry, monkeypatch, headers):
    first = promoted(registry, "a")
    listed = registry.models._client.list_objects_v2

    def without(**asked):
        reply = listed(**asked)
        reply["ResponseMetadata"]["HTTPHeaders"] = headers or {}
        return reply if headers is not None else {"ResponseMetadata": {"HTTPHeaders": {
            "date": "Mon, 05 Jan 2026 00:00:00 GMT"}}}  # fmt: skip

    monkeypatch.setattr(registry.models._client, "list_objects_v2", without)

    with pytest.raises(StoreUnavailableError, match=r"what time it is|not come from an S3 store"):
        promoted(registry, "b", against=first)


def test_no_module_asks_this_machine_for_the_time_but_those_that_say_why():
    source = PROJECT / "pipelines"
    asks = re.compile(r"\b(?:datetime\.(?:now|utcnow|today)|date\.today|time\.time)\(")

    found = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if asks.search(path.read_text(encoding="utf-8"))
    }

    assert found == {
        "core/store/clock.py",  # to compare it with the store's
        "cli/ingest.py",  # `simulate` acts as upstream, who may not ask the store
        "alerts/notifier.py",  # to name a day while the store is down
        "alerts/channels.py",  # the date of a mail
        "serving/swap.py",  # when a champion took over in a service; shown, recorded nowhere
        "serving/http/metrics.py",  # the champion's age, for Prometheus
        "serving/prediction_log.py",  # when a service answered
        "exports/mlflow.py",  # when a run of MLflow began and ended; nothing here reads it
        "steps/bake.py",  # how long the services have had
        "pages/routes/forms.py",  # how old a form is, sealed and opened by the same api-server
    }
