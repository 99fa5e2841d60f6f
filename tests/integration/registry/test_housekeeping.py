"""What nothing needs any more is deleted, recorded, and nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from benchmarks.years import Years
from pipelines.cli.app import app
from pipelines.core import config
from pipelines.core.errors import TrustError
from pipelines.core.keys import SNAPSHOTS
from pipelines.core.store import rollups
from pipelines.core.store.answers import ObjectInfo
from pipelines.features import fingerprint_cache
from pipelines.features.packs import packed
from pipelines.features.views import View
from pipelines.intake import snapshot
from pipelines.intake.standings import every
from pipelines.records.data import Snapshot
from pipelines.records.housekeeping import Housekeeping
from pipelines.records.succession import LogEntry
from pipelines.records.versions import Manifest
from pipelines.registry import housekeeping
from pipelines.registry.fsck import check
from pipelines.registry.promotion import promote
from pipelines.registry.registry import Registry
from pipelines.steps import housekeeping as steps
from pipelines.validation import pinned_history
from tests.support.made.registry_builders import a_version, decided, promoted
from tests.support.page_site import Bucket

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=100)


class Aged(Bucket):
    """A bucket in memory whose objects were all stored long ago, except those of ``new``."""

    def __init__(self) -> None:
        super().__init__()
        self.new: set[str] = set()
        self.deleted: list[str] = []

    def _info(self, key: str) -> ObjectInfo:
        info = super()._info(key)
        moment = NOW if key in self.new else LONG_AGO
        return ObjectInfo(info.key, info.size_bytes, info.version_tag, moment)

    def put(self, key: str, data: bytes) -> None:
        super().put(key, data)
        if key.startswith(SNAPSHOTS):
            self.new.add(key)

    def delete(self, key: str) -> None:
        super().delete(key)
        self.deleted.append(key)


class World:
    """Two champions, versions that never became one, and what a few nights left."""

    def __init__(self) -> None:
        self.reviews, self.models = Aged(), Aged()
        self.registry = Registry(self.models, "sentiment")
        self.settings = config.load()
        Years(2, 3).lay_down(self.reviews)
        self.pinned = snapshot.take(self.reviews, self.settings.split)
        self.reviews.new.clear()
        self.first = self._promoted("first")
        self.rejected = [self._rejected(f"rejected {number}") for number in range(3)]
        self.second = self._promoted("second", against=self.first)

    def _promoted(self, name: str, against: LogEntry | None = None) -> LogEntry:
        manifest = a_version(self.registry, name, snapshot=self.pinned.digest())
        _, decision = decided(self.registry, manifest, against=against)
        return promote(self.registry, decision, policy=decision.policy, actor="test", reason="")

    def _rejected(self, name: str) -> str:
        manifest = a_version(self.registry, name, snapshot=self.pinned.digest())
        decided(self.registry, manifest, against=self.first, verdict="REJECT")
        return manifest.version

    def plan(self, **changes: int) -> list[str]:
        kept = {"unpromoted_versions": 1, **changes}
        retention = self.settings.retention.model_copy(update=kept)
        self.doomed = housekeeping.plan(self.reviews, [self.registry], retention, now=NOW)
        return [each.key for each in self.doomed]

    def tidy_up(self, **changes: int) -> Housekeeping | None:
        self.plan(**changes)
        return housekeeping.apply(self.reviews, [self.registry], self.doomed, actor="tester")

    def errors(self) -> list[str]:
        """What `champion fsck` finds, except what these made-up models lack from the start."""
        found = check.check(self.reviews, self.registry)
        return [f"{each.key} {each.what}" for each in found if each.kind == "error"]


@pytest.fixture(autouse=True)
def keeps_every_entry(monkeypatch):
    monkeypatch.setattr(rollups, "FEWEST_NEW", 1)


@pytest.fixture
def world(configure, s3_environment) -> World:
    configure()
    return World()


def versions_of(keys: list[str]) -> set[str]:
    return {key.split("/")[2] for key in keys if "/versions/" in key}


def test_only_what_nothing_names_is_deleted(world):
    reviews = world.reviews
    (delivery, *_) = every(reviews)
    named_report = delivery.outcome.validation_key
    other_report = named_report.replace(named_report.split("/")[2], "0" * 16)
    unfinished = f"reports/{'e' * 64}/{'0' * 16}/validation.json"
    part = world.pinned.partitions[0]
    used = fingerprint_cache.cache_key(part, View(ngram_max=3, bits=40))
    folder = used.rpartition("/")[0]
    deleted = {
        other_report,
        other_report.replace("validation.json", "report.html"),
        f"{folder}/{'d' * 64}.npz",
        f"{folder}/{'d' * 64}.signatures",
        f"features/fp0-n3-b40/{part.sha256}.npz",
        f"features/fp0-n3-b40/corpora-c0-df2/{'a' * 64}.corpus",
        f"features/bundles/{'b' * 64}.bundle",
        f"features/packs/{'b' * 64}.pack",
        f"features/answers/{'b' * 64}.answers",
        f"rollups/ledger-{'0' * 16}/{'c' * 64}.rollup",
        f"snapshots/{'f' * 64}.json",
    }
    counted = [part for standing in every(reviews) for part in standing.accepted]
    packs = [pack for pack in packed(sorted(counted, key=lambda one: one.key)) if pack.is_several]
    of_packs = {pack.key for pack in packs} | {f"{folder}/{pack.sha256}.npz" for pack in packs}
    kept = {unfinished, used, *of_packs, *(f"{folder}/corpora-c1-df2/{n}.corpus" for n in "ab")}
    reviews.objects |= dict.fromkeys(deleted | kept, b"x")
    before = set(reviews.objects)

    world.tidy_up()

    assert before - set(reviews.objects) == deleted


def test_the_newest_versions_that_were_never_promoted_are_kept(world):
    for key in list(world.models.objects):
        if world.rejected[1] in key:
            world.models.new.add(key)

    keys = world.plan(unpromoted_versions=1)

    assert versions_of(keys) == {world.rejected[0], world.rejected[2]}
    assert versions_of(world.plan(unpromoted_versions=2)) < versions_of(keys)
    assert versions_of(world.plan(unpromoted_days=200)) == set()


def taken_long_ago(world: World) -> Snapshot:
    """A snapshot that no plan names yet."""
    split = world.settings.split.model_copy(update={"salt": "its own"})
    own = snapshot.take(world.reviews, split)
    world.reviews.new.clear()
    return own


def alone(world: World) -> tuple[Manifest, Snapshot]:
    """A version that nothing keeps, and the snapshot that it alone was planned with."""
    own = taken_long_ago(world)
    version = a_version(world.registry, "alone", snapshot=own.digest())
    world.models.new |= {
        key for key in world.models.objects if any(each in key for each in world.rejected)
    }
    assert own.object_key in world.plan()
    return version, own


def test_plan_and_snapshot_of_a_version_go_with_it(world):
    version, own = alone(world)

    world.tidy_up()

    assert f"sentiment/plans/{version.version}.json" not in world.models.objects
    assert own.object_key not in world.reviews.objects
    assert world.pinned.object_key in world.reviews.objects
    assert f"sentiment/plans/{world.rejected[0]}.json" in world.models.objects


@pytest.mark.parametrize("is_configured", [True, False])
def test_what_another_model_names_is_kept(world, is_configured):
    """Also of a model that the configuration does not name any more: its champion may answer."""
    own = taken_long_ago(world)
    stars = Registry(world.models, "stars")
    champion = promoted(stars, "theirs", snapshot=own.digest())
    part = own.partitions[0].sha256
    used = fingerprint_cache.cache_key(own.partitions[0], View(ngram_max=3, bits=40))
    world.reviews.objects[used] = b"x"
    before = set(world.models.objects)
    registries = [world.registry, stars] if is_configured else [world.registry]

    retention = world.settings.retention.model_copy(update={"unpromoted_versions": 1})
    doomed = housekeeping.plan(world.reviews, registries, retention, now=NOW)
    housekeeping.apply(world.reviews, registries, doomed, actor="tester")

    assert own.object_key in world.reviews.objects
    assert {used, f"accepted/date={own.partitions[0].night}/{part}.parquet"} <= set(
        world.reviews.objects
    )
    gone = before - set(world.models.objects)
    assert gone  # of the first model
    assert not any(key.startswith("stars/") for key in gone)
    assert stars.log.champion() == champion


@pytest.mark.attack
def test_a_champions_version_copied_to_another_models_folder_takes_nothing_from_it(world):
    own = taken_long_ago(world)
    manifest = a_version(world.registry, "third", snapshot=own.digest())
    _, decision = decided(world.registry, manifest, against=world.second)
    promote(world.registry, decision, policy=decision.policy, actor="test", reason="")
    stars = Registry(world.models, "stars")
    a_version(stars, "theirs")
    copied = f"stars/versions/{manifest.version}/manifest.json"
    world.models.objects[copied] = world.models.objects[manifest.object_key]
    needed = {key for key in world.models.objects if manifest.version in key} - {copied}

    retention = world.settings.retention.model_copy(update={"unpromoted_versions": 0})
    doomed = housekeeping.plan(world.reviews, [world.registry, stars], retention, now=NOW)
    housekeeping.apply(world.reviews, [world.registry, stars], doomed, actor="tester")

    assert copied not in world.models.objects
    assert needed <= set(world.models.objects)
    assert own.object_key in world.reviews.objects


def test_the_snapshot_of_a_kept_version_whose_plan_was_lost_is_kept(world):
    for key in [key for key in world.models.objects if "/plans/" in key]:
        del world.models.objects[key]

    assert world.pinned.object_key not in world.plan()


@pytest.mark.attack
def test_nothing_is_deleted_while_the_end_of_the_log_is_missing(world):
    decided(world.registry, a_version(world.registry, "later"), against=world.second)
    del world.models.objects["sentiment/champion.json"]
    del world.models.objects[world.second.object_key]

    with pytest.raises(TrustError, match="cut"):
        world.plan()


def test_versions_that_were_never_promoted_are_counted_for_each_model(world):
    stars = Registry(world.models, "stars")
    first = promoted(stars, "theirs", snapshot=world.pinned.digest())
    rejected = [a_version(stars, f"theirs {number}") for number in range(2)]
    for each in rejected:
        decided(stars, each, against=first, verdict="REJECT")

    retention = world.settings.retention.model_copy(update={"unpromoted_versions": 1})
    doomed = housekeeping.plan(world.reviews, [world.registry, stars], retention, now=NOW)
    housekeeping.apply(world.reviews, [world.registry, stars], doomed, actor="tester")

    kept = {each.version for each in rejected if stars.versions.find_version(each.version)}
    assert len(kept) == 1
    assert len([v for v in world.rejected if world.registry.versions.find_version(v)]) == 1
    assert [entry.version for entry in stars.log.history()] == [first.version]


def test_packs_of_a_model_that_learns_from_some_sources_are_kept(world):
    standings_of = {each.outcome.source for each in every(world.reviews)}
    some = sorted(standings_of)[:1]
    own = snapshot.take(world.reviews, world.settings.split, sources=some)
    (pack, *_) = [pack for pack in packed(own.partitions) if pack.is_several]
    world.reviews.objects[pack.key] = b"x"

    def doomed(*sources):
        found = housekeeping.plan(
            world.reviews, [world.registry], world.settings.retention, sources=sources, now=NOW
        )
        return {each.key for each in found}

    assert len(standings_of) > 1
    assert pack.key in doomed(())
    assert pack.key not in doomed((), some)


def test_a_version_that_may_still_become_champion_is_kept(world):
    waiting = a_version(world.registry, "waiting")
    decided(world.registry, waiting, against=world.second, approval="needed")

    assert waiting.version not in versions_of(world.plan())
    assert len(versions_of(world.plan())) >= 2


def test_a_version_whose_records_cannot_be_read_is_kept(world):
    torn = world.rejected[0]
    for key in world.models.objects:
        if torn in key and key.endswith("decision.json"):
            world.models.objects[key] = b"torn"

    assert torn not in versions_of(world.plan())


def test_nothing_is_deleted_while_the_log_or_the_ledger_cannot_be_trusted(world):
    (standing, *_) = every(world.reviews)
    key = standing.outcome.object_key
    honest, world.reviews.objects[key] = world.reviews.objects[key], b"torn"
    with pytest.raises(TrustError):
        world.plan()
    world.reviews.objects[key] = honest
    world.models.objects[world.second.object_key] = b"torn"
    with pytest.raises(TrustError):
        world.plan()


def test_snapshots_stay_while_a_plan_cannot_be_read(world):
    orphan = f"snapshots/{'f' * 64}.json"
    world.reviews.objects[orphan] = b"x"
    assert orphan in world.plan()
    world.models.objects[f"sentiment/plans/{world.first.version}.json"] = b"torn"

    assert orphan not in world.plan()


def test_a_version_that_was_promoted_since_it_was_planned_is_left_whole_with_its_snapshot(world):
    version, own = alone(world)
    before = world.errors()
    _, decision = decided(world.registry, version, against=world.second)
    promote(world.registry, decision, policy=decision.policy, actor="test", reason="")

    record = housekeeping.apply(world.reviews, [world.registry], world.doomed, actor="tester")

    deleted = [*world.models.deleted, *world.reviews.deleted]
    assert [key for key in deleted if version.version in key or key == own.object_key] == []
    assert record is None  # nor says one that it was deleted
    assert set(world.errors()) <= set(before)


def test_a_version_that_the_gate_looked_at_since_it_was_planned_is_left_whole(world):
    version, own = alone(world)
    before = set(world.models.objects)
    decided(world.registry, version, against=world.second, verdict="REJECT")
    world.models.new |= world.models.objects.keys() - before

    housekeeping.apply(world.reviews, [world.registry], world.doomed, actor="tester")

    deleted = [*world.models.deleted, *world.reviews.deleted]
    assert [key for key in deleted if version.version in key or key == own.object_key] == []


def test_a_version_of_more_objects_than_one_run_deletes_goes_in_several(world):
    version, own = alone(world)
    folder = f"sentiment/versions/{version.version}/"

    for _ in range(20):
        world.tidy_up(most_objects=1)

    assert [key for key in world.models.objects if key.startswith(folder)] == []
    assert own.object_key not in world.reviews.objects


def test_a_snapshot_that_a_retraining_planned_with_since_is_left_alone(world):
    _, own = alone(world)
    fresh = a_version(world.registry, "fresh", snapshot=own.digest())

    housekeeping.apply(world.reviews, [world.registry], world.doomed, actor="tester")

    assert fresh.plan.snapshot == own.digest()
    assert own.object_key not in world.reviews.deleted


def test_a_snapshot_that_a_retraining_took_again_is_new(world):
    """Before the retraining has a plan, nothing else says that it is needed."""
    _, own = alone(world)
    split = world.settings.split.model_copy(update={"salt": "its own"})

    assert snapshot.take(world.reviews, split) == own
    housekeeping.apply(world.reviews, [world.registry], world.doomed, actor="tester")

    assert own.object_key not in world.reviews.deleted
    assert own.object_key not in world.plan()


def test_a_file_that_is_no_snapshot_is_nobodys_to_delete(world):
    world.reviews.put("snapshots/notes.txt", b"a stranger's")

    assert "snapshots/notes.txt" not in world.plan()


def test_what_is_deleted_is_recorded_first(world):
    record = world.tidy_up()

    assert record is not None
    stored = world.reviews.get_record(record.object_key, Housekeeping)
    assert stored == record
    assert [each.key for each in stored.objects] == [each.key for each in world.doomed]
    deleted = {*world.models.deleted, *world.reviews.deleted}
    assert deleted == {each.key for each in stored.objects}
    assert world.tidy_up() is None


class KilledError(BaseException):
    """The process is gone."""


@pytest.mark.attack
def test_killed_at_any_deletion_it_leaves_everything_whole(world, monkeypatch):
    before = world.errors()
    keys = world.plan()
    done = 0

    def die_after(bucket: Aged, key: str) -> None:
        if bucket.objects.pop(key, None) is not None:
            raise KilledError

    monkeypatch.setattr(Aged, "delete", die_after)
    while world.plan():
        with pytest.raises(KilledError):
            housekeeping.apply(world.reviews, [world.registry], world.doomed, actor="tester")
        done += 1
        assert set(world.errors()) <= set(before)
    assert done == len(keys)


def test_two_at_once_delete_the_same(world):
    one, other = world.plan(), list(world.doomed)

    housekeeping.apply(world.reviews, [world.registry], world.doomed, actor="one")
    housekeeping.apply(world.reviews, [world.registry], other, actor="two")

    assert world.plan() == []
    assert one
    assert world.registry.log.history()[-1] == world.second


def test_at_most_so_many_objects_are_deleted_in_one_go(world):
    keys = world.plan()

    assert world.plan(most_objects=3) == keys[:3]


def test_old_histories_of_nights_go_and_roll_ups_in_use_stay(world):
    pinned_history.pin(
        world.reviews, before="2023-02-01", settings=world.settings.validation, learned=None
    )
    rolled_up = [key for key in world.reviews.objects if key.startswith("rollups/")]

    doomed = [key for key in world.plan() if key.startswith("rollups/")]

    assert doomed == [key for key in rolled_up if "/histories-" in key]
    assert len(rolled_up) > len(doomed) == 1


def test_the_command_lists_and_deletes_only_when_told_to(stores):
    key = f"rollups/ledger-{'0' * 16}/{'c' * 64}.rollup"
    stores.reviews.put(key, b"x")

    listed = CliRunner().invoke(app, ["housekeeping", "--json"])

    assert listed.exit_code == 0, listed.output
    assert json.loads(listed.stdout) == {"is_done": False, "record": None, "objects": []}  # too new
    assert steps.count_deletable() == {}
    assert steps.tidy_up("tester") is None
    assert CliRunner().invoke(app, ["housekeeping", "--yes"]).exit_code == 0
    assert stores.reviews.find(key) is not None
