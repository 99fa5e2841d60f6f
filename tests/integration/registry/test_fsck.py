"""Nothing in either bucket can be changed, lost, forged or swapped unnoticed."""

from __future__ import annotations

import functools
import json

import pytest
from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.core import keys, parallel
from pipelines.core.errors import StoreUnavailableError
from pipelines.core.store import sealed
from pipelines.records.data import Snapshot
from pipelines.records.decisions import ApprovalRecord
from pipelines.records.deliveries import Outcome, Replay, ReplayPlan
from pipelines.records.succession import ChampionHint, LogEntry
from pipelines.records.versions import Manifest
from pipelines.registry.fsck import check
from pipelines.registry.fsck.places import PLACES, place_of
from pipelines.registry.registry import Registry
from tests.support.hostile import whole_world as whole
from tests.support.made.builders import listing
from tests.support.sealing import to_stored

pytestmark = pytest.mark.attack

FLIPS = 16  # bytes flipped per object, spread from the first to the last


@pytest.fixture
def world(whole_bytes, monkeypatch):
    """The whole world without a server, where the same bytes are not proven over and over."""
    monkeypatch.setattr(parallel, "MOST_READS", 1)
    monkeypatch.setattr(sealed, "from_stored", functools.cache(sealed.from_stored))
    return whole.in_memory(whole_bytes.reviews, whole_bytes.models)


def ours(bucket):
    """Every object but what upstream may change whenever it likes."""
    return [key for key in listing(bucket) if not key.startswith("landing/")]


def every_object(world):
    return [(bucket, key) for bucket in (world.reviews, world.models) for key in ours(bucket)]


def findings(world, *, is_deep=False):
    return check.check(world.reviews, Registry(world.models, "sentiment"), is_deep=is_deep)


def errors(world):
    """Per object, all that is wrong with it."""
    faults = [finding for finding in findings(world) if finding.kind == "error"]
    return {key: "; ".join(one.what for one in faults if one.key == key)
            for key in dict.fromkeys(one.key for one in faults)}  # fmt: skip


# ── A world as it was written ────────────────────────────────────────────────────────────────


def test_a_world_as_it_was_written_has_no_findings(whole_world, stores, registry):
    assert check.check(stores.reviews, registry, is_deep=True) == []


def test_every_kind_of_record_and_file_lies_in_the_whole_world(world):
    there = {
        place.where
        for name, bucket in (("reviews", world.reviews), ("models", world.models))
        for key in bucket.objects
        if (place := place_of(name, key)) is not None
    }

    assert {place.where for place in PLACES} - there == {"probes/<sha256:32>"}


def test_reading_everything_says_how_far_it_is(world):
    steps = []

    check.check(
        world.reviews, Registry(world.models, "sentiment"), is_deep=True,
        on_object=lambda done, total: steps.append((done, total)),
    )  # fmt: skip

    total = len(ours(world.reviews)) + len(ours(world.models))
    assert steps == [(number, total) for number in range(1, total + 1)]


# ── A changed, lost or foreign object ────────────────────────────────────────────────────────


def flipped(data, number):
    """The bytes with one bit of another value: of the first byte to the last, in `FLIPS` steps."""
    changed = bytearray(data)
    changed[number * (len(data) - 1) // (FLIPS - 1)] ^= 1
    return bytes(changed)


@pytest.mark.long
def test_a_byte_flipped_in_any_object_is_found_and_the_object_is_named_first(world, counted):
    for place, (bucket, key) in enumerate(every_object(world)):
        kept = bucket.objects[key]
        bucket.objects[key] = flipped(kept, place % FLIPS)
        first = findings(world, is_deep=True)[0]
        assert (first.bucket, first.key) == (bucket.name, key), first
        bucket.objects[key] = kept

    assert findings(world, is_deep=True) == []
    counted("records", place + 1)


@pytest.mark.parametrize("are_records", [True, False])
def test_a_byte_flipped_anywhere_in_an_object_is_found(world, counted, are_records):
    """In all records at once, and in all files that they name: each is found by its own bytes."""
    chosen = [
        (bucket, key) for bucket, key in every_object(world)
        if isinstance(place_of(bucket.name, key).holds, type) == are_records
    ]  # fmt: skip
    kept = {key: bucket.objects[key] for bucket, key in chosen}
    for number in range(FLIPS):
        for bucket, key in chosen:
            bucket.objects[key] = flipped(kept[key], number)
        assert {key for _, key in chosen} <= {
            finding.key for finding in findings(world, is_deep=True)
        }

    assert len(chosen) > 30
    counted("records", len(chosen) * FLIPS)


@pytest.mark.long
def test_a_lost_object_is_found_whichever_it_is_unless_nothing_depends_on_it(world, counted):
    unnoticed = []
    for bucket, key in every_object(world):
        kept = bucket.objects.pop(key)
        if not findings(world):
            unnoticed.append(place_of(bucket.name, key).where)
        bucket.objects[key] = kept

    # Caches, what was thought over and not done, and what nothing else follows from.
    assert set(unnoticed) == {
        "features/<name>/<sha256>.npz",
        "features/<name>/<sha256>.signatures",
        "features/answers/<sha256>.answers",
        "features/packs/<sha256>.pack",
        "rollups/<name>-<sha256:16>/<sha256>.rollup",
        "<model>/rollups/<name>-<sha256:16>/<sha256>.rollup",
        "housekeeping/<sha256>.json",
        "missing/<night>/<name>.json",
        "deliveries/<sha256>/replay-plans/<sha256:20>.json",
        "alerts/<sha256>/<name>/<number:3>.failed.json",
        "alerts/runs/<sha256>.json",
        "monitoring/<model>/windows/<month>/<night>-<number:3>-<number:9>-<sha256:16>.json",
        "monitoring/<model>/triggers/<month>/<night>-<sha256:16>.json",
        "monitoring/<model>/answers/<month>/<night>.json",
        "predictions/date=<night>/<sha256>.parquet",
        "monitoring/<model>/references/<version>-<sha256:16>.npz",
    }
    counted("records", len(every_object(world)))


def test_strangers_are_warnings_and_leftovers_are_notes(world):
    manifest = next(key for key in world.models.objects if key.endswith("manifest.json"))
    folder = f"sentiment/versions/{'0' * 20}"
    model = f"{folder}/model-{'1' * 16}.skops"
    part = f"accepted/date=2026-01-05/{'2' * 64}.parquet"
    world.models.objects |= {
        "sentiment/notes.txt": b"hello",
        manifest.replace(".json", ".json.bak"): b"",
        model: b"bytes",
        f"probes/{'3' * 32}": b"first",
    }
    world.reviews.objects |= {"readme": b"", part: b"rows"}

    kinds = {finding.key: finding.kind for finding in findings(world)}

    assert kinds == {
        "sentiment/notes.txt": "warning",
        manifest.replace(".json", ".json.bak"): "warning",
        "readme": "warning",
        model: "note",
        part: "note",
        f"probes/{'3' * 32}": "note",
    }


def test_what_a_stopped_run_left_out_is_a_note(world):
    gate = next(
        key.rpartition("/")[0] for key in world.models.objects if "00000001-" in key
    )  # its decision is acted on by the log: so undo that
    version = gate.split("/")[2]
    for key in [*world.models.objects]:
        if key.startswith(gate) and not key.endswith(("evaluation.json", "artefact_check.json")):
            del world.models.objects[key]
    for generation in range(2, 6):
        del world.models.objects[keys.log_key("sentiment", generation)]
    del world.models.objects[keys.hint_key("sentiment")]
    for key in [*world.models.objects]:
        if "/rollbacks/" in key:
            del world.models.objects[key]

    faults = findings(world)

    assert [(one.kind, one.key) for one in faults] == [
        ("warning", keys.hint_key("sentiment")),
        ("note", f"{gate}/evaluation.json"),
    ]
    assert version in faults[1].key


def test_a_bad_cache_is_a_warning_and_only_a_deep_look_reads_it(world):
    key, other = [key for key in world.reviews.objects if key.endswith(".npz")][:2]
    world.reviews.objects[key] = world.reviews.objects[other]

    (faults,) = findings(world, is_deep=True)

    assert (faults.kind, faults.key) == ("warning", key)
    assert other in faults.what
    assert findings(world) == []


def test_every_object_is_read_once(world, monkeypatch):
    read = []
    for bucket in (world.reviews, world.models):
        get = bucket.get
        monkeypatch.setattr(
            bucket, "get", lambda key, get=get, **limits: (read.append(key), get(key, **limits))[1]
        )

    findings(world, is_deep=True)

    assert sorted(read) == sorted([*ours(world.reviews), *ours(world.models)])


def test_a_store_that_does_not_answer_is_no_finding(world, monkeypatch):
    key = keys.log_key("sentiment", 3)
    get = world.models.get

    def no_answer(asked, **limits):
        if asked == key:
            raise StoreUnavailableError("no answer")
        return get(asked, **limits)

    monkeypatch.setattr(world.models, "get", no_answer)

    with pytest.raises(StoreUnavailableError):
        findings(world)


def test_the_records_of_every_model_in_the_bucket_are_read(world):
    world.models.objects["other/log/00000001.json"] = b"{}"

    assert "signed by nobody" in errors(world)["other/log/00000001.json"]


# ── The champion log ─────────────────────────────────────────────────────────────────────────


def log_entry(world, generation):
    return world.models.get_record(keys.log_key("sentiment", generation), LogEntry)


def put(bucket, record):
    bucket.objects[record.object_key] = to_stored(record)


def cut_log(world, *, keep, with_hint):
    for generation in range(keep + 1, 6):
        del world.models.objects[keys.log_key("sentiment", generation)]
    if with_hint:
        del world.models.objects[keys.hint_key("sentiment")]


def test_a_missing_or_stale_hint_is_a_warning_only(world):
    key = keys.hint_key("sentiment")
    hint = world.models.get_record(key, ChampionHint)
    put(world.models, hint.model_copy(
        update={"generation": 4, "version": log_entry(world, 4).version}
    ))  # fmt: skip
    stale = findings(world)
    world.models.objects[key] = b"{}"
    forged = findings(world)
    del world.models.objects[key]
    missing = findings(world)

    assert [(one.kind, one.key) for one in stale + forged + missing] == [("warning", key)] * 3


@pytest.mark.parametrize("keep", [0, 1, 2, 3, 4])
def test_a_log_that_was_cut_back_is_an_error_of_the_hint(world, keep):
    cut_log(world, keep=keep, with_hint=False)

    what = errors(world)[keys.hint_key("sentiment")]

    assert "names generation 5, which is not in the log: the log was cut back" in what


def test_without_the_hint_everything_else_ahead_of_the_log_is_an_error(world):
    cut_log(world, keep=0, with_hint=True)

    cut_back = {key for key, what in errors(world).items() if "the log was cut back" in what}

    ahead = {key for key in world.models.objects if "/gates/00000001-" in key}
    plans = {key for key in world.models.objects if "/rollbacks/" in key}
    assert cut_back == plans | {key for key in ahead if key.endswith(".json")}
    assert {key.rpartition("/")[2] for key in cut_back - plans} == {
        "evaluation.json", "artefact_check.json", "decision.json", "card.json",
    }  # fmt: skip


def test_a_rollback_plan_ahead_of_the_log_is_an_error(world):
    cut_log(world, keep=1, with_hint=True)

    (key,) = [key for key, what in errors(world).items() if "cut back" in what]

    assert "/rollbacks/" in key


def test_an_approval_ahead_of_the_log_is_an_error(world):
    """Only what the attacker forgot to delete is left of the first version."""
    key = next(key for key in world.models.objects if key.endswith("/approval.json"))
    approval = world.models.get_record(key, ApprovalRecord)
    later = approval.model_copy(update={"champion_generation": 9})
    put(world.models, later)

    assert "generation 9, which is not in the log" in errors(world)[later.object_key]


def test_a_hole_in_the_log_is_one_finding_however_wide(world):
    del world.models.objects[keys.log_key("sentiment", 2)]
    world.models.objects[keys.log_key("sentiment", 99_999_999)] = b"{}"

    faults = errors(world)

    assert faults[keys.log_key("sentiment", 2)].startswith("is missing from the champion log:")
    assert "so are the 99,999,992 after it" in faults[keys.log_key("sentiment", 6)]


def test_a_log_that_was_rewritten_contradicts_what_was_decided_on_it(world):
    """Somebody with our key, or an older key of ours, makes another version champion."""
    first, second = log_entry(world, 1), log_entry(world, 2)
    put(world.models, first.model_copy(update={"version": second.version}))

    faults = errors(world)

    gate = next(key for key in faults if key.endswith("decision.json") and "00000001-" in key)
    assert "the log was rewritten" in faults[gate]
    assert faults[second.object_key] == "does not follow from the entry before it"


@pytest.mark.parametrize(
    ("generation", "changes", "what"),
    [
        (1, {"approval_key": None, "approval_sha256": None}, "without a person's approval"),
        (2, {"token": "0" * 64}, "promotes another version than its decision"),
        (2, {"decision_sha256": "0" * 64}, ""),
        (2, {"manifest_sha256": "0" * 64}, ""),
        (2, {"reference_manifest_sha256": "0" * 64}, ""),
        (1, {"approval_sha256": "0" * 64}, ""),
        (3, {"subject": "0" * 20}, "which was not champion"),
        (3, {"token": "0" * 64}, "does not match its plan"),
        (3, {"version": "0" * 20}, "which was never champion"),
        (4, {"subject": "0" * 20}, "which was not withdrawn"),
        (4, {"version": "0" * 20}, "changes the champion"),
        (5, {"subject": "0" * 20}, "as the reference"),
    ],
)
def test_an_entry_that_no_release_would_have_written_is_an_error(world, generation, changes, what):
    changed = log_entry(world, generation).model_copy(update=changes)
    put(world.models, changed)

    faults = [finding for finding in findings(world) if finding.kind == "error"]

    named = [one.what for one in faults if one.key == changed.object_key]
    by_digest = [one for one in faults if f"is not what {changed.object_key} recorded" in one.what]
    assert any(what in each for each in named) if what else by_digest


def test_a_wrong_date_is_a_warning_since_readers_go_by_the_others(world):
    changed = log_entry(world, 5).model_copy(update={"at": "2020-01-01T00:00:00+00:00"})
    put(world.models, changed)

    (faults,) = findings(world)

    assert (faults.kind, faults.key) == ("warning", changed.object_key)
    assert faults.what.startswith("is dated '2020-01-01")


@pytest.mark.parametrize(
    "name", ["evaluation.json", "artefact_check.json", "decision.json", "card.json"]
)
def test_what_was_decided_on_is_compared_by_digest(world, name):
    """Honestly sealed, at the right place, and still not the one that the others name."""
    key = next(
        key for key in world.models.objects if key.endswith(f"00000000-{policy(world)}/{name}")
    )
    kind = place_of("models", key).holds
    record = world.models.get_record(key, kind)
    field = {
        "evaluation.json": {"artefact_bytes": 1},
        "artefact_check.json": {"evaluation_sha256": "0" * 64},
        "decision.json": {"why": "another"},
        "card.json": {"decision_sha256": "0" * 64},
    }[name]
    put(world.models, record.model_copy(update=field))

    faults = errors(world)

    # What names another record by digest is believed no more than the record that it names.
    named = {"card.json": "decision.json", "artefact_check.json": "evaluation.json"}
    key_of_fault = keys.sibling(key, named.get(name, name))
    assert "recorded: one of the two was replaced" in faults[key_of_fault]


def policy(world):
    key = next(key for key in world.models.objects if "/gates/00000000-" in key)
    return key.split("/")[4].partition("-")[2]


# ── The ledger ───────────────────────────────────────────────────────────────────────────────


def replays(world):
    return sorted(key for key in world.reviews.objects if "/replays/" in key)


def test_a_ledger_entry_that_a_snapshot_was_made_of_is_missed(world):
    manifest = next(key for key in world.models.objects if key.endswith("manifest.json"))
    plan = world.models.get_record(manifest, Manifest).plan
    snapshot = world.reviews.get_record(keys.snapshot_key(plan.snapshot), Snapshot)
    part = snapshot.partitions[0]
    key = next(
        key for key in world.reviews.objects
        if key.endswith("outcome.json") and world.reviews.get_record(key, Outcome).accepted == part
    )  # fmt: skip
    del world.reviews.objects[key]

    faults = errors(world)

    assert "no ledger entry names it: the ledger has lost entries" in faults[part.key]
    assert "is named by receipts/" in faults[key]


@pytest.mark.parametrize("number", [0, 1])
def test_a_replay_that_was_taken_away_is_missed(world, number):
    """The last one, too: a plan starts from it."""
    key = replays(world)[number]
    del world.reviews.objects[key]

    assert key in errors(world)


def test_a_replay_that_follows_from_nothing_is_an_error(world):
    key = replays(world)[0]
    entry = world.reviews.get_record(key, Replay)
    put(world.reviews, entry.model_copy(update={"reason": "another"}))

    faults = errors(world)

    assert faults[replays(world)[1]] == "does not follow from the entry before it"
    assert "starts from: it was replaced" in faults[key]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"held_rows": 1}, "does not add up"),
        ({"accepted_rows": 1}, "counts other rows than its partitions hold"),
        ({"source": "another"}, "names another source or night"),
        ({"landing_key": "landing/web/2026-01-05/x.csv"}, "arrivals/"),
    ],
)
def test_an_outcome_that_does_not_fit_is_an_error(world, changes, what):
    outcomes = [key for key in world.reviews.objects if key.endswith("outcome.json")]
    outcome = max(
        (world.reviews.get_record(key, Outcome) for key in outcomes),
        key=lambda one: one.accepted_rows,
    )
    put(world.reviews, outcome.model_copy(update=changes))

    faults = errors(world)

    assert any(what in f"{key} {each}" for key, each in faults.items())


def test_a_plan_to_replay_what_the_ledger_lost_names_the_lost_entry(world):
    plans = [key for key in world.reviews.objects if "/replay-plans/" in key]
    undone = max((world.reviews.get_record(key, ReplayPlan) for key in plans),
                 key=lambda plan: plan.number)  # fmt: skip
    for key in replays(world):
        del world.reviews.objects[key]

    faults = errors(world)

    assert faults[keys.replay_key(undone.delivery, 2)].startswith("is named by")


# ── The command ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.long
def test_the_command_ends_with_1_on_an_error_and_names_the_object(whole_world, stores, registry):
    stores.models.delete(registry.log.key(5))

    reply = CliRunner().invoke(app, ["champion", "fsck", "--json"])
    table = CliRunner().invoke(app, ["champion", "fsck", "--deep"])

    faults = json.loads(reply.stdout)
    assert (reply.exit_code, table.exit_code) == (1, 1)
    assert [(one["kind"], one["bucket"], one["key"]) for one in faults] == [
        ("error", "models", keys.hint_key(registry.name))
    ]
    assert "champion.json" in table.stdout


def test_the_command_says_that_all_is_well(whole_world, stores):
    reply = CliRunner().invoke(app, ["champion", "fsck", "--deep"])

    assert (reply.exit_code, reply.stdout.strip()) == (0, "Everything is as it was recorded.")
