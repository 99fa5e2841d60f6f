"""The champion's succession: who wins, what is refused, and what losing an object changes."""

from __future__ import annotations

import pytest

from pipelines.core import keys
from pipelines.core.errors import (
    ChampionMovedError,
    DigestMismatchError,
    PromotionError,
    StoreUnavailableError,
    TrustError,
    UnsafeStoreError,
)
from pipelines.core.keys import model_file_key
from pipelines.core.record import sha256_of
from pipelines.records.succession import LogEntry
from pipelines.registry.promotion import promote
from tests.support.hostile.forging import fields_in, resealed
from tests.support.made.builders import listing
from tests.support.made.registry_builders import MODEL, a_version, decided, promoted


def test_no_champion_is_an_answer_and_not_an_error(registry):
    assert registry.log.champion() is None
    assert registry.log.history() == []


def test_the_succession_is_a_chain_in_order(registry):
    first = promoted(registry, "a")
    second = promoted(registry, "b", against=first)

    assert registry.log.champion() == second
    assert registry.log.history() == [first, second]
    assert second.previous_entry_sha256 == first.digest()


def test_promoting_twice_is_one_promotion(registry, stores):
    _key, decision = decided(registry, a_version(registry, "a"))
    first = promote(registry, decision, policy=decision.policy, actor="test", reason="")
    before = listing(stores.models)

    again = promote(registry, decision, policy=decision.policy, actor="a retry", reason="")

    assert again == first
    assert listing(stores.models) == before


def test_the_loser_of_a_race_must_decide_again(registry):
    _winner_key, winner = decided(registry, a_version(registry, "a"))
    _loser_key, loser = decided(registry, a_version(registry, "b"))
    champion = promote(registry, winner, policy=winner.policy, actor="test", reason="")

    with pytest.raises(ChampionMovedError, match="generation 0, but generation 1"):
        promote(registry, loser, policy=loser.policy, actor="test", reason="")

    assert registry.log.champion() == champion


@pytest.mark.parametrize("verdict", ["HOLD", "REJECT", "INCONCLUSIVE"])
def test_nothing_but_promote_is_promoted(registry, verdict):
    _key, decision = decided(registry, a_version(registry, "a"), verdict=verdict)

    with pytest.raises(PromotionError, match=verdict):
        promote(registry, decision, policy=decision.policy, actor="test", reason="")

    assert registry.log.champion() is None


def test_a_decision_about_other_bytes_is_not_acted_on(registry, stores):
    manifest = a_version(registry, "a")
    _key, decision = decided(registry, manifest)
    swapped = resealed(manifest, training_rows=11)
    stores.models.put(registry.versions.key(manifest.version), swapped)

    with pytest.raises(PromotionError, match="changed after the decision"):
        promote(registry, decision, policy=decision.policy, actor="test", reason="")


def test_a_swapped_model_file_is_not_promoted(registry, stores):
    manifest = a_version(registry, "a")
    _key, decision = decided(registry, manifest)
    stores.models.put(manifest.model_key, MODEL + b"b")

    with pytest.raises(DigestMismatchError):
        promote(registry, decision, policy=decision.policy, actor="test", reason="")


def test_a_decision_against_a_champion_that_never_was_leaves_no_hole(registry):
    first = promoted(registry, "a")
    invented = first.model_copy(update={"generation": 7})
    _key, decision = decided(registry, a_version(registry, "b"), against=invented)

    with pytest.raises(PromotionError, match="which is not in the log"):
        promote(registry, decision, policy=decision.policy, actor="test", reason="")

    assert registry.log.history() == [first]


@pytest.mark.parametrize(
    "hint",
    [None, b"", b"{", b'{"generation":1,"version":"x"}', b'{"generation":99,"version":"x"}',
     b'{"generation":-1,"version":"x"}', b'{"generation":0,"version":"x"}', b"[]", b"\xff\xfe"],
)  # fmt: skip
def test_losing_or_tearing_the_hint_changes_no_answer(registry, stores, hint):
    champion = promoted(registry, "b", against=promoted(registry, "a"))
    if hint is None:
        stores.models.delete(keys.hint_key(registry.name))
    else:
        stores.models.put(keys.hint_key(registry.name), hint)

    assert registry.log.champion() == champion


def test_a_missing_generation_is_found(registry, stores):
    promoted(registry, "b", against=promoted(registry, "a"))
    stores.models.delete(registry.log.key(1))

    with pytest.raises(TrustError, match=r"log/00000001\.json is missing"):
        registry.log.history()


def test_a_rewritten_entry_breaks_the_chain(registry, stores):
    first = promoted(registry, "a")
    promoted(registry, "b", against=first)
    stores.models.put(registry.log.key(1), resealed(first, actor="somebody else"))

    with pytest.raises(TrustError, match="does not follow"):
        registry.log.history()


def test_an_entry_moved_to_another_generation_is_refused(registry, stores):
    promoted(registry, "a")
    stores.models.put(registry.log.key(2), stores.models.get(registry.log.key(1)))

    with pytest.raises(TrustError, match="was signed as LogEntry for"):
        registry.log.champion()


def test_a_foreign_file_in_the_log_is_no_entry(registry, stores):
    champion = promoted(registry, "a")
    stores.models.delete(keys.hint_key(registry.name))
    stores.models.put("sentiment/log/notes.txt", b"hello")

    assert registry.log.champion() == champion
    assert registry.log.history() == [champion]


def test_an_unreachable_store_is_not_an_absent_champion(registry, monkeypatch):
    promoted(registry, "a")

    def down(**_request):
        raise OSError("connection refused")

    monkeypatch.setattr(registry.models._client, "get_object", down)

    with pytest.raises(StoreUnavailableError):
        registry.log.champion()


def test_a_store_that_ignores_conditions_is_refused_for_promotion(registry, monkeypatch):
    _key, decision = decided(registry, a_version(registry, "a"))
    real = registry.models._client.put_object
    monkeypatch.setattr(
        registry.models._client,
        "put_object",
        lambda **request: real(**{k: v for k, v in request.items() if k != "IfNoneMatch"}),
    )

    with pytest.raises(UnsafeStoreError, match="does not honour create-if-absent"):
        promote(registry, decision, policy=decision.policy, actor="test", reason="")

    assert registry.log.champion() is None


def test_a_promotion_whose_answer_was_lost_is_recognised_as_our_own(registry, monkeypatch):
    _key, decision = decided(registry, a_version(registry, "a"))
    real = registry.models._client.put_object
    lost = []

    def answer_is_lost(**request):
        reply = real(**request)
        if "/log/" in request["Key"] and not lost:
            lost.append(request["Key"])
            from botocore.exceptions import ReadTimeoutError

            raise ReadTimeoutError(endpoint_url="http://test")
        return reply

    monkeypatch.setattr(registry.models._client, "put_object", answer_is_lost)

    entry = promote(registry, decision, policy=decision.policy, actor="test", reason="")

    assert lost == [registry.log.key(1)]
    assert registry.log.history() == [entry]


def test_a_version_without_a_manifest_does_not_exist(registry, stores):
    manifest = a_version(registry, "a")
    stores.models.delete(registry.versions.key(manifest.version))

    assert registry.versions.find_version(manifest.version) is None


def test_training_the_same_version_on_another_machine_keeps_the_first_result(registry):
    first = a_version(registry, "a")
    other_bytes = b"the same plan, fitted with another CPU's last bits"
    second = first.model_copy(
        update={
            "model_key": model_file_key(registry.name, first.version, sha256_of(other_bytes)),
            "model_sha256": sha256_of(other_bytes),
            "model_size_bytes": len(other_bytes),
        }
    )

    kept = registry.versions.add_version(second, other_bytes)

    assert kept == first
    assert registry.versions.model_bytes(kept) == MODEL + b"a"


def test_no_record_holds_a_clock_but_the_log(registry, stores):
    promoted(registry, "a")

    for key in listing(stores.models):
        if key.endswith(".json") and "/log/" not in key:
            assert "at" not in fields_in(stores.models.get(key))
    assert "at" in fields_in(stores.models.get(registry.log.key(1)))
    assert LogEntry.model_fields.keys() >= {"at", "actor", "reason"}
