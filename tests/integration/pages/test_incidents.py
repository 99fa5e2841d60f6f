"""What the page Incidents is made of: every trouble once, from stored records, cheaply."""

from __future__ import annotations

import gzip
from datetime import date, timedelta

import pytest

from pipelines.core import config
from pipelines.core.keys import outcome_key
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.stores import Stores
from pipelines.intake import standings
from pipelines.pages.views import incident, incidents
from pipelines.pages.views.incident import Look
from pipelines.pages.views.incidents import Incident, Listing
from pipelines.records.deliveries import MissingDelivery, Receipt
from pipelines.records.succession import LogEntry
from pipelines.registry import rollback
from pipelines.registry.registry import Registry
from tests.support.made.builders import NIGHT, as_csv, deliver, landing_key, some_rows
from tests.support.made.incident_builders import (
    REASON,
    SECOND,
    THIRD,
    ingest,
    odd_rows,
    replay,
    sent,
)


def night_of(number: int) -> str:
    return (date.fromisoformat(NIGHT) + timedelta(days=number)).isoformat()


def listed(stores: Stores, until: str | None = None) -> Listing:
    return incidents.recent(stores.reviews, until=until)


def only(stores: Stores) -> Incident:
    (one,) = listed(stores).incidents
    return one


def looked_at(stores: Stores, delivery: str) -> Look:
    look = incident.look(stores.reviews, Registry(stores.models, "sentiment"), delivery)
    assert look is not None
    return look


def test_good_deliveries_are_no_incident(stores):
    sent(stores, some_rows(40), "good.csv")
    ingest()

    assert listed(stores).incidents == ()
    assert listed(stores).nights == (NIGHT,)


@pytest.mark.long
def test_open_ones_come_first_and_the_newest_of_them_at_the_top(stores):
    settled = sent(stores, odd_rows(3), "settled.csv", source="app")
    older = sent(stores, odd_rows(3, first=100), "older.csv")
    ingest()
    quarantined = sent(stores, odd_rows(1, first=200, night=SECOND), "q.csv", night=SECOND)
    newer = sent(stores, odd_rows(3, first=300, night=SECOND), "newer.csv", night=SECOND)
    ingest(SECOND)
    replay(settled, "discard")

    found = listed(stores).incidents

    assert [(one.subject, one.kind, one.state) for one in found] == [
        (newer, "HELD", "open"),
        (older, "HELD", "open"),
        (quarantined, "QUARANTINED", "look"),
        (settled, "HELD", "settled"),
    ]
    assert found[-1].sentence.startswith("discard: DISCARDED on 20")
    assert found[-1].sentence.endswith(f"by tester, because: {REASON}")


@pytest.mark.long
def test_a_few_rows_in_quarantine_are_routine_and_more_are_worth_a_look(stores):
    few, more = (
        [row | ({"label": "so so"} if place < count else {}) for place, row in enumerate(rows)]
        for count, rows in ((1, some_rows(100)), (2, some_rows(100, first=200)))
    )
    sent(stores, few, "few.csv")
    sent(stores, more, "more.csv")
    ingest()

    assert [(one.title[-8:], one.state) for one in listed(stores).incidents] == [
        ("more.csv", "look"),
        ("/few.csv", "routine"),
    ]


def test_a_held_file_that_is_sent_again_is_one_incident_of_two_nights(stores):
    rows = odd_rows(3)
    sent(stores, rows, "r.csv")
    ingest()
    sent(stores, rows, "again.csv", night=SECOND)
    ingest(SECOND)

    assert (only(stores).kind, only(stores).nights) == ("HELD", (NIGHT, SECOND))


@pytest.mark.long
def test_changed_content_under_the_same_name_is_a_conflict_though_both_count(stores):
    first = sent(stores, some_rows(40), "r.csv")
    ingest()
    second = sent(stores, some_rows(40, first=100), "r.csv")
    ingest(SECOND)

    one = only(stores)
    assert (one.subject, one.kind, one.state) == (second, "CONFLICT", "look")
    assert one.conflicts_with == first
    assert one.sentence.startswith("CONFLICT: this name was delivered before with other content")
    assert looked_at(stores, second).conflict == first


@pytest.mark.long
def test_a_source_that_stays_silent_is_one_incident_and_settled_when_it_delivers(stores, configure):
    configure(sources={"web": {"expected_every_days": 1}})
    sent(stores, some_rows(40), "r.csv")
    ingest()
    for night in (SECOND, THIRD):
        ingest(night)
    silent = only(stores)
    sent(stores, some_rows(40, first=100, night=night_of(3)), "r.csv", night=night_of(3))
    ingest(night_of(3))

    assert (silent.kind, silent.state) == ("MISSING_DELIVERY", "open")
    assert silent.nights == (SECOND, THIRD)
    assert silent.subject == f"missing/{THIRD}/web"
    assert only(stores).state == "settled"
    assert only(stores).sentence.endswith("It delivered again, for 2026-01-08.")


@pytest.mark.long
def test_that_a_source_delivers_again_is_seen_on_an_older_page_too(stores, configure):
    configure(sources={"web": {"expected_every_days": 1}})
    sent(stores, some_rows(40), "r.csv")
    for night in (NIGHT, SECOND):
        ingest(night)
    sent(stores, some_rows(40, first=100, night=THIRD), "r.csv", night=THIRD)
    ingest(THIRD)

    (one,) = listed(stores, until=SECOND).incidents

    assert (one.kind, one.state) == ("MISSING_DELIVERY", "settled")


@pytest.mark.long
def test_what_cannot_be_read_is_shown_and_hides_nothing_else(stores):
    torn = sent(stores, odd_rows(3), "torn.csv")
    whole = sent(stores, odd_rows(3, first=100), "whole.csv")
    ingest()
    stores.reviews.put(outcome_key(torn), b"{")
    stores.reviews.put(f"receipts/{NIGHT}/{'0' * 32}.json", b"[]")
    stores.reviews.put(f"missing/{NIGHT}/app.json", b"")

    found = listed(stores).incidents

    assert {(one.subject, one.kind, one.state) for one in found} == {
        (torn, "UNREADABLE", "open"),
        (whole, "HELD", "open"),
        (f"receipts/{NIGHT}/{'0' * 32}.json", "UNREADABLE", "open"),
        (f"missing/{NIGHT}/app.json", "UNREADABLE", "open"),
    }
    assert all("is signed by nobody" in one.sentence for one in found if one.kind == "UNREADABLE")
    assert (
        looked_at(stores, torn)
        .problems[0]
        .endswith("another version of this project. It is not used.")
    )
    assert looked_at(stores, torn).delivery is not None


def test_a_page_holds_thirty_nights_and_reads_no_record_of_another(stores, monkeypatch):
    written = []
    for number in range(40):
        night = night_of(number)
        receipt = Receipt(
            landing_key=f"landing/web/{night}/r.csv", version_tag="1", night=night,
            delivery=f"{number:064x}", verdict="ACCEPTED", why="", delivered_rows=1,
            accepted_rows=1, quarantined_rows=0, held_rows=0,
        )  # fmt: skip
        stores.reviews.put_record(receipt)
        written.append(receipt.object_key)
    read: list[str] = []
    get = Bucket.get
    monkeypatch.setattr(
        Bucket, "get", lambda self, key, **more: (read.append(key), get(self, key, **more))[1]
    )

    newest = listed(stores)
    older = listed(stores, until=newest.older)

    assert (len(newest.nights), newest.nights[-1]) == (30, night_of(39))
    assert newest.older == night_of(9)
    assert (len(older.nights), older.older) == (10, None)
    assert sorted(read) == sorted(written)


def test_a_held_delivery_says_what_failed_which_rows_and_since_when(stores):
    good = sent(stores, some_rows(40), "good.csv")
    ingest()
    beside = sent(stores, some_rows(40, first=500, night=SECOND), "b.csv", source="app",
                  night=SECOND)  # fmt: skip
    held = sent(stores, odd_rows(3, first=100, night=SECOND), "bad.csv", night=SECOND)
    ingest(SECOND)

    look = looked_at(stores, held)

    assert look.failed[0].rule == "quarantined_share"
    assert "7.5% of the rows break a row rule; the limit is 5.0%" in look.failed[0].sentence
    assert "label_unknown" in [rule.rule for rule in look.failed]
    assert [example.row for example in look.validation.examples] == [0, 1, 2]
    assert look.last_good.delivery == good
    assert ("rows with label_unknown", "3", "0") in look.differences
    assert ("share of positive reviews", "51.4%", "50.0%") in look.differences
    assert [other.delivery for other in look.rest.others] == [beside]
    assert look.rest.accepted_rows == 40
    assert (look.state, look.problems, look.champion) == ("open", (), None)


def test_what_may_be_done_about_a_held_delivery_is_said_with_its_effect(stores):
    held = sent(stores, odd_rows(3), "bad.csv")
    ingest()

    remedies = looked_at(stores, held).remedies.offered

    assert [(remedy.action, remedy.tone) for remedy in remedies] == [
        ("revalidate", "plain"), ("release", "danger"), ("discard", "danger"),
    ]  # fmt: skip
    assert remedies[1].effect == (
        "accepts 37 of the 40 rows (the others break a row rule and go to quarantine)"
    )


def test_a_settled_delivery_has_nothing_to_press(stores):
    held = sent(stores, odd_rows(3), "bad.csv")
    ingest()
    replay(held, "discard")

    look = looked_at(stores, held)

    assert (look.state, look.remedies.offered) == ("settled", ())
    assert REASON in look.settled_by


@pytest.mark.long
def test_rows_left_in_quarantine_by_a_release_can_still_be_replayed(stores):
    held = sent(stores, odd_rows(3), "bad.csv")
    ingest()
    replay(held, "release")

    look = looked_at(stores, held)

    assert only(stores).state == look.state == "settled"
    offered = look.remedies.offered
    assert [remedy.action for remedy in offered] == ["revalidate", "discard"]
    assert offered[1].effect == "discards the 3 rows permanently"
    assert look.remedies.not_offered.startswith("They cannot be released, because they lack")


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_champion_that_cannot_be_read_is_a_sentence_and_no_empty_page(stores, is_gone):
    held = sent(stores, odd_rows(3), "bad.csv")
    ingest()
    models = stores.models
    if is_gone:
        models = Bucket("no-such-bucket", models._client, config.load().store, models.keyring)
    stores.models.put("sentiment/log/00000001.json", b"{")

    look = incident.look(stores.reviews, Registry(models, "sentiment"), held)

    assert look.champion is None
    assert look.failed
    assert look.problems[-1].startswith("Cannot tell whether a champion answers:")
    assert stores.models.endpoint not in str(look.problems)


@pytest.mark.long
def test_the_champion_that_still_answers_is_named(stores, champions):
    entry: LogEntry = champions(1)[-1]
    held = sent(stores, odd_rows(3, night=THIRD), "bad.csv", night=THIRD)
    ingest(THIRD)

    champion = looked_at(stores, held).champion
    assert (champion.entry, champion.began) == (entry, entry)


@pytest.mark.long
def test_a_pin_does_not_change_since_when_the_champion_answers(stores, champions):
    entry: LogEntry = champions(1)[-1]
    registry = Registry(stores.models, "sentiment")
    pinned = rollback.pin(registry, entry.version, actor="tester", reason="it is the best")
    held = sent(stores, odd_rows(3, night=THIRD), "bad.csv", night=THIRD)
    ingest(THIRD)

    champion = looked_at(stores, held).champion

    assert (champion.entry, champion.began) == (pinned, entry)


def test_a_file_that_cannot_be_read_is_not_offered_for_release(stores):
    cut = gzip.compress(as_csv(some_rows(40)))[:-20]
    key = landing_key("cut.csv.gz", source="web", night=NIGHT)
    deliver(stores, key, cut)
    ingest()

    look = looked_at(stores, only(stores).subject)

    assert look.is_unreadable
    assert [remedy.action for remedy in look.remedies.offered] == ["revalidate", "discard"]
    assert "no row can be read from it" in look.remedies.not_offered
    assert only(stores).is_of_unknown_size


def test_a_file_of_which_every_row_breaks_a_rule_is_not_offered_for_release(stores):
    held = sent(stores, odd_rows(40), "bad.csv")
    ingest()

    remedies = looked_at(stores, held).remedies

    assert [remedy.action for remedy in remedies.offered] == ["revalidate", "discard"]
    assert "every row of it breaks a row rule" in remedies.not_offered


@pytest.mark.long
def test_a_source_that_fell_silent_says_since_when_and_what_came_besides(stores, configure):
    configure(sources={"web": {"expected_every_days": 1}})
    sent(stores, some_rows(40), "r.csv")
    ingest()
    sent(stores, some_rows(40, first=100, night=SECOND), "r.csv", source="app", night=SECOND)
    ingest(SECOND)
    registry = Registry(stores.models, "sentiment")

    look = incident.look_at_missing(stores.reviews, registry, SECOND, "web")

    assert look.missing == MissingDelivery(
        night=SECOND, source="web", expected_every_days=1, last_delivered_for=NIGHT
    )
    assert look.rest.accepted_rows == 40
    assert incident.look_at_missing(stores.reviews, registry, THIRD, "web") is None


@pytest.mark.long
@pytest.mark.parametrize(
    ("action", "verdict", "accepted", "quarantined"),
    [("release", "PARTLY_ACCEPTED", 37, 3), ("discard", "DISCARDED", 0, 0)],
)
def test_what_people_decided_on_other_deliveries_of_the_night_is_counted(
    stores, action, verdict, accepted, quarantined
):
    held = sent(stores, odd_rows(3), "bad.csv")
    other = sent(stores, odd_rows(3, first=100), "replayed.csv", source="app")
    ingest()
    replay(other, action)

    beside = looked_at(stores, held).rest

    (one,) = beside.others
    assert (one.delivery, one.verdict, one.delivered_rows) == (other, verdict, 40)
    assert (one.accepted_rows, one.quarantined_rows, one.held_rows) == (accepted, quarantined, 0)
    assert (beside.accepted_rows, beside.held) == (accepted, 0)


@pytest.mark.long
def test_another_delivery_whose_ledger_entry_is_torn_is_counted_as_unreadable(stores):
    held = sent(stores, odd_rows(3), "bad.csv")
    other = sent(stores, some_rows(40, first=100), "torn.csv", source="app")
    ingest()
    stores.reviews.put(outcome_key(other), b"{")

    beside = looked_at(stores, held).rest

    assert (beside.others, beside.unreadable) == ((), 1)


def test_a_delivery_that_nobody_knows_has_no_page(stores):
    registry = Registry(stores.models, "sentiment")

    assert incident.look(stores.reviews, registry, "0" * 64) is None
    assert standings.find(stores.reviews, "0" * 64) is None
