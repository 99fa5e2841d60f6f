"""A delivery whose rows lie in several partitions counts as one whose rows lie in one."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.core import config
from pipelines.core.settings.settings import Settings
from pipelines.features.signatures import from_table
from pipelines.features.views import View
from pipelines.intake import arrivals, ledger, nights, snapshot, standings
from pipelines.intake.partitions import read_partition
from pipelines.records.data import Partition, Snapshot
from pipelines.records.deliveries import Outcome
from pipelines.records.validations import Validation
from pipelines.registry.fsck import check
from pipelines.registry.registry import Registry
from pipelines.steps import ingest
from pipelines.training.dataset import Dataset, load_dataset
from pipelines.validation import history, replay_apply, replay_plan
from pipelines.validation.validate import validate
from tests.support.in_memory import InMemory
from tests.support.made.builders import NIGHT, as_csv, deliver, landing_key, some_rows

KEY = landing_key("r.csv")
ROWS = 40
BAD = range(5, 22)  # positions of the rows without a known label
FILE = as_csv([row | ({"label": "so so"} if n in BAD else {}) for n, row in
               enumerate(some_rows(ROWS))])  # fmt: skip


@dataclass(frozen=True)
class World:
    reviews: InMemory
    settings: Settings
    outcome: Outcome
    validation: Validation

    @property
    def delivery(self) -> str:
        return self.outcome.delivery

    def table(self, parts: tuple[Partition, ...]) -> pa.Table:
        return pa.concat_tables(read_partition(self.reviews, part) for part in parts)

    def standing(self) -> standings.Standing:
        standing = standings.find(self.reviews, self.delivery)
        assert standing is not None
        return standing

    def snapshot(self) -> Snapshot:
        return snapshot.take(self.reviews, self.settings.split)

    def dataset(self) -> Dataset:
        return load_dataset(self.reviews, self.snapshot())

    def replay(self, action, rows=None):
        _, plan = replay_plan.make_plan(
            self.reviews, self.delivery, action, rows=rows, reason="because",
            settings=self.settings,
        )  # fmt: skip
        return replay_apply.apply_plan(self.reviews, plan, self.settings, actor="tester")


def world(partition_rows: int, *, most_quarantined: float = 0.5) -> World:
    """The file, ingested into an empty ledger."""
    default, reviews = config.load(), InMemory()
    settings = default.model_copy(
        update={
            "intake": default.intake.model_copy(update={"partition_rows": partition_rows}),
            "validation": default.validation.model_copy(
                update={"max_quarantined_share": most_quarantined}
            ),
        }
    )
    reviews.put(KEY, FILE)
    key, arrival = arrivals.receive(reviews, KEY, night=NIGHT, intake=settings.intake)
    arrival, delivery = arrivals.read_arrival(reviews, key)
    key, validation = validate(reviews, delivery, settings, before=NIGHT)
    outcome = ledger.conclude(reviews, arrival, delivery, validation, key)
    ledger.give_receipt(reviews, arrival, outcome)
    return World(reviews, settings, outcome, validation)


@pytest.fixture(scope="module")
def one() -> World:
    return world(ROWS)


@pytest.fixture(scope="module")
def several() -> World:
    return world(10)


def test_each_partition_has_at_most_so_many_rows(several):
    outcome = several.outcome

    assert [part.rows for part in outcome.accepted_parts] == [10, 10, 3]
    assert [part.rows for part in outcome.quarantined_parts] == [10, 7]
    assert [part.rows for part in outcome.sketches] == [10, 10, 3]
    assert several.validation.stored_rows() == outcome.stored_rows()


def test_the_rows_are_the_same_and_in_the_same_order(one, several):
    for name in ("accepted_parts", "quarantined_parts", "sketches"):
        whole = one.table(getattr(one.outcome, name))
        assert several.table(getattr(several.outcome, name)).equals(whole)


def test_the_verdict_does_not_depend_on_the_size_of_partitions(one, several):
    stored = set(one.outcome.stored_rows())
    unequal = {*stored, "basis", "page_sha256"}

    assert several.validation.model_dump(exclude=unequal) == one.validation.model_dump(
        exclude=unequal
    )


def test_a_record_of_one_partition_of_each_kind_has_no_field_for_more(one, several):
    names = {"further_accepted", "further_quarantined", "further_sketches"}

    assert not names & json.loads(one.outcome.to_bytes()).keys()
    assert names < json.loads(several.outcome.to_bytes()).keys()
    assert Outcome.from_bytes(several.outcome.to_bytes(), uri="here") == several.outcome


def test_a_snapshot_pins_every_partition_and_the_splits_are_the_same(one, several):
    pinned = several.snapshot()

    assert {part.key for part in pinned.partitions} == {
        part.key for part in several.outcome.accepted_parts
    }
    assert pinned.rows == one.snapshot().rows == ROWS - len(BAD)
    assert sides(several.dataset()) == sides(one.dataset())


def sides(dataset: Dataset) -> set[tuple[bytes, int, bool, bool, float]]:
    """Of each review: its label and where it is in the splits."""
    return set(zip(
        dataset.text_id.tolist(), dataset.label.tolist(), dataset.is_holdout.tolist(),
        dataset.is_selection.tolist(), dataset.fold_share.tolist(), strict=True,
    ))  # fmt: skip


def test_training_reads_the_same_reviews(one, several):
    first, second = one.dataset(), several.dataset()

    assert sorted(second.texts(second.training_rows)) == sorted(first.texts(first.training_rows))
    prints = [each.fingerprints(each.training_rows, View()) for each in (first, second)]
    assert np.array_equal(*(np.sort(each.ids) for each in prints))


def test_the_texts_of_every_partition_are_known_to_later_nights(several):
    every = standings.every(several.reviews)
    counted = history.counted_before(every, "2026-01-06", several.settings.validation)

    known, _ = history.read_known(several.reviews, counted)

    keys, _ = from_table(several.table(several.outcome.sketches))
    assert known.text_keys.tolist() == sorted(keys.tolist())
    assert len(known.text_keys) == ROWS - len(BAD)


def test_rows_of_any_partition_in_quarantine_can_be_looked_at_and_given_up():
    several = world(10)

    count, first = replay_plan.left_out(
        several.reviews, several.standing(), several.settings, reason="label_unknown", most=12
    )
    replay = several.replay("discard", [BAD[3], BAD[12]])

    assert count == len(BAD)
    assert [row.row for row in first] == list(BAD[:12])
    assert replay.discarded_rows == 2
    assert [part.rows for part in replay.quarantined_parts] == [10, 5]
    left = several.table(several.standing().quarantined)["row"].to_pylist()
    assert left == [row for row in BAD if row not in {BAD[3], BAD[12]}]


def test_a_held_delivery_that_is_released_counts_with_all_its_partitions():
    held = world(10, most_quarantined=0.1)
    assert held.outcome.verdict == "HELD"

    count, first = replay_plan.left_out(
        held.reviews, held.standing(), held.settings, reason=None, most=3
    )
    replay = held.replay("release")

    assert (count, [row.row for row in first]) == (len(BAD), list(BAD[:3]))
    assert [part.rows for part in replay.accepted_parts] == [10, 10, 3]
    assert held.standing().accepted == [*replay.accepted_parts]
    assert held.snapshot().rows == ROWS - len(BAD)


def test_a_night_counts_its_rows_once(several):
    summary = nights.summarize(several.reviews, NIGHT)

    assert (summary.accepted_rows, summary.quarantined_rows) == (ROWS - len(BAD), len(BAD))


def test_fsck_reads_every_partition(several):
    registry = Registry(InMemory(), "sentiment")
    further = several.outcome.further_accepted[-1].key
    assert check.check(several.reviews, registry, is_deep=True) == []

    spoiled = InMemory()
    spoiled.objects = several.reviews.objects | {further: b"other bytes"}
    lost = InMemory()
    lost.objects = {key: data for key, data in several.reviews.objects.items() if key != further}

    assert [one.key for one in check.check(spoiled, registry, is_deep=True)] == [further]
    assert [one.key for one in check.check(lost, registry, is_deep=False)] == [further]


def test_a_ledger_entry_that_counts_other_rows_than_its_further_partitions_is_found(several):
    outcome = several.outcome
    entry = outcome.model_copy(update={"further_accepted": outcome.further_accepted[:1]})
    changed = InMemory()
    changed.objects = dict(several.reviews.objects)
    del changed.objects[outcome.object_key]
    changed.put_record(entry)

    whats = [one.what for one in check.check(changed, Registry(InMemory(), "sentiment"),
                                             is_deep=False)]  # fmt: skip

    assert any("counts other rows than its partitions hold" in what for what in whats)


def test_the_commands_go_through_a_night_of_several_partitions(stores, configure):
    configure(intake={"partition_rows": 10}, validation={"max_quarantined_share": 0.5})
    deliver(stores, KEY, FILE)

    night = CliRunner().invoke(app, ["ingest", "--night", NIGHT, "--json"])
    (delivery,) = (each.outcome.delivery for each in standings.every(stores.reviews))
    shown = CliRunner().invoke(app, ["delivery", "rows", delivery, "--first", "12", "--json"])

    assert night.exit_code == shown.exit_code == 0
    assert json.loads(shown.stdout)["rows_that_break_a_rule"] == len(BAD)
    assert len(json.loads(shown.stdout)["rows"]) == 12
    assert ingest.summarize_night(NIGHT)["accepted_rows"] == ROWS - len(BAD)
