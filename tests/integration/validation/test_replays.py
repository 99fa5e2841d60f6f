"""Another look at rows that do not count: released, judged again, or given up."""

import json
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.core import config
from pipelines.core.errors import (
    DeliveryHeldError,
    MissingDeliveryError,
    NightHeldError,
    ReplayError,
)
from pipelines.core.keys import replay_key
from pipelines.core.store.stores import Stores
from pipelines.intake import nights, standings
from pipelines.intake.landing import delivery_digest, parse_name
from pipelines.intake.snapshot import take
from pipelines.intake.standings import Standing
from pipelines.records.deliveries import MissingDelivery, Receipt, ReplayPlan
from pipelines.steps import ingest as steps_ingest
from pipelines.steps import replay
from tests.support.made.builders import NIGHT, Row, as_csv, deliver, landing_key, listing, some_rows

NEXT_NIGHT = "2026-01-06"
KEY = landing_key("r.csv")
REASON = "upstream says so"


def ingest(night: str = NIGHT) -> Result:
    return CliRunner().invoke(app, ["ingest", "--night", night, "--json"])


def delivered(stores: Stores, rows: list[Row]) -> str:
    """Deliver and ingest a file of these rows; returns its delivery."""
    body = as_csv(rows)
    deliver(stores, KEY, body)
    ingest()
    return delivery_digest(parse_name(KEY), body).hexdigest()


def with_unknown_labels(count: int) -> list[Row]:
    return [row | ({"label": "so so"} if n < count else {}) for n, row in enumerate(some_rows(40))]


def with_markup(count: int) -> list[Row]:
    more = {"text": "A <span>very</span> good evening at the cinema, number "}
    return [
        row | ({"text": more["text"] + str(n)} if n < count else {})
        for n, row in enumerate(some_rows(40))
    ]


def replayed(delivery: str, action: Any, rows: list[int] | None = None) -> str:
    plan_uri = replay.plan_replay(delivery, action, REASON, rows)
    return replay.apply_replay(plan_uri, "tester")


def standing(stores: Stores, delivery: str) -> Standing:
    current = standings.find(stores.reviews, delivery)
    assert current is not None
    return current


def counts(stores: Stores, delivery: str) -> tuple[int, int, int, int, int]:
    """Delivered, accepted, quarantined, held, discarded."""
    entry = standing(stores, delivery).newest
    discarded = getattr(entry, "discarded_rows", 0)
    return (
        entry.delivered_rows, entry.accepted_rows, entry.quarantined_rows, entry.held_rows,
        discarded,
    )  # fmt: skip


def trained_on(stores: Stores) -> int:
    return take(stores.reviews, config.load().split).rows


def rows_that_count(stores: Stores) -> int:
    return sum(one.accepted_rows for one in standings.every(stores.reviews))


def test_a_released_delivery_counts_but_for_the_rows_that_break_a_row_rule(stores):
    delivery = delivered(stores, with_unknown_labels(3))
    assert counts(stores, delivery) == (40, 0, 0, 40, 0)

    replayed(delivery, "release")

    assert standing(stores, delivery).verdict == "PARTLY_ACCEPTED"
    assert counts(stores, delivery) == (40, 37, 3, 0, 0)
    assert trained_on(stores) == 37


def test_a_delivery_is_judged_again_by_todays_rules(stores, configure):
    delivery = delivered(stores, with_unknown_labels(3))
    configure(validation={"max_quarantined_share": 0.10})

    replayed(delivery, "revalidate")

    assert counts(stores, delivery) == (40, 37, 3, 0, 0)
    assert standing(stores, delivery).validation_key != (
        standing(stores, delivery).outcome.validation_key
    )


def test_a_delivery_that_is_held_by_todays_rules_too_stays_held_and_the_look_is_recorded(stores):
    delivery = delivered(stores, with_unknown_labels(3))

    replayed(delivery, "revalidate")

    assert standing(stores, delivery).verdict == "HELD"
    assert counts(stores, delivery) == (40, 0, 0, 40, 0)
    (entry,) = standing(stores, delivery).replays
    assert (entry.action, entry.actor, entry.reason) == ("revalidate", "tester", REASON)


def test_a_discarded_delivery_is_given_up_for_good(stores):
    delivery = delivered(stores, with_unknown_labels(3))

    replayed(delivery, "discard")

    assert standing(stores, delivery).verdict == "DISCARDED"
    assert counts(stores, delivery) == (40, 0, 0, 0, 40)
    with pytest.raises(ReplayError, match="no row of it is held"):
        replay.plan_replay(delivery, "release", REASON)


def test_a_release_whose_answer_was_lost_can_be_repeated_and_does_no_more(stores):
    delivery = delivered(stores, with_markup(3) + with_unknown_labels(3))
    first = replayed(delivery, "release")

    assert replayed(delivery, "release") == first
    assert len(standing(stores, delivery).replays) == 1
    with pytest.raises(ReplayError, match="cannot be released"):
        replay.plan_replay(delivery, "release", "these too")


@pytest.mark.long
def test_clearing_an_old_replay_decides_on_nothing_that_came_later(stores):
    delivery = delivered(stores, with_markup(3))
    first = replayed(delivery, "release")
    plan_uri = replay.plan_replay(delivery, "discard", "these two", [1, 0])
    replay.apply_replay(plan_uri, "tester")

    again = replayed(delivery, "release")
    turned = replay.plan_replay(delivery, "discard", "these two", [0, 1, 1])

    assert (again, turned) == (first, plan_uri)
    assert len(standing(stores, delivery).replays) == 2


@pytest.mark.long
def test_the_shell_says_that_a_repeated_request_leaves_rows_in_quarantine(stores):
    delivery = delivered(stores, with_unknown_labels(3))
    request = ["delivery", "release", delivery, "--reason", REASON, "--yes", "--json"]

    first, second = (CliRunner().invoke(app, request) for _ in range(2))

    assert json.loads(second.stdout) == json.loads(first.stdout) | {"left_in_quarantine": 3}
    assert "3 rows are still in quarantine" in " ".join(second.stderr.split())
    assert "another reason" not in first.stderr


@pytest.mark.long
def test_the_same_reason_for_other_rows_is_another_request(stores):
    delivery = delivered(stores, with_unknown_labels(3))
    replayed(delivery, "release")
    first = replayed(delivery, "discard", [0])

    assert replayed(delivery, "discard", [0]) == first
    assert replayed(delivery, "discard", [1]) != first
    assert counts(stores, delivery) == (40, 37, 1, 0, 2)


@pytest.mark.long
def test_a_file_that_could_not_be_read_can_be_discarded_but_not_released(stores):
    delivery = delivered(stores, [])
    deliver(stores, landing_key("cut.parquet"), b"PAR1 and no more")
    ingest()
    cut = delivery_digest(parse_name("landing/web/x/cut.parquet"), b"PAR1 and no more").hexdigest()

    with pytest.raises(ReplayError, match="cannot be read"):
        replay.plan_replay(cut, "release", REASON)
    replayed(cut, "discard")

    assert standing(stores, cut).verdict == "DISCARDED"
    assert standing(stores, delivery).verdict == "HELD"


def test_chosen_rows_are_released_discarded_and_the_rest_stays(stores, configure):
    configure(validation={"max_quarantined_share": 0.20})
    delivery = delivered(stores, with_markup(5))
    assert counts(stores, delivery) == (40, 35, 5, 0, 0)

    replayed(delivery, "release", [0, 2])
    replayed(delivery, "discard", [1])

    assert counts(stores, delivery) == (40, 37, 2, 0, 1)
    assert [entry.number for entry in standing(stores, delivery).replays] == [1, 2]
    assert trained_on(stores) == 37
    with pytest.raises(ReplayError, match=r"\[1\] are not in quarantine.*\[3, 4\]"):
        replay.plan_replay(delivery, "release", REASON, [1])


def test_rows_that_nothing_can_be_learned_from_are_not_released(stores):
    delivery = delivered(stores, with_unknown_labels(2))

    with pytest.raises(ReplayError, match=r"\[0, 1\] cannot be released"):
        replay.plan_replay(delivery, "release", REASON)


def test_a_plan_changes_nothing_and_is_carried_out_once(stores):
    delivery = delivered(stores, with_unknown_labels(3))
    before = standing(stores, delivery)
    plan_uri = replay.plan_replay(delivery, "release", REASON)
    assert standing(stores, delivery) == before

    first = replay.apply_replay(plan_uri, "tester")
    after = listing(stores.reviews)
    second = replay.apply_replay(plan_uri, "somebody else")

    assert first == second
    assert listing(stores.reviews) == after


def test_a_plan_that_another_replay_overtook_is_refused(stores):
    delivery = delivered(stores, with_unknown_labels(3))
    late = replay.plan_replay(delivery, "release", REASON)
    replayed(delivery, "discard")

    with pytest.raises(ReplayError, match="replayed since this plan"):
        replay.apply_replay(late, "tester")

    assert standing(stores, delivery).verdict == "DISCARDED"


@pytest.mark.parametrize("reason", ["", "   "])
def test_a_replay_needs_a_reason(stores, reason):
    delivery = delivered(stores, with_unknown_labels(3))

    with pytest.raises(ReplayError, match="needs a reason"):
        replay.plan_replay(delivery, "discard", reason)


@pytest.mark.long
def test_a_replayed_delivery_no_longer_turns_its_night_red(stores):
    delivery = delivered(stores, with_unknown_labels(3))
    with pytest.raises(NightHeldError):
        steps_ingest.check_night(NIGHT, [])

    replayed(delivery, "release")

    assert steps_ingest.check_night(NIGHT, []) == "ALL_HELD"


@pytest.mark.parametrize(("action", "rows"), [("release", 37), ("discard", 0)])
def test_a_later_run_of_the_night_goes_by_what_people_decided(stores, action, rows):
    delivery = delivered(stores, with_unknown_labels(3))
    arrival = steps_ingest.land(stores.reviews.uri(KEY), NIGHT)
    with pytest.raises(DeliveryHeldError):
        steps_ingest.validate(arrival)
    replayed(delivery, action)
    before = listing(stores.reviews)

    steps_ingest.accept(arrival, steps_ingest.validate(arrival))
    again = ingest()

    assert (again.exit_code, json.loads(again.stdout)["is_complete"]) == (0, True)
    assert listing(stores.reviews) == before
    assert rows_that_count(stores) == rows


@pytest.mark.parametrize("left", ["held", "torn"])
def test_what_people_decided_on_one_file_leaves_another_held(stores, left):
    delivery = delivered(stores, with_unknown_labels(3))
    other = landing_key("other.csv")
    deliver(stores, other, b"no,such,columns\n1,2,3\n")
    ingest()
    replayed(delivery, "discard")
    if left == "torn":  # what cannot be read is not taken as decided
        stores.reviews.put(replay_key(delivery, 1), b"{")
    held = KEY if left == "torn" else other

    with pytest.raises(DeliveryHeldError):
        steps_ingest.validate(steps_ingest.land(stores.reviews.uri(held), NIGHT))

    with pytest.raises(NightHeldError, match=held):
        steps_ingest.check_night(NIGHT, [])
    assert ingest().exit_code == 3


@pytest.mark.long
def test_released_texts_are_known_to_later_nights(stores):
    delivery = delivered(stores, with_unknown_labels(3))
    replayed(delivery, "release")
    deliver(stores, landing_key("again.jsonl", night=NEXT_NIGHT), as_csv(some_rows(40)))
    deliver(stores, landing_key("again.csv", night=NEXT_NIGHT), as_csv(some_rows(40)[3:]))

    ingest(NEXT_NIGHT)

    (again,) = [
        receipt
        for receipt in nights.summarize(stores.reviews, NEXT_NIGHT).receipts
        if receipt.landing_key.endswith("again.csv")
    ]
    assert (again.verdict, again.held_rows) == ("HELD", 37)
    assert "count already" in again.why


@pytest.mark.long
def test_the_shell_shows_plans_and_replays(stores):
    delivery = delivered(stores, with_unknown_labels(3))
    run = CliRunner().invoke

    listed = json.loads(run(app, ["delivery", "list", "--json"]).stdout)
    dry = json.loads(
        run(app, ["delivery", "release", delivery[:8], "--reason", REASON, "--json"]).stdout
    )
    done = json.loads(
        run(
            app, ["delivery", "release", delivery[:8], "--reason", REASON, "--yes", "--json"]
        ).stdout
    )
    shown = json.loads(run(app, ["delivery", "show", delivery, "--json"]).stdout)

    assert [line["delivery"] for line in listed] == [delivery]
    assert (dry["is_done"], dry["rows_that_would_count"]) == (False, 37)
    assert (done["is_done"], done["accepted_rows"]) == (True, 37)
    assert (shown["verdict"], shown["accepted_rows"]) == ("PARTLY_ACCEPTED", 37)
    assert [entry["reason"] for entry in shown["replays"]] == [REASON]
    assert "7.5% of the rows break a row rule; the limit is 5.0%" in shown["failed"][0]


def test_the_report_can_be_opened_from_a_file(stores, tmp_path):
    delivery = delivered(stores, with_markup(3))
    page = tmp_path / "page.html"

    result = CliRunner().invoke(app, ["delivery", "report", delivery, "--to", str(page)])

    assert result.exit_code == 0
    assert "A &lt;span&gt;very&lt;/span&gt; good evening" in page.read_text(encoding="utf-8")


def test_a_delivery_that_is_not_known_is_said_to_be_so(stores):
    result = CliRunner().invoke(app, ["delivery", "show", "0" * 64])

    assert result.exit_code == 1
    assert "python -m pipelines delivery list" in result.stderr


# ── Conflicts and silence ────────────────────────────────────────────────────────────────────


def receipt_of(stores: Stores, night: str) -> Receipt:
    (receipt,) = nights.summarize(stores.reviews, night).receipts
    return receipt


def test_other_content_under_a_name_is_shown_as_a_conflict(stores):
    first = delivered(stores, some_rows(40))
    deliver(stores, KEY, as_csv(some_rows(25, first=500)))

    ingest(NEXT_NIGHT)

    changed = receipt_of(stores, NEXT_NIGHT)
    assert receipt_of(stores, NIGHT).conflicts_with is None
    assert changed.conflicts_with == first
    assert changed.why.startswith("CONFLICT: this name was delivered before with other content")
    assert (changed.verdict, changed.accepted_rows) == ("ACCEPTED", 25)


@pytest.mark.long
def test_a_source_that_falls_silent_turns_the_night_red_and_is_recorded(stores, configure):
    configure(sources={"web": {"expected_every_days": 1}, "app": {"expected_every_days": 3}})
    deliver(stores, landing_key("r.csv", source="app"), as_csv(some_rows(40)))
    deliver(stores, KEY, as_csv(some_rows(40, first=100)))
    ingest()

    silent = ingest(NEXT_NIGHT)

    assert silent.exit_code == 3
    assert json.loads(silent.stdout)["status"] == "MISSING_DELIVERY"
    key = f"missing/{NEXT_NIGHT}/web.json"
    assert stores.reviews.get_record(key, MissingDelivery).last_delivered_for == NIGHT
    assert not [name for name in listing(stores.reviews) if name.endswith("/app.json")]
    with pytest.raises(MissingDeliveryError, match="'web' is overdue: expected daily"):
        steps_ingest.check_night(NEXT_NIGHT, [])


def test_before_its_first_delivery_a_source_is_not_overdue(stores, configure):
    configure(sources={"web": {"expected_every_days": 1}, "app": {"expected_every_days": 1}})
    delivered(stores, some_rows(40))
    ingest()

    before = json.loads(ingest("2025-12-01").stdout)["missing"]

    assert [missing["source"] for missing in before] == ["app"]  # which never delivered at all


def test_a_torn_record_of_a_silence_hides_no_silence(stores, configure):
    configure(sources={"web": {"expected_every_days": 1}})
    ingest()
    stores.reviews.put(f"missing/{NIGHT}/web.json", b"{")

    assert [missing["source"] for missing in json.loads(ingest().stdout)["missing"]] == ["web"]


def test_a_held_delivery_is_no_missing_one(stores, configure):
    configure(sources={"web": {"expected_every_days": 1}})
    delivered(stores, with_unknown_labels(3))

    assert json.loads(ingest().stdout)["missing"] == []


def test_a_late_delivery_ends_the_silence_and_the_record_stays(stores, configure):
    configure(sources={"web": {"expected_every_days": 1}})
    assert json.loads(ingest().stdout)["status"] == "MISSING_DELIVERY"

    deliver(stores, KEY, as_csv(some_rows(40)))

    assert json.loads(ingest().stdout)["status"] == "NEW_REVIEWS"
    assert f"missing/{NIGHT}/web.json" in listing(stores.reviews)


def test_a_plan_says_what_would_become_of_every_row(stores):
    delivery = delivered(stores, with_unknown_labels(3))

    reviews, key = stores.resolve(replay.plan_replay(delivery, "release", REASON))

    plan = reviews.get_record(key, ReplayPlan)
    assert len(plan.accept) == 37
    assert plan.quarantine == tuple((row, ("label_unknown",)) for row in range(3))


def shown_rows(delivery: str, *more: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["delivery", "rows", delivery, "--json", *more])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.long
def test_the_shell_shows_the_rows_that_break_a_rule_before_and_after_a_release(stores):
    delivery = delivered(stores, with_unknown_labels(3))

    held = shown_rows(delivery, "--first", "2")
    replayed(delivery, "release")
    quarantined = shown_rows(delivery, "--with-text")

    assert (held["delivered_rows"], held["rows_that_break_a_rule"]) == (40, 3)
    assert [(row["row"], row["reasons"]) for row in held["rows"]] == [
        (0, ["label_unknown"]), (1, ["label_unknown"]),
    ]  # fmt: skip
    assert "text" not in held["rows"][0]
    assert [row["text"] for row in quarantined["rows"]] == [row["text"] for row in some_rows(3)]
    assert shown_rows(delivery, "--reason", "text_html")["rows"] == []


@pytest.mark.long
def test_a_file_that_cannot_be_read_has_no_rows_to_show_and_says_so(stores):
    deliver(stores, landing_key("cut.parquet"), b"PAR1 and no more")
    ingest()
    (delivery,) = [standing.outcome.delivery for standing in standings.every(stores.reviews)]

    result = CliRunner().invoke(app, ["delivery", "rows", delivery])

    assert result.exit_code == 1
    assert "error: " in result.stderr
