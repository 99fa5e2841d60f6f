"""Who later challengers answer to: the reference moves only to a reliably better version."""

from __future__ import annotations

import pytest

from pipelines.core.errors import PromotionError
from pipelines.registry import rollback
from pipelines.registry.promotion import promote
from tests.support.made.registry_builders import a_version, decided, promoted


def follow(registry, champion, name, **changes):
    _key, decision = decided(registry, a_version(registry, name), against=champion, **changes)
    return promote(registry, decision, policy=decision.policy, actor="test", reason="")


def test_the_first_champion_is_the_reference(registry):
    first = promoted(registry, "a")

    assert first.reference == first.version
    assert registry.versions.reference_manifest(first).version == first.version


def test_a_refresh_does_not_move_the_reference_and_a_reliably_better_version_does(registry):
    first = promoted(registry, "a")
    refreshed = follow(registry, first, "b", verdict="REFRESH", becomes_reference=False)
    better = follow(registry, refreshed, "c", verdict="PROMOTE", becomes_reference=True)

    assert refreshed.reference == first.version
    assert better.reference == better.version
    assert registry.log.history() == [first, refreshed, better]


def test_a_rollback_takes_the_reference_of_its_time_along(registry, monkeypatch):
    monkeypatch.setattr(type(registry.versions), "load", lambda _self, _manifest: None)
    first = promoted(registry, "a")
    second = follow(registry, first, "b", becomes_reference=True)
    _, plan = rollback.make_plan(registry, "previous", reason="a bad night")

    entry = rollback.apply_plan(registry, plan, actor="test")

    assert (second.reference, entry.reference) == (second.version, first.version)


def test_a_version_can_be_pinned_as_reference_and_the_champion_stays(registry, monkeypatch):
    monkeypatch.setattr(type(registry.versions), "load", lambda _self, _manifest: None)
    first = promoted(registry, "a")
    second = follow(registry, first, "b", becomes_reference=True)

    pinned = rollback.pin(registry, first.version, actor="test", reason="the last audited one")

    assert (pinned.kind, pinned.version, pinned.reference) == (
        "pin", second.version, first.version,
    )  # fmt: skip
    assert registry.log.champion() == pinned == registry.log.history()[-1]


@pytest.mark.parametrize(("version", "reason", "message"), [
    ("f" * 20, "why not", "never champion"),
    (None, "  ", "needs a reason"),
])  # fmt: skip
def test_a_pin_that_makes_no_sense_is_refused(registry, version, reason, message):
    first = promoted(registry, "a")

    with pytest.raises(PromotionError, match=message):
        rollback.pin(registry, version or first.version, actor="test", reason=reason)


def test_a_decision_that_was_made_for_another_model_is_not_promoted(registry):
    _key, decision = decided(registry, a_version(registry, "a"))
    other = type(registry)(registry.models, "other")

    with pytest.raises(PromotionError, match="for model 'sentiment'"):
        promote(other, decision, policy=decision.policy, actor="test", reason="")
