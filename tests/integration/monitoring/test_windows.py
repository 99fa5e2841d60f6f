"""The champion watched over two nights, against a real store."""

import re
from datetime import datetime, timedelta

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from benchmarks.years import Years, counted_requests
from pipelines.cli.app import app
from pipelines.core import config, keys
from pipelines.core.store import sealed
from pipelines.intake import standings
from pipelines.monitoring import kept, windows
from pipelines.records.monitoring import TriggerDecision, Window
from pipelines.registry.fsck.check import check
from pipelines.registry.registry import Registry
from pipelines.steps import monitor, promote, retrain
from tests.support.made.builders import listing

FIRST, SECOND, DAY = "2026-01-05", "2026-01-06", "2026-01-07"

pytestmark = pytest.mark.usefixtures("one_clean_room_per_model")


def read(stores, uri, kind):
    return stores.reviews.get_record(stores.resolve(uri)[1], kind)


def watched(stores, night=SECOND):
    return [read(stores, uri, Window) for uri in monitor.watch(night)]


@pytest.mark.long
def test_a_night_is_judged_by_the_champion_that_had_not_learned_it(stores, champions, ingest_night):
    champions(1)
    ingest_night(2)

    (window,) = watched(stores)

    assert (window.night, window.champion_generation) == (SECOND, 1)
    assert window.rows == window.sources[0].accepted_rows > 1000
    assert window.verdict in {"QUIET", "DRIFT", "FADING"}
    assert window.measured.rows == window.rows
    assert 0.5 < window.measured.accuracy <= 1
    assert {group.name.partition("=")[0] for group in window.groups} >= {"source", "length"}
    assert window.why


@pytest.mark.long
def test_a_faster_retraining_does_not_change_who_is_asked(stores, champions):
    champions(2)

    (window,) = watched(stores)

    assert (window.night, window.champion_generation) == (SECOND, 1)


def test_a_night_that_every_champion_learned_is_not_judged(stores, champions):
    champions(1)

    assert monitor.watch(FIRST) == []


def test_a_judged_night_is_not_judged_again_and_costs_no_reading(stores, champions, monkeypatch):
    champions(2)
    watched(stores)
    monkeypatch.setattr(windows, "read_sample", pytest.fail)

    assert monitor.watch(SECOND) == []


@pytest.mark.long
def test_the_same_rows_give_the_same_bytes_and_the_reference_is_a_cache(stores, champions):
    champions(2)
    (window,) = watched(stores)
    before = stores.reviews.get(window.object_key)
    for key in listing(stores.reviews):
        if key.startswith(keys.MONITORING):
            stores.reviews.delete(key)

    watched(stores)

    payload = before.partition(b"\n")[2]
    assert stores.reviews.get(window.object_key).partition(b"\n")[2] == payload


def test_a_forged_reference_is_made_again(stores, champions, caplog):
    champions(2)
    (window,) = watched(stores)
    (reference,) = [key for key in listing(stores.reviews) if "/references/" in key]
    stores.reviews.put(reference, b"torn")
    stores.reviews.delete(window.object_key)

    assert watched(stores) == [window]


@pytest.mark.long
def test_rows_that_count_later_make_another_window_of_their_night(stores, champions, ingest_night):
    champions(1)
    ingest_night(2)
    (window,) = watched(stores)
    ledger = standings.every(stores.reviews)
    rows = windows.rows_of(ledger, SECOND, 2)

    assert rows.first_night == FIRST
    assert len(rows.partitions) == 2
    names = [part.sha256 for part in rows.partitions]
    assert (
        keys.window_key("sentiment", SECOND, nights=1, rows=rows.count, partitions=names)
        > window.object_key
    )
    assert rows.coverage == pytest.approx(
        sum(each.accepted_rows for each in rows.sources)
        / sum(each.delivered_rows for each in rows.sources)
    )


@pytest.mark.attack
def test_what_somebody_put_among_the_windows_stops_no_decision_and_fsck_names_it(
    stores, champions, ingest_night
):
    champions(1)
    ingest_night(2)
    (window,) = watched(stores)
    folder = window.object_key.rpartition("/")[0]
    strays = [f"{folder}/{SECOND}-001-999999999-{'f' * 16}.json", f"{folder}/{SECOND}.bak"]
    for key in strays:
        stores.reviews.put(key, b"nobody signed this")

    assert monitor.watch(SECOND) == []
    uri = monitor.decide_trigger(SECOND, DAY, "airflow sentiment_monitor run_1")
    findings = check(stores.reviews, Registry(stores.models, "sentiment"))

    assert read(stores, uri, TriggerDecision).windows == (window.digest(),)
    assert {(one.kind, one.key) for one in findings if one.key in strays} == {
        ("error", strays[0]), ("warning", strays[1]),
    }  # fmt: skip


def test_every_run_leaves_a_decision_and_a_repeated_task_finds_it(stores, champions, ingest_night):
    champions(1)
    ingest_night(2)
    watched(stores)

    uri = monitor.decide_trigger(SECOND, DAY, "airflow sentiment_monitor run_1")
    decision = read(stores, uri, TriggerDecision)

    assert not decision.is_started
    assert decision.why == "No trigger is met."
    assert monitor.decide_trigger(SECOND, DAY, "airflow sentiment_monitor run_1", "later") == uri
    assert monitor.is_started(uri) is False
    assert len(decision.windows) == 1


@pytest.mark.long
def test_a_person_can_ask_and_the_champion_log_names_the_reason(stores, champions, ingest_night):
    champions(1)
    ingest_night(2)
    uri = monitor.decide_trigger(SECOND, DAY, "run_2", "the site has a new form")
    assert monitor.is_started(uri)

    plan = retrain.plan(retrain.take_snapshot())
    decision = retrain.decide(retrain.verify(retrain.evaluate(retrain.train(plan))))
    promote.promote(decision, "test", monitor.reason_of(uri))

    (entry,) = [each for each in champions_of(stores) if each.generation == 2]
    assert entry.reason == (
        "asked for by the monitor (operator): A person asks for it: the site has a new form"
    )


def champions_of(stores):
    from pipelines.registry.registry import Registry

    return Registry(stores.models, config.load().model.name).log.history()


def test_the_last_start_is_found_if_it_was_within_the_time_asked_for(
    stores, champions, ingest_night
):
    champions(1)
    ingest_night(2)
    uri = monitor.decide_trigger(SECOND, DAY, "run_3", "an operator asks")
    at = datetime.fromisoformat(read(stores, uri, TriggerDecision).at)
    day = (at - timedelta(days=1)).date().isoformat()
    recent = read(stores, uri, TriggerDecision).model_copy(update={"day": day})
    stores.reviews.put_record(recent)

    def last(hours, now=at + timedelta(hours=5)):
        return kept.last_start(stores.reviews, "sentiment", now, timedelta(hours=hours))

    assert last(6) == at
    assert last(4) is None


def test_without_a_champion_nothing_is_watched(stores, ingest_night):
    ingest_night(1)

    assert monitor.watch(FIRST) == []
    assert monitor.decide_trigger(FIRST, DAY, "run_5") is None
    assert monitor.is_started(None) is False


def test_the_newest_windows_cost_the_same_requests_in_the_tenth_year(stores, champions):
    champions(2)
    (window,) = watched(stores)
    for year in range(2016, 2026):
        old = window.model_copy(update={"night": f"{year}-06-05", "first_night": f"{year}-06-05"})
        stores.reviews.put(old.object_key, sealed.to_stored(old, stores.reviews.keyring))
    asked = []
    listed = stores.reviews.list
    stores.reviews.list = lambda prefix: asked.append(prefix) or listed(prefix)

    found = kept.newest_windows(stores.reviews, "sentiment", SECOND, 3, nights=1)

    assert [each.night for each in found][:1] == [SECOND]
    assert len(asked) <= kept.MOST_MONTHS_WITHOUT * 4
    assert all(re.fullmatch(r"monitoring/sentiment/windows/\d{4}-\d{2}/", key) for key in asked)


@pytest.mark.long
def test_a_window_can_be_written_for_other_tools(stores, champions, tmp_path):
    champions(2)
    (window,) = watched(stores)

    run = CliRunner().invoke(app, ["export-window", SECOND, str(tmp_path / "out")])

    assert run.exit_code == 0, run.output
    current = pq.read_table(tmp_path / "out" / f"{SECOND}-current.parquet")
    usual = pq.read_table(tmp_path / "out" / f"{SECOND}-reference.parquet")
    right = (current["target"].to_numpy() == current["prediction"].to_numpy()).sum()
    assert (current.num_rows, right) == (window.rows, window.measured.right_rows)
    assert usual.num_rows == window.measured.usual_rows
    assert current.schema.equals(usual.schema)
    assert current.column_names == ["target", "prediction", "probability", "unseen_share"]


def test_a_night_that_was_not_judged_cannot_be_written(stores, champions, tmp_path):
    champions(1)

    run = CliRunner().invoke(app, ["export-window", SECOND, str(tmp_path)])

    assert run.exit_code == 1
    assert list(tmp_path.glob("*.parquet")) == []


def requests_of_a_run(stores, nights):
    """What the monitor sends for a new night after so many others, by kind of request."""
    Years(sources=1, nights=nights).lay_down(stores.reviews)
    standings.every(stores.reviews, keeps=True)  # as the ingest of that night left it
    with counted_requests() as requests:
        night = monitor.find_night()
        monitor.watch(night)
        monitor.decide_trigger(night, DAY, "run_9")
    return requests


@pytest.mark.long
def test_a_run_sends_as_many_requests_after_sixty_nights_as_after_five(
    stores, champions, ingest_night
):
    champions(1)
    ingest_night(2)
    few = requests_of_a_run(stores, 5)
    for key in listing(stores.reviews):
        if key.startswith(keys.MONITORING):
            stores.reviews.delete(key)

    many = requests_of_a_run(stores, 60)

    # A listing may need a second page; each of the three steps lists the ledger once.
    assert many.total <= few.total + 3, (few.counted, many.counted)
