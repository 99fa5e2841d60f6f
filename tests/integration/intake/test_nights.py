"""One bad delivery, key or record never stops a night, whatever it raises."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from pipelines.alerts.alert import Run
from pipelines.cli.app import app
from pipelines.core.errors import (
    DataError,
    MissingDeliveryError,
    NightHeldError,
    NightIncompleteError,
    SetAsideError,
)
from pipelines.core.store.bucket import Bucket, ObjectInfo
from pipelines.intake import arrivals, landing, ledger, standings
from pipelines.steps import alerts
from pipelines.steps import ingest as steps_ingest
from tests.support.clocks import real_now
from tests.support.made.builders import NIGHT, as_csv, deliver, landing_key, some_rows
from tests.support.made.incident_builders import SECOND, ingest, odd_rows, sent
from tests.support.services.alert_servers import web_server

pytestmark = pytest.mark.attack

RUN = Run(dag_id="reviews_ingest", run_id="manual__1")


def run_night(night: str = NIGHT):
    reply = CliRunner().invoke(app, ["ingest", "--night", night, "--json"])
    assert isinstance(reply.exception, SystemExit | None), reply.exception
    assert "Traceback" not in reply.stderr
    return reply, json.loads(reply.stdout)


def verdicts(facts):
    return {receipt["landing_key"]: receipt["verdict"] for receipt in facts["receipts"]}


# ── Whatever one delivery raises ─────────────────────────────────────────────────────────────


def test_what_one_delivery_raises_is_its_failure_and_the_others_count(stores, monkeypatch):
    bad, good = (deliver(stores, landing_key(name), as_csv(some_rows(40, first=first)))
                 for name, first in (("a.csv", 0), ("b.csv", 100)))  # fmt: skip
    validate, seen = steps_ingest.validate, []

    def first_fails(uri):
        seen.append(uri)
        return {}["missing"] if uri == seen[0] else validate(uri)

    monkeypatch.setattr(steps_ingest, "validate", first_fails)
    reply, facts = run_night()
    monkeypatch.setattr(steps_ingest, "validate", validate)

    assert reply.exit_code == 1
    assert facts["is_complete"] is False
    assert verdicts(facts) == {landing_key("b.csv"): "ACCEPTED"}
    (failure,) = facts["failures"]
    assert failure.startswith(f"{bad}: KeyError: 'missing'")
    assert steps_ingest.find_deliveries(NIGHT) == [bad, good]


def test_a_folder_for_temporary_files_that_is_missing_stops_no_other_file(
    stores, monkeypatch, tmp_path
):
    monkeypatch.setattr(arrivals, "_SPOOL_BYTES", 4_000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    deliver(stores, landing_key("large.csv"), as_csv(some_rows(400)))
    deliver(stores, landing_key("small.csv"), as_csv(some_rows(30, first=1_000)))

    reply, facts = run_night()

    assert reply.exit_code == 1
    assert verdicts(facts) == {landing_key("small.csv"): "ACCEPTED"}
    assert "TMPDIR" in facts["failures"][0]


# ── Names ────────────────────────────────────────────────────────────────────────────────────

FOLDER = f"landing/web/{NIGHT}"
NAMES = [
    f"{FOLDER}/new\nline.csv", f"{FOLDER}/tab\tbell\x07.csv", f"{FOLDER}/\x1b[31mred.csv",
    f"{FOLDER}/\x01.csv", f"{FOLDER}/{'x' * 960}.csv", f"{FOLDER}/../../../etc/passwd.csv",
    "landing//slash.csv", f"landing/web//{NIGHT}//b.csv", f"{FOLDER}/./c.csv",
    f"{FOLDER}/ .csv", f"{FOLDER}/%00%2e%2e.csv", f"{FOLDER}/a b+c&d=e?f#g.csv",
    f"{FOLDER}/\u202efdp.csv", f"{FOLDER}/\U0001f4a3.csv", f"{FOLDER}/'; drop table--.csv",
    f"landing/<script>/{NIGHT}/x.csv", f"{FOLDER}/{{{{ 7*7 }}}}.csv", f"{FOLDER}/\x85\u2028.csv",
    "landing/web/0001-01-01/year-one.csv", "landing/web/1899-12-31/old.csv",
    "landing/web/2026-W01-1/week.csv", "landing/web/0000-00-00/zero.csv",
]  # fmt: skip


@pytest.mark.long
def test_no_name_of_a_file_stops_a_night(stores):
    delivered = []
    for number, name in enumerate(NAMES):
        body = as_csv(some_rows(30, first=100 * number))
        try:
            stores.reviews._client.put_object(Bucket=stores.reviews.name, Key=name, Body=body)
        except ClientError:
            continue  # upstream cannot use such a name on this server, either
        delivered.append(name)
    sent(stores, some_rows(40, first=9_000), "good.csv")

    _, facts = run_night()

    assert len(delivered) > len(NAMES) / 2
    assert facts["failures"] == []
    dealt_with = {receipt["landing_key"] for receipt in facts["receipts"]}
    aside = {file["landing_key"] for file in facts["set_aside"]}
    assert verdicts(facts)[landing_key("good.csv")] == "ACCEPTED"
    due = {name for name in delivered if landing.parse_name(name).delivered_for}
    assert due <= dealt_with | aside
    for uri in steps_ingest.find_deliveries(NIGHT):
        json.dumps(uri).encode()


@pytest.mark.parametrize("name", [f"{FOLDER}/nul\x00.csv", f"{FOLDER}/\ufffd.csv"], ids=ascii)
def test_a_name_that_cannot_be_passed_on_is_set_aside_and_named(stores, monkeypatch, name):
    sent(stores, some_rows(40), "good.csv")
    listed = Bucket.list

    def with_odd_name(bucket, prefix):
        odd = [ObjectInfo(name, 1, "tag")] if prefix == "landing/" else []
        return [*listed(bucket, prefix), *odd]

    monkeypatch.setattr(Bucket, "list", with_odd_name)

    assert [uri.rpartition("/")[2] for uri in steps_ingest.find_deliveries(NIGHT)] == ["good.csv"]
    reply, facts = run_night()

    assert reply.exit_code == 3
    (aside,) = facts["set_aside"]
    assert aside["needs_person"]
    assert "not UTF-8 or contains a NUL" in aside["why"]
    assert aside["landing_key"].isprintable()


# ── Dates ────────────────────────────────────────────────────────────────────────────────────


def test_a_folder_of_a_day_that_cannot_be_reckoned_with_is_held_with_a_reason(stores):
    for number, day in enumerate(("0001-01-01", "1899-12-31")):
        body = as_csv(some_rows(40, first=number * 100))
        deliver(stores, f"landing/web/{day}/a.csv", body)

    reply, facts = run_night()

    assert reply.exit_code == 3
    for day, receipt in zip(("0001-01-01", "1899-12-31"), facts["receipts"], strict=True):
        assert receipt["verdict"] == "HELD"
        assert f"its folder says {day}" in receipt["why"]
        assert "from 1900-01-01 to 2199-12-31" in receipt["why"]
    for action, code in (("release", 1), ("revalidate", 0), ("discard", 0)):
        reply = CliRunner().invoke(app, [
            "delivery", action, facts["receipts"][0]["delivery"], "--reason", "a test", "--yes",
        ])  # fmt: skip
        assert reply.exit_code == code, reply.stderr


@pytest.mark.parametrize("day", ["2062-01-05", "9999-12-31"])
def test_a_folder_far_in_the_future_is_named_with_its_date_and_what_to_do(stores, day):
    key = f"landing/web/{day}/a.csv"
    deliver(stores, key, as_csv(some_rows(40)))
    reply, facts = run_night()
    table = CliRunner().invoke(app, ["ingest", "--night", NIGHT])

    assert reply.exit_code == table.exit_code == 3
    assert facts["set_aside_deliveries"] == 1
    (aside,) = facts["set_aside"]
    assert (aside["landing_key"], aside["delivered_for"]) == (key, day)
    for text in (aside["why"], " ".join(table.stderr.split())):
        assert f"It is dated {day}" in text
        assert "delete this file" in text
    with pytest.raises(SetAsideError, match=day):
        steps_ingest.check_night(NIGHT, steps_ingest.find_deliveries(NIGHT))
    assert steps_ingest.summarize_night(NIGHT)["set_aside"] == facts["set_aside"]


def test_a_file_for_a_night_to_come_waits_and_makes_nothing_red(stores):
    soon = (real_now().date() + timedelta(days=2)).isoformat()
    deliver(stores, f"landing/web/{soon}/a.csv", as_csv(some_rows(40)))

    reply, facts = run_night()

    assert reply.exit_code == 0
    assert f"a.csv: It is dated {soon} and waits for that night." in reply.stderr
    assert not facts["set_aside"][0]["needs_person"]
    assert steps_ingest.check_night(NIGHT, []) == "NO_NEW_DATA"


def test_a_file_of_a_later_night_that_was_dealt_with_is_not_set_aside(stores):
    sent(stores, some_rows(40), "a.csv", night=SECOND)
    run_night(SECOND)

    assert run_night()[1]["set_aside"] == []


def test_of_many_files_a_summary_names_a_few_the_worst_first(stores):
    for number in range(30):
        stores.reviews.put(f"landing/web/2026-01-06/{number:02d}.csv", b"x")
    stores.reviews.put("landing/web/2062-01-05/worst.csv", b"x")

    _, facts = run_night()

    assert facts["set_aside_deliveries"] == 31
    assert len(facts["set_aside"]) == 20
    assert facts["set_aside"][0]["landing_key"].endswith("worst.csv")


def test_people_are_told_once_of_a_folder_far_in_the_future(stores, configure, monkeypatch):
    configure(alerts={"webhook": {"is_enabled": True, "timeout_seconds": 30.0}})
    deliver(stores, "landing/web/2062-01-05/a.csv", as_csv(some_rows(40)))
    with web_server() as posts:
        monkeypatch.setenv("LOOP_WEBHOOK_URL", posts.url)
        for night in (NIGHT, SECOND):
            alerts.alert_night(RUN, night, [])

    (alert,) = [json.loads(post.body) for post in posts.received]
    assert alert["kind"] == "set_aside_delivery"
    assert "2062-01-05" in str(alert)


@pytest.mark.parametrize("night", ["0001-01-01", "9999-12-31", "1899-12-31", "2200-01-01", "0000"])
def test_a_night_that_cannot_be_reckoned_with_is_refused_in_a_sentence(stores, night):
    reply = CliRunner().invoke(app, ["ingest", "--night", night])

    said = " ".join(reply.stderr.replace("│", " ").split())
    assert reply.exit_code == 2
    assert "it must be a day like 2026-01-05, from 1900-01-01 to 2199-12-31" in said
    for step in (steps_ingest.find_deliveries, steps_ingest.summarize_night):
        with pytest.raises(DataError):
            step(night)


@pytest.mark.parametrize("night", ["1900-01-01", "1996-02-29"])
def test_the_first_nights_of_the_calendar_can_be_reckoned_with(stores, configure, night):
    configure(sources={"web": {"expected_every_days": 36_500}})
    sent(stores, some_rows(40, night=night), "a.csv", night=night)

    assert run_night(night)[1]["receipts"]


# ── Records ──────────────────────────────────────────────────────────────────────────────────

TORN = [b"", b"{", b"null", b'{"schema_version":1}', b"\xff\xfe", b"[" * 100_000]


def test_a_torn_receipt_is_named_and_the_rest_of_the_night_is_summed_up(stores):
    sent(stores, some_rows(40), "a.csv")
    sent(stores, some_rows(40, first=100), "b.csv")
    ingest()
    key = stores.reviews.list(f"receipts/{NIGHT}/")[0].key
    due = steps_ingest.find_deliveries(NIGHT)
    for data in TORN:
        stores.reviews.put(key, data)

        summary = steps_ingest.summarize_night(NIGHT)

        assert summary["unreadable"] == [key]
        assert (summary["deliveries"], summary["accepted_rows"]) == (1, 40)
    with pytest.raises(NightIncompleteError):
        steps_ingest.check_night(NIGHT, due)
    reply, facts = run_night()
    assert reply.exit_code == 1
    assert not facts["is_complete"]


def test_a_torn_ledger_entry_hides_no_other_held_delivery(stores):
    first = sent(stores, odd_rows(3), "a.csv")
    sent(stores, odd_rows(3, first=100), "b.csv")
    ingest()
    stores.reviews.put(ledger.outcome_key(first), b"{")

    with pytest.raises(NightHeldError, match="2 of 2") as caught:
        steps_ingest.check_night(NIGHT, steps_ingest.find_deliveries(NIGHT))

    assert "b.csv" in str(caught.value)


def test_what_a_planted_record_says_of_another_source_is_not_said_of_this_one(stores, configure):
    configure(sources={"web": {"expected_every_days": 1}})
    stores.reviews.put(f"missing/{NIGHT}/web.json", (
        b'{"expected_every_days":1,"last_delivered_for":null,"night":"2026-01-01",'
        b'"schema_version":1,"source":"a/../b"}\n'))  # fmt: skip

    with pytest.raises(MissingDeliveryError, match="'web' is overdue"):
        steps_ingest.check_night(NIGHT, [])


def test_alerts_that_cannot_be_looked_at_do_not_stop_the_summary(stores, monkeypatch):
    monkeypatch.setattr("pipelines.alerts.notifier.open_notifier", lambda *_given: {}["missing"])

    assert steps_ingest.summarize_night(NIGHT)["status"] == "NO_NEW_DATA"


def test_the_horizon_is_counted_from_today_by_the_stores_clock(stores):
    stores.reviews.put("landing/web/2026-02-01/a.csv", b"x")

    near = landing.set_aside(stores.reviews, NIGHT, today=date(2026, 1, 25))
    far = landing.set_aside(stores.reviews, NIGHT, today=date(2026, 1, 24))

    assert [file.needs_person for file in (*near, *far)] == [False, True]
    assert standings.every(stores.reviews) == []
