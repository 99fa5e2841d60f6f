"""A night costs what it brought, and roll-ups change nothing of what is decided."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.years import Years, counted_requests
from pipelines.core import config
from pipelines.core.store import rollups
from pipelines.core.store.stores import Stores, open_stores
from pipelines.intake import arrivals, landing, ledger, nights, snapshot, standings
from pipelines.records.deliveries import NightSummary
from pipelines.steps import ingest, retrain
from pipelines.validation import pinned_history, replay_apply, replay_plan
from pipelines.validation.validate import validate
from tests.support.in_memory import InMemory
from tests.support.made.builders import as_csv, as_jsonl, landing_key, some_rows

SOURCES = 2
HELD = "2023-01-14"  # a night whose file is held at first
AFTER = "2023-01-15"
LAST = "2023-01-16"
ONE_ROW = {"validation": {"min_rows": 1}}


@pytest.fixture(autouse=True)
def keeps_every_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "FEWEST_NEW", 1)


# ── Requests ─────────────────────────────────────────────────────────────────────────────────


def requests_of_a_night(stores: Stores, years: Years, number: int) -> Counter[str]:
    """Of each step of a night, up to its snapshot and plan."""
    night, counts = years.night(number), Counter[str]()
    years.deliver(stores.reviews, number)

    def counted(step: Callable[..., Any], *arguments: Any) -> Any:
        with counted_requests() as requests:
            result = step(*arguments)
        counts[step.__name__] += requests.total
        return result

    due = counted(ingest.find_deliveries, night)
    history = counted(ingest.pin_history, night, due)
    for uri in due:
        arrival = counted(ingest.land, uri, night)
        validation = counted(ingest.validate, arrival, history)
        counted(ingest.accept, arrival, validation)
    counted(ingest.summarize_night, night)
    counted(ingest.check_night, night, due)
    counted(retrain.plan, counted(retrain.take_snapshot))
    return counts


@pytest.mark.long
def test_the_requests_of_a_night_do_not_grow_with_the_nights_before_it(stores, configure):
    sources = {f"source-{number:02d}": {"expected_every_days": 1} for number in range(SOURCES)}
    requests, name = [], stores.reviews.name
    for before in (8, 40):
        configure(
            **ONE_ROW,
            sources=sources,
            store={"reviews_bucket": f"{name}-{before}", "models_bucket": f"{name}-{before}-m"},
        )
        opened = open_stores(config.load())
        for bucket in (opened.reviews, opened.models):
            bucket.create_if_missing()
        years = Years(SOURCES, before)
        years.lay_down(opened.reviews)
        requests_of_a_night(opened, years, before + 1)  # the first one after years reads them all
        requests.append(requests_of_a_night(opened, years, before + 2))

    assert requests[0] == requests[1]


@pytest.mark.long
def test_a_night_of_a_thousand_files_is_found_summed_up_and_checked(stores, configure):
    most = config.load().intake.max_deliveries
    years = Years(most + 1, 2)
    configure(
        **ONE_ROW,
        store={"reviews_bucket": stores.reviews.name, "models_bucket": stores.models.name},
    )
    years.deliver(stores.reviews, 1)
    night = years.night(1)

    due = ingest.find_deliveries(night)
    assert len(due) == most <= 1024  # Airflow maps over no more
    assert len(json.dumps(due)) < 256 * 1024  # what is handed from task to task
    arrival = ingest.land(due[-1], night)
    ingest.accept(arrival, ingest.validate(arrival, ingest.pin_history(night, due)))
    assert len(ingest.find_deliveries(night)) == most  # the last file is due now, too

    Years(most + 1, 1).lay_down(stores.reviews)
    again = ingest.find_deliveries(night)
    summary = ingest.summarize_night(night)
    assert (len(again), summary["deliveries"]) == (most, most + 1)
    assert summary["accepted_rows"] == 3 * (most + 1)
    assert ingest.check_night(night, again) == "NEW_REVIEWS"
    assert len(ingest.find_deliveries(years.night(2))) == 0


# ── The same decisions ───────────────────────────────────────────────────────────────────────


class World:
    """Nights in memory, one of them with a held file, and what is done before each step."""

    def __init__(self, before_each: Callable[[InMemory], None] = lambda _bucket: None) -> None:
        self.reviews = InMemory()
        self.before_each = before_each
        self.settings = config.load()
        Years(SOURCES, 12).lay_down(self.reviews)

    @property
    def decided(self) -> dict[str, bytes]:
        """Everything but the roll-ups."""
        objects = self.reviews.objects
        return {key: data for key, data in objects.items() if not key.startswith("rollups/")}

    def do(self, step: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        self.before_each(self.reviews)
        return step(self.reviews, *arguments, **options)

    def night(self, night: str, *, pins: bool = True) -> NightSummary:
        due = self.do(landing.discover, night, most=10)
        limits = self.settings.validation
        pinned = (
            self.do(pinned_history.pin, before=night, settings=limits, learned=None)
            if pins
            else None
        )
        for key in due:
            arrival_key, arrival = self.do(
                arrivals.receive, key, night=night, intake=self.settings.intake
            )
            _, delivery = arrivals.read_arrival(self.reviews, arrival_key)
            validation_key, validation = self.do(
                validate, delivery, self.settings, before=night, pinned=pinned
            )
            outcome = ledger.conclude(self.reviews, arrival, delivery, validation, validation_key)
            self.do(ledger.give_receipt, arrival, outcome)
        summary: NightSummary = self.do(nights.night_summary, night, self.settings.sources)
        self.do(snapshot.take, self.settings.split)
        return summary

    def release(self) -> None:
        (held,) = [one for one in standings.every(self.reviews) if one.verdict == "HELD"]
        _, plan = replay_plan.make_plan(
            self.reviews, held.outcome.delivery, "release", rows=None, reason="it was fine",
            settings=self.settings,
        )  # fmt: skip
        replay_apply.apply_plan(self.reviews, plan, self.settings, actor="tester")


def play(world: World, monkeypatch: pytest.MonkeyPatch, *, pins: bool = True) -> None:
    """A held file, a night after it, its release, a late file, and a night that repeats it."""
    monkeypatch.setattr("pipelines.core.store.clock.written", lambda _at: f"{LAST}T03:00:00+00:00")
    rows = some_rows(40, first=900_000, night=HELD)
    dirty = [row | ({"label": "so so"} if number < 20 else {}) for number, row in enumerate(rows)]
    world.reviews.put(landing_key("dirty.csv", night=HELD), as_csv(dirty))
    assert world.night(HELD, pins=pins).held_deliveries == 1
    new = some_rows(40, first=910_000, night=AFTER)
    world.reviews.put(landing_key("new.jsonl", night=AFTER), as_jsonl(new))
    assert world.night(AFTER, pins=pins).accepted_rows == 40
    world.release()
    late = some_rows(40, first=920_000, night=HELD)
    world.reviews.put(landing_key("late.jsonl", night=HELD), as_jsonl(late))
    assert world.night(HELD, pins=pins).accepted_rows == 40
    mixed = [*rows[20:22], *late[:3], *new[:4], *some_rows(80, first=930_000, night=LAST)]
    world.reviews.put(landing_key("mixed.jsonl", night=LAST), as_jsonl(mixed))
    summary = world.night(LAST, pins=pins)
    assert (summary.accepted_rows, summary.quarantined_rows) == (80, 9)


@pytest.fixture
def one_key(configure: Any, s3_environment: pytest.MonkeyPatch) -> None:
    """The same key for all worlds, so that equal records are equal bytes."""
    configure(validation={"max_known_share": 0.5, "min_rows": 1})
    s3_environment.setenv("LOOP_SIGNING_KEY", "11" * 32)


_EXPECTED: dict[str, bytes] = {}


@pytest.fixture
def expected(one_key: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What is decided without any roll-up."""

    def delete_all(bucket: InMemory) -> None:
        for info in bucket.list("rollups/"):
            bucket.delete(info.key)

    if not _EXPECTED:
        world = World(delete_all)
        play(world, monkeypatch, pins=False)
        _EXPECTED.update(world.decided)
    return _EXPECTED


@pytest.mark.long
def test_roll_ups_change_no_decision(expected, monkeypatch):
    world = World()

    play(world, monkeypatch)

    assert [info.key for info in world.reviews.list("rollups/")]
    assert world.decided == expected


def spoil_all(bucket: InMemory) -> None:
    for info in bucket.list("rollups/"):
        bucket.objects[info.key] = bucket.objects[info.key][:-1]


def swap_all(bucket: InMemory) -> None:
    keys = [info.key for info in bucket.list("rollups/")]
    moved = dict(zip(keys, [bucket.objects[key] for key in keys[1:] + keys[:1]], strict=True))
    bucket.objects |= moved


class KeepsAll:
    """Whatever was deleted or replaced is put back."""

    def __init__(self) -> None:
        self.seen: dict[str, bytes] = {}

    def __call__(self, bucket: InMemory) -> None:
        now = {info.key: bucket.objects[info.key] for info in bucket.list("rollups/")}
        self.seen = now | self.seen
        bucket.objects |= self.seen


class KeepsFirst(KeepsAll):
    """Only what was rolled up first is left, whatever came since."""

    def __call__(self, bucket: InMemory) -> None:
        for info in bucket.list("rollups/"):
            folder = info.key.split("/")[1]
            if all(key.split("/")[1] != folder for key in self.seen):
                self.seen[info.key] = bucket.objects[info.key]
            bucket.delete(info.key)
        bucket.objects |= self.seen


@pytest.mark.long
@pytest.mark.quick_every(1000)
@pytest.mark.attack
@pytest.mark.parametrize(
    "tamper",
    [spoil_all, swap_all, KeepsAll(), KeepsFirst()],
    ids=["torn", "swapped", "all put back", "only the first"],
)
def test_roll_ups_that_were_tampered_with_change_no_decision(expected, monkeypatch, tamper):
    world = World(tamper)

    play(world, monkeypatch)

    assert world.decided == expected


def test_a_pinned_history_is_used_for_its_own_night_and_settings_only(one_key):
    world = World()
    limits = world.settings.validation
    key = pinned_history.pin(world.reviews, before=AFTER, settings=limits, learned=None)

    def found(**other: Any) -> bool:
        asked: dict[str, Any] = {"before": AFTER, "settings": limits, "learned": None, **other}
        return pinned_history.find(world.reviews, key, source="web", **asked) is not None

    learned = snapshot.take(world.reviews, world.settings.split)
    assert found()
    assert not found(before=LAST)
    assert not found(settings=limits.model_copy(update={"trailing_nights": 3}))
    assert not found(learned=learned)


def test_a_few_pinned_histories_are_kept(one_key):
    world = World()
    for night in (HELD, AFTER, LAST, "2023-01-17", "2023-01-18"):
        limits = world.settings.validation
        key = pinned_history.pin(world.reviews, before=night, settings=limits, learned=None)

    kept = [info.key for info in world.reviews.list("rollups/histories-")]

    assert key in kept
    assert len(kept) == pinned_history.MOST_KEPT
