"""Nothing in the registry can be changed, lost or swapped unnoticed."""

from __future__ import annotations

import json

import pytest
from builders import listing
from registry_builders import a_version, decided, promoted
from typer.testing import CliRunner

from pipelines import fsck
from pipelines.__main__ import app
from pipelines.errors import LoopError

FLIPS = 6  # bytes flipped per object, spread from the first to the last


@pytest.fixture
def champions(registry, stores):
    """Two champions; they have no snapshots and no cards, so findings about those are dropped."""
    return [first := promoted(registry, "a"), promoted(registry, "b", against=first)]


def findings(stores, registry):
    return [
        found
        for found in fsck.check(stores.reviews, registry)
        if not found.key.startswith("snapshots/") and "no model card" not in found.what
    ]


def test_a_registry_as_it_was_written_has_no_findings(stores, registry, champions):
    assert findings(stores, registry) == []


def test_a_byte_flipped_anywhere_is_found_and_the_object_is_named(stores, registry, champions):
    keys = [key for key in listing(stores.models) if key != registry.hint_key]

    for key in keys:
        whole = stores.models.get(key)
        for number in range(FLIPS):
            place = number * (len(whole) - 1) // (FLIPS - 1)
            changed = bytearray(whole)
            changed[place] ^= 1
            stores.models.put(key, bytes(changed))
            errors = {found.key for found in findings(stores, registry) if found.kind == "error"}
            assert key in errors, (key, place)
        stores.models.put(key, whole)

    assert len(keys) == 12  # per version: plan, model, manifest, evaluation, decision, log entry
    assert findings(stores, registry) == []


def test_a_byte_flipped_anywhere_is_refused_by_every_load(stores, registry, champions):
    newest = champions[-1]
    manifest = registry.champion_manifest(newest)
    for key, load in (
        (registry.log_key(2), registry.champion),
        (registry.manifest_key(newest.version), lambda: registry.champion_manifest(newest)),
        (newest.decision_key, lambda: registry.decision(newest.decision_key)),
        (manifest.model_key, lambda: registry.model_bytes(manifest)),
    ):
        whole = stores.models.get(key)
        for number in range(FLIPS):
            changed = bytearray(whole)
            changed[number * (len(whole) - 1) // (FLIPS - 1)] ^= 1
            stores.models.put(key, bytes(changed))
            with pytest.raises(LoopError):
                load()
        stores.models.put(key, whole)


def test_a_hole_in_the_log_is_not_taken_for_its_end(stores, registry, champions):
    third = promoted(registry, "c", against=champions[-1])
    stores.models.delete(registry.log_key(2))
    stores.models.put(registry.hint_key, b'{"generation":1,"version":"x"}')

    with pytest.raises(LoopError, match=r"00000002\.json is missing"):
        registry.champion()
    assert third.generation == 3


@pytest.mark.parametrize("kind", ["log/00000001", "manifest", "model-", "decision", "evaluation"])
def test_a_lost_object_is_named(stores, registry, champions, kind):
    key = next(key for key in sorted(listing(stores.models)) if kind in key)
    stores.models.delete(key)

    errors = {found.key for found in findings(stores, registry) if found.kind == "error"}

    assert key in errors


def test_one_decision_put_in_anothers_place_is_noticed(stores, registry, champions):
    first, second = (entry.decision_key for entry in champions)
    stores.models.put(second, stores.models.get(first))

    errors = {found.key for found in findings(stores, registry) if found.kind == "error"}

    assert second in errors


def test_a_missing_or_stale_hint_is_a_warning_only(stores, registry, champions):
    stores.models.put(registry.hint_key, b'{"generation":1,"version":"x"}')
    stale = findings(stores, registry)
    stores.models.delete(registry.hint_key)
    missing = findings(stores, registry)

    assert [found.kind for found in stale + missing] == ["warning", "warning"]


def test_leftovers_are_notes_and_strangers_warnings(stores, registry, champions):
    unfinished = a_version(registry, "unfinished")
    stores.models.delete(registry.manifest_key(unfinished.version))
    key, _ = decided(registry, a_version(registry, "undecided"))
    stores.models.delete(key)
    stores.models.put("sentiment/notes.txt", b"hello")

    kinds = {found.key: found.kind for found in findings(stores, registry)}

    assert kinds[unfinished.model_key] == "note"
    assert kinds[key.replace("decision", "evaluation")] == "note"
    assert kinds["sentiment/notes.txt"] == "warning"
    assert "error" not in kinds.values()


def test_the_command_ends_with_1_on_an_error_and_names_the_object(stores, registry, champions):
    stores.models.delete(registry.log_key(1))

    reply = CliRunner().invoke(app, ["champion", "fsck", "--json"])

    found = json.loads(reply.stdout)
    assert reply.exit_code == 1
    assert {"kind": "error", "key": registry.log_key(1),
            "what": "is missing from the champion log"} in found  # fmt: skip
