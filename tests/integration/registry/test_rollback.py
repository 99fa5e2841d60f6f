"""Going back: what is put back, what cannot come back, and what a repeated rollback does."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.core.errors import ChampionMovedError, ModelFormatError, PromotionError
from pipelines.core.store.bucket import Bucket
from pipelines.models.artefacts import dump_model
from pipelines.models.factories import fingerprint_sgd
from pipelines.registry import rollback
from pipelines.registry.promotion import promote
from pipelines.steps import rollback as steps_rollback
from tests.support.made.builders import listing
from tests.support.made.registry_builders import a_version, decided, promoted


@pytest.fixture(scope="session")
def model_bytes():
    """A real, tiny model file."""
    texts = ["a great film", "a great cast", "a dull film", "a dull cast"] * 5
    return dump_model(fingerprint_sgd(seed=1, ngram_max=1).fit(texts, [1, 1, 0, 0] * 5))


@pytest.fixture
def three_champions(registry, model_bytes):
    """Three champions in succession; their log entries."""
    entries = []
    for name in "abc":
        before = entries[-1] if entries else None
        entries.append(promoted(registry, name, against=before, model=model_bytes))
    return entries


def rolled_back(registry, to="previous"):
    _, plan = rollback.make_plan(registry, to, reason="it was wrong")
    return rollback.apply_plan(registry, plan, actor="test")


def test_previous_puts_back_the_one_before_and_withdraws_the_present_one(registry, three_champions):
    entry = rolled_back(registry)

    assert registry.log.champion() == entry
    assert (entry.generation, entry.kind) == (4, "rollback")
    assert entry.version == three_champions[1].version
    assert entry.subject == three_champions[2].version
    assert registry.log.history()[-1] == entry


def test_rolling_back_twice_goes_back_two(registry, three_champions):
    rolled_back(registry)

    assert rolled_back(registry).version == three_champions[0].version


def test_a_named_version_can_be_put_back(registry, three_champions):
    assert rolled_back(registry, three_champions[0].version).version == three_champions[0].version


def test_repeating_a_plan_rolls_back_once(registry, stores, three_champions):
    _, plan = rollback.make_plan(registry, "previous", reason="it was wrong")
    first = rollback.apply_plan(registry, plan, actor="test")
    before = listing(stores.models)

    again = rollback.apply_plan(registry, plan, actor="a retry")

    assert again == first
    assert listing(stores.models) == before


def test_a_promotion_that_comes_first_voids_the_plan(registry, three_champions, model_bytes):
    _, plan = rollback.make_plan(registry, "previous", reason="it was wrong")
    newest = promoted(registry, "d", against=three_champions[-1], model=model_bytes)

    with pytest.raises(ChampionMovedError):
        rollback.apply_plan(registry, plan, actor="test")

    assert registry.log.champion() == newest


def test_a_withdrawn_version_cannot_come_back_until_it_is_released(registry, three_champions):
    withdrawn = three_champions[-1]
    entry = rolled_back(registry)
    manifest = registry.versions.manifest(withdrawn.version)
    _, decision = decided(registry, manifest, against=entry)

    with pytest.raises(PromotionError, match="is not promoted again"):
        promote(registry, decision, policy=decision.policy, actor="test", reason="")
    released = rollback.release(registry, withdrawn.version, actor="test", reason="false alarm")
    _key, decision = decided(registry, manifest, against=released)
    back = promote(registry, decision, policy=decision.policy, actor="test", reason="")

    assert released.version == entry.version
    assert back.version == withdrawn.version
    assert registry.log.withdrawn() == {}


def test_a_release_from_airflow_names_who_did_it_and_is_done_once(registry, three_champions):
    withdrawn, actor = three_champions[-1].version, "olga on airflow sentiment_release manual__1"
    entry = rolled_back(registry)

    planned = steps_rollback.plan_release(withdrawn)
    first = steps_rollback.apply_release(planned, actor, "false alarm")
    again = steps_rollback.apply_release(planned, actor, "false alarm")

    released = registry.log.champion()
    assert first == again == registry.models.uri(released.object_key)
    assert (released.kind, released.subject, released.version) == (
        "release", withdrawn, entry.version,
    )  # fmt: skip
    assert released.actor == actor
    with pytest.raises(PromotionError, match="is not withdrawn"):
        steps_rollback.plan_release(withdrawn)


def test_a_withdrawn_version_cannot_be_rolled_back_to(registry, three_champions):
    rolled_back(registry)

    with pytest.raises(PromotionError, match="not itself rolled back"):
        rollback.make_plan(registry, three_champions[2].version, reason="because")


@pytest.mark.parametrize("to", ["0" * 20, "previous "])
def test_only_a_former_champion_can_be_put_back(registry, three_champions, to):
    with pytest.raises(PromotionError, match=three_champions[0].version):
        rollback.make_plan(registry, to, reason="because")


def test_a_version_that_was_never_promoted_is_no_former_champion(registry, three_champions):
    manifest = a_version(registry, "never")

    with pytest.raises(PromotionError, match="former champion"):
        rollback.make_plan(registry, manifest.version, reason="because")


def test_a_single_champion_cannot_be_rolled_back(registry, model_bytes):
    promoted(registry, "a", model=model_bytes)

    with pytest.raises(PromotionError, match="Such versions: none"):
        rollback.make_plan(registry, "previous", reason="because")


def test_without_a_reason_nothing_is_rolled_back(registry, three_champions):
    with pytest.raises(PromotionError, match="needs a reason"):
        rollback.make_plan(registry, "previous", reason="  ")


def test_a_model_that_does_not_load_is_not_put_back(registry, model_bytes):
    junk = promoted(registry, "junk")
    promoted(registry, "good", against=junk, model=model_bytes)

    with pytest.raises(ModelFormatError):
        rollback.make_plan(registry, "previous", reason="because")


def test_what_answered_then(registry, monkeypatch, model_bytes):
    entries = []
    for name, hour in (("a", 3), ("b", 9)):
        at = datetime(2026, 1, 5, hour, tzinfo=UTC)
        monkeypatch.setattr(Bucket, "clock", lambda _self, at=at: at)
        before = entries[-1] if entries else None
        entries.append(promoted(registry, name, against=before, model=model_bytes))

    def at(hour, minute=0):
        return registry.log.champion_at(datetime(2026, 1, 5, hour, minute, tzinfo=UTC))

    assert at(2, 59) is None
    assert at(3) == at(8, 59) == entries[0]
    assert at(9) == at(23) == entries[1]


def test_the_command_line_pins_a_former_champion_and_the_champion_stays(registry, three_champions):
    first, second, third = three_champions
    reply = CliRunner().invoke(
        app, ["champion", "pin", first.version, "--reason", "the last audited one", "--json"]
    )

    facts = json.loads(reply.stdout)
    assert reply.exit_code == 0
    assert (facts["kind"], facts["version"], facts["reference"]) == (
        "pin", third.version, first.version,
    )  # fmt: skip
    assert facts["reason"] == "the last audited one"
    assert registry.log.champion().generation == 4
    assert second.version not in (facts["version"], facts["reference"])


def test_the_command_line_pins_nothing_that_was_never_champion(registry, three_champions):
    reply = CliRunner().invoke(app, ["champion", "pin", "f" * 20, "--reason", "why not"])

    assert reply.exit_code == 1
    assert "was never champion" in reply.stderr
    assert registry.log.history() == three_champions


def test_the_command_line_shows_first_and_acts_only_with_yes(registry, model_bytes):
    first = promoted(registry, "a", model=model_bytes)
    second = promoted(registry, "b", against=first, model=model_bytes)

    dry = CliRunner().invoke(app, ["champion", "rollback", "--reason", "bad", "--json"])

    facts = json.loads(dry.stdout)
    assert dry.exit_code == 0
    assert (facts["from_version"], facts["to_version"]) == (second.version, first.version)
    assert not facts["is_done"]
    assert "dry run" in dry.stderr
    assert registry.log.champion() == second


def test_a_release_and_a_pin_do_not_change_since_when_the_champion_is_champion(
    registry, three_champions
):
    back = rolled_back(registry)
    withdrawn = three_champions[2].version
    rollback.release(registry, withdrawn, actor="test", reason="the cause was another one")
    newest = rollback.pin(registry, withdrawn, actor="test", reason="the best so far")

    assert newest.generation == back.generation + 2
    assert registry.log.began(newest) == back
    assert registry.log.began(three_champions[0]) == three_champions[0]


def test_the_command_line_says_since_when_after_a_release_by_the_first_digits_and_by_whom(
    registry, model_bytes, monkeypatch
):
    days = (datetime(2026, 1, number, tzinfo=UTC) for number in range(1, 32))
    today = [next(days)]
    monkeypatch.setattr(Bucket, "clock", lambda _self: today[0])
    first = promoted(registry, "a", model=model_bytes)
    second = promoted(registry, "b", against=first, model=model_bytes)
    today[0] = next(days)
    back = rolled_back(registry)
    today[0] = next(days)

    done = CliRunner().invoke(app, [
        "champion", "release", second.version[:11], "--reason", "it was right", "--actor", "olga",
    ])  # fmt: skip
    shown = json.loads(CliRunner().invoke(app, ["champion", "show", "--json"]).stdout)

    newest = registry.log.champion()
    assert done.exit_code == 0, done.stderr
    assert (newest.kind, newest.subject, newest.actor) == ("release", second.version, "shell olga")
    assert (shown["champion_since"], shown["version"]) == (back.at, first.version)
    assert newest.at != back.at
