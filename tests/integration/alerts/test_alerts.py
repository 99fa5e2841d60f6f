"""Incidents are told once, whatever happens to those who tell them and to the ways they take."""

from __future__ import annotations

import json
import multiprocessing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from pipelines.alerts import notifier as notifier_module
from pipelines.alerts.alert import Run
from pipelines.alerts.channels import VARIABLES
from pipelines.alerts.notifier import open_notifier, warn_of_unsent
from pipelines.alerts.records import attempts
from pipelines.cli.app import app
from pipelines.core import config
from pipelines.core.errors import AlertChannelError, StoreUnavailableError
from pipelines.core.keys import ALERTS
from pipelines.records.deliveries import MissingDelivery
from pipelines.steps import alerts as steps_alerts
from tests.support.made.alert_builders import HOSTILE, an_alert
from tests.support.made.builders import listing
from tests.support.services.alert_servers import mail_server, web_server

RUN = Run(dag_id="reviews_ingest", run_id="manual__1")
NIGHT = "2026-01-05"
MAIL = {"is_enabled": True, "sender": "loop@example.org", "recipients": ["ops@example.org"]}
POST = {"is_enabled": True, "timeout_seconds": 30.0}
PROCESSES = 8
NOON = datetime(2026, 1, 6, 12, tzinfo=UTC)


class NoonClock(datetime):
    """It is always noon: no minute passes while a test waits, and no midnight."""

    @classmethod
    def now(cls, tz=None):
        return NOON.astimezone(tz)


@pytest.fixture(autouse=True)
def _noon(monkeypatch):
    monkeypatch.setattr(notifier_module, "datetime", NoonClock)


@pytest.fixture(autouse=True)
def _no_addresses(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hook(stores, configure, monkeypatch):
    """A webhook that is switched on, and what it got."""
    configure(alerts={"webhook": POST})
    with web_server() as posts:
        monkeypatch.setenv("LOOP_WEBHOOK_URL", posts.url)
        yield posts


def a_notifier(**changes):
    import os

    notifier = open_notifier(config.load(), os.environ)
    for name, value in changes.items():
        setattr(notifier, name, value)
    return notifier


def kinds(posts):
    return [json.loads(message.body)["kind"] for message in posts.received]


def states(stores):
    return {
        (attempt.channel, attempt.number): attempt.state for attempt in attempts(stores.reviews)
    }


def tell_at_once(barrier):
    notifier = a_notifier()
    barrier.wait()
    notifier.notify(an_alert())


@pytest.mark.long
def test_eight_processes_that_tell_one_incident_at_once_send_one_message(stores, hook):
    fresh = multiprocessing.get_context("spawn")
    barrier = fresh.Barrier(PROCESSES)
    notifiers = [fresh.Process(target=tell_at_once, args=(barrier,)) for _ in range(PROCESSES)]

    for process in notifiers:
        process.start()
    for process in notifiers:
        process.join()
    a_notifier().notify(an_alert(title="the same incident in other words"))
    a_notifier().sweep()

    assert [process.exitcode for process in notifiers] == [0] * PROCESSES
    assert kinds(hook) == ["held_delivery"]
    assert states(stores) == {("webhook", 1): "sent"}


def test_another_incident_is_told_too(hook):
    a_notifier().notify(an_alert())
    a_notifier().notify(an_alert(identity="b" * 64))

    assert kinds(hook) == ["held_delivery", "held_delivery"]


def test_when_alerts_are_off_nothing_is_written(stores):
    steps_alerts.alert_night(RUN, NIGHT, None)

    assert listing(stores.reviews) == {}


def test_a_channel_gets_only_what_it_wants(hook, configure):
    configure(alerts={"webhook": POST | {"severities": ["warning"], "kinds": ["night_late"]}})
    notifier = a_notifier()

    for kind in ("held_delivery", "missing_delivery", "night_late"):
        notifier.notify(an_alert(kind))

    assert kinds(hook) == ["night_late"]


def test_a_channel_that_does_not_work_is_told_by_the_others(stores, hook, configure, monkeypatch):
    configure(alerts={"webhook": POST, "mail": MAIL})  # LOOP_SMTP_URL is not set
    notifier = a_notifier()

    notifier.notify(an_alert())
    notifier.notify(an_alert(identity="b" * 64))

    bodies = [json.loads(message.body) for message in hook.received]
    assert [one["kind"] for one in bodies] == ["held_delivery", "dead_channel", "held_delivery"]
    assert bodies[1]["title"] == "Alerts cannot be sent by mail"
    assert "LOOP_SMTP_URL is not set" in bodies[1]["sentences"][0]
    assert states(stores)["mail", 1] == "failed"


def test_a_dead_channel_is_not_waited_for_twice(stores, configure, monkeypatch):
    configure(alerts={"webhook": POST})
    with web_server(status=500) as broken:
        monkeypatch.setenv("LOOP_WEBHOOK_URL", broken.url)
        notifier = a_notifier()
        for name in "abc":
            notifier.notify(an_alert(identity=name))

        assert len(broken.received) == 1
    assert sorted((attempt.number, attempt.state) for attempt in attempts(stores.reviews)) == [
        (0, "failed"), (0, "failed"), (1, "failed"),
    ]  # fmt: skip


def test_a_dead_channel_costs_the_alerts_behind_the_first_no_attempt(
    stores, configure, monkeypatch
):
    configure(alerts={"webhook": POST, "retry_after_minutes": 0})
    for name in "abc":
        a_notifier().notify(an_alert(identity=name))  # each by itself, LOOP_WEBHOOK_URL is not set

    a_notifier().sweep()

    assert sorted(attempt.number for attempt in attempts(stores.reviews)) == [1, 1, 2]


class Choosy:
    """A webhook that refuses the text of one alert and takes all others."""

    name = "webhook"

    def __init__(self, refused):
        self.refused, self.sent = refused, []

    def send(self, alert):
        if alert.key == self.refused:
            raise AlertChannelError(channel=self.name, why="it answered 413", is_dead=False)
        self.sent.append(alert.key)
        return ""


def test_an_alert_that_a_channel_refuses_does_not_hold_up_the_others(stores, configure):
    configure(alerts={"webhook": POST, "retry_after_minutes": 0})
    alerts = sorted((an_alert(identity=name) for name in "abc"), key=lambda one: one.key)
    for alert in alerts:
        a_notifier().notify(alert)  # LOOP_WEBHOOK_URL is not set
    choosy = Choosy(refused=alerts[0].key)

    a_notifier(channels=[choosy]).sweep()

    assert choosy.sent[:2] == [alerts[1].key, alerts[2].key]
    assert [(attempt.number, attempt.state) for attempt in attempts(stores.reviews)
            if attempt.incident == alerts[0].key] == [(2, "failed")]  # fmt: skip


def test_an_alert_that_a_channel_refuses_is_told_as_such(stores, configure, hook):
    configure(alerts={"webhook": POST, "slack": POST})
    (to_hook,) = [channel for channel in a_notifier().channels if channel.name == "webhook"]
    choosy = Choosy(refused=an_alert().key)
    choosy.name = "slack"

    a_notifier(channels=[choosy, to_hook]).notify(an_alert())

    bodies = [json.loads(message.body) for message in hook.received]
    assert [one["kind"] for one in bodies] == ["held_delivery", "dead_channel"]
    assert bodies[1]["title"] == "Not everything sent by slack arrives"


def test_attempts_of_an_outage_are_so_many_minutes_apart(stores, configure):
    configure(alerts={"webhook": POST, "retry_after_minutes": 15})  # LOOP_WEBHOOK_URL is not set
    a_notifier(now=lambda: NOON).notify(an_alert())

    for minutes in (0, 2, 14, 16, 18):
        later = NOON + timedelta(minutes=minutes)
        a_notifier(now=lambda later=later: later).sweep()

    assert states(stores) == {("webhook", 2): "failed"}


def test_a_recipient_who_is_refused_costs_the_others_no_second_mail(stores, configure, monkeypatch):
    mail = MAIL | {"recipients": ["ops@example.org", "gone@example.org"], "timeout_seconds": 30.0}
    configure(alerts={"mail": mail, "retry_after_minutes": 0})
    with mail_server(refuses="gone@example.org") as mails:
        monkeypatch.setenv("LOOP_SMTP_URL", f"smtp://127.0.0.1:{mails.port}")
        notifier = a_notifier()
        for name in "abc":
            notifier.notify(an_alert(identity=name))
        a_notifier().sweep()

    subjects = [message["Subject"] for message in mails.messages]
    assert subjects.count("[critical] A delivery of source 'web' is held") == 3
    assert subjects.count("[warning] Not everything sent by mail arrives") == 1
    assert len(subjects) == 4
    assert {attempt.state for attempt in attempts(stores.reviews)} == {"sent"}


def test_a_flawed_channel_reports_itself_once_even_while_the_store_is_down(
    hook, configure, monkeypatch
):
    configure(alerts={"webhook": POST})
    choosy = Choosy(refused="")
    choosy.send = lambda alert: choosy.sent.append(alert.kind) or "it refused 1 of 2 recipients"
    notifier = a_notifier(channels=[choosy])

    def unavailable(key, record):
        raise StoreUnavailableError("down")

    monkeypatch.setattr(notifier.reviews, "put_once", unavailable)
    notifier.notify(an_alert())

    assert choosy.sent == ["held_delivery", "dead_channel"]


def test_what_could_not_be_sent_is_sent_by_a_later_run(stores, hook, configure, monkeypatch):
    configure(alerts={"webhook": POST, "retry_after_minutes": 0})
    url = hook.url
    monkeypatch.setenv("LOOP_WEBHOOK_URL", "")
    a_notifier().notify(an_alert())
    monkeypatch.setenv("LOOP_WEBHOOK_URL", url)

    steps_alerts.alert_replay(RUN)
    steps_alerts.alert_replay(RUN)

    assert kinds(hook) == ["held_delivery"]
    assert states(stores) == {("webhook", 2): "sent"}


def test_an_alert_is_given_up_after_so_many_attempts(stores, configure):
    configure(
        alerts={"webhook": POST, "max_attempts": 3, "retry_after_minutes": 0}
    )  # LOOP_WEBHOOK_URL is not set
    a_notifier().notify(an_alert())

    for _ in range(5):
        a_notifier().sweep()

    assert states(stores) == {("webhook", 3): "failed"}


def test_an_alert_that_cannot_be_read_does_not_silence_the_others(
    stores, hook, configure, monkeypatch
):
    configure(alerts={"webhook": POST, "retry_after_minutes": 0})
    url = hook.url
    monkeypatch.setenv("LOOP_WEBHOOK_URL", "")
    torn, whole = sorted([an_alert(), an_alert(identity="b" * 64)], key=lambda one: one.key)
    for alert in (torn, whole):
        a_notifier().notify(alert)
    stores.reviews.put(f"{ALERTS}{torn.key}/alert.json", b"{")
    monkeypatch.setenv("LOOP_WEBHOOK_URL", url)

    a_notifier().sweep()

    assert [json.loads(message.body)["incident"] for message in hook.received] == [whole.key]


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("is_sent", [False, True])
def test_a_killed_attempt_is_made_again_once_it_is_old_enough(stores, hook, is_sent, monkeypatch):
    notifier = a_notifier()
    (channel,) = notifier.channels
    monkeypatch.setattr(notifier, "channels", [Dying(channel, is_sent)])
    with pytest.raises(Killed):
        notifier.notify(an_alert())
    later = NOON + timedelta(minutes=config.load().alerts.retry_after_minutes)

    a_notifier().notify(an_alert())  # the task is tried again at once
    a_notifier().sweep()
    soon = len(hook.received)
    a_notifier(now=lambda: later).sweep()
    a_notifier(now=lambda: later).sweep()

    assert soon == is_sent
    assert len(hook.received) == 1 + is_sent  # rather twice than never
    assert len({message.headers["Idempotency-Key"] for message in hook.received}) == 1
    assert states(stores) == {("webhook", 2): "sent"}


class Dying:
    """A channel whose process ends just before or just after it sent."""

    name = "webhook"

    def __init__(self, channel, is_sent):
        self.channel, self.is_sent = channel, is_sent

    def send(self, alert):
        if self.is_sent:
            self.channel.send(alert)
        raise Killed


def test_a_store_that_does_not_answer_silences_nobody(hook, monkeypatch):
    notifier = a_notifier()

    def unavailable(key, record):
        raise StoreUnavailableError("down")

    monkeypatch.setattr(notifier.reviews, "put_once", unavailable)

    notifier.notify(an_alert())

    (body,) = [json.loads(message.body) for message in hook.received]
    assert body["sentences"][-1] == (
        "The store did not answer correctly, so this alert may be sent more than once."
    )


def test_a_run_that_cannot_be_looked_at_is_told(hook, configure):
    configure(store={"reviews_bucket": "nobody-made-this-one"})

    steps_alerts.alert_retrain(Run(dag_id="sentiment_retrain", run_id="r"))

    (body,) = [json.loads(message.body) for message in hook.received]
    assert body["kind"] == "retrain_failed"
    assert "nobody-made-this-one" in body["sentences"][0]


def test_the_backstop_is_silent_where_the_run_told_already(hook):
    run = Run(dag_id="sentiment_retrain", run_id="one", failed_tasks=("train",))
    other = Run(dag_id="reviews_ingest", run_id="two")
    steps_alerts.alert_retrain(run)

    steps_alerts.alert_failed_run(run, "task failure")
    steps_alerts.alert_failed_run(other, "task failure")

    assert kinds(hook) == ["retrain_failed", "ingest_incomplete"]


def test_a_run_that_asked_a_person_is_not_late(hook, monkeypatch):
    decision = SimpleNamespace(
        version="v" * 20,
        why="too few rows",
        object_key="d",
        champion_version=None,
        model_name="sentiment",
    )
    monkeypatch.setattr("pipelines.steps.context.read_decision", lambda uri, _model: decision)
    asking = Run(dag_id="sentiment_retrain", run_id="asking")
    steps_alerts.alert_waiting(asking, "s3://models/decision.json")
    steps_alerts.alert_waiting(asking, "s3://models/decision.json")

    steps_alerts.alert_late(asking, 180)
    steps_alerts.alert_late(Run(dag_id="sentiment_retrain", run_id="hanging"), 180)

    bodies = [json.loads(message.body) for message in hook.received]
    assert [(one["kind"], one["run_id"]) for one in bodies] == [
        ("approval_waiting", "asking"),
        ("night_late", "hanging"),
    ]
    assert "20 hours" in bodies[0]["sentences"][1]
    assert "There is no champion yet." in bodies[0]["sentences"]


def test_a_silent_source_is_told_once_however_long_it_is_silent(hook, configure):
    configure(sources={"web": {"expected_every_days": 1}})

    for day in range(5, 9):
        run = Run(dag_id="reviews_ingest", run_id=f"night {day}")
        steps_alerts.alert_night(run, f"2026-01-{day:02}", [])

    assert kinds(hook) == ["missing_delivery"]


def test_no_record_holds_a_secret(stores, hook, configure, monkeypatch):
    configure(alerts={"webhook": POST, "slack": POST, "mail": MAIL})
    secrets = {
        "LOOP_WEBHOOK_SECRET": "SECRET-SIGN",
        "LOOP_SMTP_URL": "smtp://ada:SECRET-PASSWORD@127.0.0.1:1",
        "LOOP_SLACK_WEBHOOK_URL": "http://127.0.0.1:1/SECRET-TOKEN",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)

    a_notifier().notify(an_alert(sentences=(HOSTILE,)))

    written = b"".join(stores.reviews.get(key) for key in listing(stores.reviews))
    assert b"SECRET" not in written
    assert {attempt.state for attempt in attempts(stores.reviews)} == {"sent", "failed"}


# ── From a shell ─────────────────────────────────────────────────────────────────────────────


def test_a_check_tries_every_channel_and_says_which_one_fails(hook, configure, monkeypatch):
    configure(alerts={"webhook": POST, "mail": MAIL, "slack": POST})
    with mail_server() as mails:
        monkeypatch.setenv("LOOP_SMTP_URL", f"smtp://127.0.0.1:{mails.port}")
        failed = CliRunner().invoke(app, ["alerts", "check", "--json"])
        monkeypatch.setenv("LOOP_SLACK_WEBHOOK_URL", hook.url)
        worked = CliRunner().invoke(app, ["alerts", "check"])

    assert failed.exit_code == 1
    assert json.loads(failed.output) == [
        {"channel": "mail", "is_sent": True, "why": ""},
        {
            "channel": "slack",
            "is_sent": False,
            "why": "LOOP_SLACK_WEBHOOK_URL is not set to an https address",
        },
        {"channel": "webhook", "is_sent": True, "why": ""},
    ]
    assert worked.exit_code == 0
    assert [mail["Subject"] for mail in mails.messages] == ["[warning] This is a test"] * 2


def test_a_check_without_any_channel_fails_and_says_so(stores):
    checked = CliRunner().invoke(app, ["alerts", "check"])

    assert checked.exit_code == 1
    assert "alerts are off" in checked.stderr


def test_the_list_says_what_was_told_and_why_something_was_not(stores, hook, configure):
    configure(alerts={"webhook": POST, "slack": POST})
    a_notifier().notify(an_alert())

    every = json.loads(CliRunner().invoke(app, ["alerts", "list", "--json"]).output)
    unsent = json.loads(CliRunner().invoke(app, ["alerts", "list", "--unsent", "--json"]).output)

    assert [
        (alert["kind"], alert["channel"], alert["state"]) for alert in every if alert in unsent
    ] == [("held_delivery", "slack", "failed")]
    assert unsent[0]["why"] == "LOOP_SLACK_WEBHOOK_URL is not set to an https address"
    assert {(alert["kind"], alert["channel"], alert["state"]) for alert in every} == {
        ("held_delivery", "slack", "failed"),
        ("held_delivery", "webhook", "sent"),
        ("dead_channel", "webhook", "sent"),
    }


def test_the_next_summary_warns_of_what_was_not_sent(stores, configure, caplog):
    configure(alerts={"webhook": POST})
    notifier = a_notifier()
    notifier.notify(an_alert())

    warn_of_unsent(notifier)

    assert "unsent_alerts=1" in caplog.text


@pytest.mark.parametrize(
    "key", ["{}/mail/x", "{}/webhook/note.txt", "{}/webhook/002.sent.json.bak", "x/mail/001.json"]
)
def test_a_stray_object_among_the_alerts_is_ignored(stores, configure, caplog, key):
    configure(alerts={"webhook": POST, "retry_after_minutes": 0})  # LOOP_WEBHOOK_URL is not set
    notifier = a_notifier()
    notifier.notify(an_alert())
    stores.reviews.put(ALERTS + key.format(an_alert().key), b"?")

    warn_of_unsent(notifier)
    a_notifier().sweep()

    assert "unsent_alerts=1" in caplog.text
    assert states(stores) == {("webhook", 2): "failed"}


@pytest.mark.parametrize("name", ["alert.json", "webhook/001.failed.json"])
def test_the_list_goes_on_after_a_torn_record(stores, configure, name):
    configure(alerts={"webhook": POST})  # LOOP_WEBHOOK_URL is not set
    for identity in "ab":
        a_notifier().notify(an_alert(identity=identity))
    torn, whole = an_alert(identity="a").key, an_alert(identity="b").key
    stores.reviews.put(f"{ALERTS}{torn}/{name}", b"{")

    listed = CliRunner().invoke(app, ["alerts", "list", "--json"])

    lines = {one["incident"]: one for one in json.loads(listed.output)}
    assert lines[whole]["kind"] == "held_delivery"
    assert lines[torn]["state"] == "failed"
    assert f"{torn}/{name} is signed by nobody" in lines[torn]["title"] + lines[torn]["why"]


def test_no_key_of_an_alert_is_foreign_text(stores, hook):
    missing = MissingDelivery(
        night=NIGHT, source="../../x", expected_every_days=1, last_delivered_for=None
    )
    a_notifier().notify(an_alert("missing_delivery", missing.source))

    assert all(key.startswith(ALERTS) and ".." not in key for key in listing(stores.reviews))
