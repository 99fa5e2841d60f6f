"""Model cards beside the decisions: written once, by every run, and known to fsck."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from pipelines.cli import app as shell
from pipelines.cli import tables
from pipelines.core.errors import DigestMismatchError, SignatureError
from pipelines.core.keys import sibling, snapshot_key
from pipelines.gate.card import card
from pipelines.intake.partitions import read_partition
from pipelines.intake.snapshot import pinned
from pipelines.registry import promotion
from pipelines.registry.fsck import check
from pipelines.steps import retrain
from tests.support import sealing
from tests.support.made.builders import listing
from tests.support.made.registry_builders import a_version, decided

pytestmark = pytest.mark.usefixtures("one_clean_room_per_model")


def cli(*arguments):
    reply = CliRunner().invoke(shell.app, list(arguments))
    assert reply.exit_code == 0, reply.output
    return json.loads(reply.stdout) if "--json" in arguments else reply.stdout


@pytest.fixture
def decision_keys(ingest_night, stores, registry):
    """Decisions on two champions, with cards; they saw real rows, but nothing was trained."""
    ingest_night(1)
    snapshot = retrain.take_snapshot().rpartition("/")[2].removesuffix(".json")
    keys, before = [], None
    for name in ("a", "b"):
        version = a_version(registry, name, snapshot=snapshot)
        key, decision = decided(registry, version, against=before)
        before = promotion.promote(
            registry, decision, policy=decision.policy, actor="test", reason=""
        )
        retrain.write_card(stores.models.uri(key))
        keys.append(key)
    return keys


def files_beside(registry, key):
    """The bytes of each file of a card that is stored."""
    stored = listing(registry.models)
    keys = {name: sibling(key, name) for name in card.FILES}
    return {name: registry.models.get(one) for name, one in keys.items() if one in stored}


def lose(registry, key, *names):
    for name in names:
        registry.models.delete(sibling(key, name))


# With real training


@pytest.mark.long
def test_a_retrained_version_has_a_card_that_says_what_the_records_say(
    ingest_night, stores, registry
):
    ingest_night(1)
    first = cli("retrain", "--json")["version"]
    ingest_night(2)
    second = cli("retrain", "--json")["version"]
    (key,) = registry.decisions.decision_keys(second)
    decision, manifest = registry.decisions.decision(key), registry.versions.manifest(second)

    files = files_beside(registry, key)

    assert list(files) == list(card.FILES)
    text = files["card.md"].decode()
    assert f"compared with the champion `{first}` of generation 1" in text
    rows = manifest.training_rows + manifest.holdout_rows + manifest.duplicate_rows
    assert rows == 2000  # 900 and 1,100 were delivered
    assert "2,000 accepted reviews, delivered for the nights from 2026-01-05 to 2026-01-06" in text
    for named in (
        manifest.model_sha256,
        decision.digest(),
        sealing.own_key_id(),
        decision.policy,
    ):
        assert named in text
    assert quoted(stores, manifest, files) == []


def quoted(stores, manifest, files):
    """Reviews of a version's snapshot whose beginning is in a file of its card."""
    snapshot = pinned(stores.reviews, manifest.plan)
    texts = [
        text
        for part in snapshot.partitions
        for text in read_partition(stores.reviews, part, ["text"]).column("text").to_pylist()
    ]
    assert len(texts) == snapshot.rows
    everything = "".join(data.decode() for data in files.values())
    return [text for text in texts if text[:30] in everything]


@pytest.mark.long
def test_a_card_that_a_stopped_run_left_out_is_drawn_by_the_next(ingest_night, stores, registry):
    ingest_night(1)
    (key,) = registry.decisions.decision_keys(cli("retrain", "--json")["version"])
    files = files_beside(registry, key)
    lose(registry, key, "card.md", "history.svg", "card.json")
    noted = check.check(stores.reviews, registry)

    facts = cli("retrain", "--json")

    assert facts["verdict"] == "NOTHING_CHANGED"
    assert ("note", key) in [(found.kind, found.key) for found in noted]
    assert {found.kind for found in noted} == {"note"}
    assert files_beside(registry, key) == files
    assert check.check(stores.reviews, registry) == []


@pytest.mark.long
def test_the_checks_that_a_card_names_can_be_carried_out_and_fit_into_100_columns(
    ingest_night, monkeypatch
):
    monkeypatch.setattr(tables, "room", lambda: 100)
    ingest_night(1)
    cli("retrain")

    text = cli("decision", "card")
    named = re.findall(r"(?m)^python -m pipelines ([^#\n]+)", text)
    lines = [line for each in named for line in cli(*each.split()).splitlines()]

    assert [line.split()[:2] for line in named] == [
        ["decision", "verify"], ["decision", "show"], ["champion", "fsck"]
    ]  # fmt: skip
    assert ["ok", "floor", "accuracy_floor", "Accuracy"] in [line.split()[:4] for line in lines]
    assert max(len(line.rstrip()) for line in lines) <= 100


# Without


@pytest.mark.long
def test_writing_a_card_again_changes_nothing(decision_keys, stores):
    before = listing(stores.models)

    uris = [retrain.write_card(stores.models.uri(key)) for key in decision_keys]

    assert uris == [stores.models.uri(sibling(key, "card.md")) for key in decision_keys]
    assert listing(stores.models) == before


@pytest.mark.long
def test_a_later_champion_does_not_change_an_earlier_card(decision_keys, stores, registry):
    key = decision_keys[0]

    again = card.draw(card.gather(stores.reviews, registry, key))

    assert len(registry.log.history()) == 2
    assert again == files_beside(registry, key)


@pytest.mark.long
def test_a_card_that_was_changed_by_hand_is_not_shown_and_is_drawn_again(
    decision_keys, stores, registry
):
    card_key = sibling(decision_keys[0], "card.md")
    whole = stores.models.get(card_key)
    stores.models.put(card_key, b"# Mine\n")
    decision = registry.decisions.decision(decision_keys[0])

    with pytest.raises(DigestMismatchError, match=r"card\.md"):
        card.read(stores.reviews, registry, decision)
    retrain.write_card(stores.models.uri(decision_keys[0]))

    assert stores.models.get(card_key) == whole
    assert card.read(stores.reviews, registry, decision)["card.md"] == whole


@pytest.mark.long
@pytest.mark.parametrize("changed", ["evaluation", "snapshot"])
def test_no_card_is_drawn_of_what_was_changed(decision_keys, stores, registry, changed):
    key = decision_keys[0]
    decision = registry.decisions.decision(key)
    plan = registry.versions.manifest(decision.version).plan
    bucket, record = {
        "evaluation": (stores.models, key.replace("decision.json", "evaluation.json")),
        "snapshot": (stores.reviews, snapshot_key(plan.snapshot)),
    }[changed]
    bucket.put(record, re.sub(rb'("(?:seen_)?rows":)\d+', rb"\g<1>7", bucket.get(record)))
    lose(registry, key, *card.FILES, "card.json")

    with pytest.raises(SignatureError, match=re.escape(record)):
        retrain.write_card(stores.models.uri(key))


@pytest.mark.long
def test_the_command_prints_the_card_or_writes_it_with_its_plots(decision_keys, registry, tmp_path):
    older, newer = (registry.decisions.decision(key).version for key in decision_keys)
    files = files_beside(registry, decision_keys[0])

    printed = cli("decision", "card", older)
    cli("decision", "card", older, "--to", str(tmp_path / "new" / "card"))
    facts = cli("decision", "card", "--json")

    assert printed == files["card.md"].decode()
    written = {path.name: path.read_bytes() for path in (tmp_path / "new" / "card").iterdir()}
    assert written == files
    assert facts["version"] == newer
    assert facts["card"].startswith(f"# sentiment {newer}\n")


@pytest.mark.long
def test_the_command_draws_a_card_that_is_not_stored_and_stores_nothing(
    decision_keys, stores, registry
):
    files = files_beside(registry, decision_keys[-1])
    lose(registry, decision_keys[-1], *card.FILES, "card.json")
    before = listing(stores.models)

    printed = cli("decision", "card")

    assert printed == files["card.md"].decode()
    assert listing(stores.models) == before


@pytest.mark.long
def test_a_folder_that_cannot_be_written_is_named(decision_keys, tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("a file")

    reply = CliRunner().invoke(shell.app, ["decision", "card", "--to", str(taken)])

    assert reply.exit_code == 1
    assert "Choose another folder" in " ".join(reply.stderr.split())


@pytest.mark.long
def test_the_objects_of_a_card_are_no_strangers_and_a_lost_card_is_noted(
    decision_keys, stores, registry
):
    before = check.check(stores.reviews, registry)
    lose(registry, decision_keys[1], "card.md", "card.json")

    assert before == []
    noted = check.check(stores.reviews, registry)
    assert ("note", decision_keys[1]) in [(found.kind, found.key) for found in noted]
    assert {found.kind for found in noted} == {"note"}
