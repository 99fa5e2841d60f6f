"""Two models in one pair of buckets: nothing of one can be used for the other."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable

import pytest

from pipelines.core.errors import LoopError, PromotionError, TrustError
from pipelines.core.store.stores import Stores
from pipelines.registry import approvals, promotion
from pipelines.registry.fsck import check
from pipelines.registry.registry import Registry
from pipelines.steps import bake, context, monitor, promote, retrain, rollback
from tests.support.in_memory import InMemory
from tests.support.made.registry_builders import a_log_entry, a_version, decided, promoted
from tests.support.made.window_builders import a_trigger

pytestmark = pytest.mark.attack

FIRST, STARS = "sentiment", "stars"


@pytest.fixture
def first(stores, configure):
    configure(models={STARS: {"seed": 7}})
    return Registry(stores.models, FIRST)


@pytest.fixture
def stars(stores, first):
    return Registry(stores.models, STARS)


Step = Callable[[str], object]

OF_DECISIONS: list[Step] = [
    lambda uri: promote.next_step(uri, is_dry_run=False, model=STARS),
    lambda uri: promote.describe_decision(uri, STARS),
    lambda uri: promote.record_answer(uri, "approve", "eve", "because", STARS),
    lambda uri: promote.promote(uri, "eve", "because", STARS),
    lambda uri: retrain.write_card(uri, STARS),
    lambda uri: context.read_decision(uri, STARS),
]


@pytest.mark.parametrize("step", OF_DECISIONS)
@pytest.mark.parametrize("approval", ["needed", "not_needed"])
def test_a_decision_on_one_model_does_nothing_for_another(stores, first, stars, step, approval):
    key, _ = decided(first, a_version(first, "a"), approval=approval)

    with pytest.raises(TrustError, match="another model than 'stars'"):
        step(stores.models.uri(key))

    assert stores.models.list("stars/") == []
    assert not any("/approval.json" in info.key for info in stores.models.list(""))


def test_a_record_moved_to_the_other_model_is_not_its_record(stores, first, stars):
    key, decision = decided(first, a_version(first, "a"))
    for info in stores.models.list(f"{FIRST}/"):
        moved = info.key.replace(f"{FIRST}/", f"{STARS}/", 1)
        stores.models.put(moved, stores.models.get(info.key))

    uri = stores.models.uri(key.replace(f"{FIRST}/", f"{STARS}/", 1))
    with pytest.raises(TrustError):
        promote.promote(uri, "eve", "because", STARS)
    with pytest.raises(PromotionError):
        promotion.promote(stars, decision, policy=decision.policy, actor="eve", reason="")

    assert stars.log.champion() is None


def test_an_approval_of_one_model_allows_nothing_in_another(stores, first, stars):
    key, _ = decided(first, a_version(first, "a"), approval="needed")
    approvals.answer(first, key, "approve", actor="olga", reason="it is good")
    _, own = decided(stars, a_version(stars, "a"), approval="needed")

    with pytest.raises(PromotionError, match="needs a person's approval"):
        promotion.promote(stars, own, policy=own.policy, actor="eve", reason="")


@pytest.mark.parametrize(
    "step",
    [
        lambda uri: retrain.has_work(uri, STARS),
        lambda uri: retrain.featurize(uri, STARS),
        lambda uri: retrain.train(uri, model=STARS),
    ],
)
def test_a_plan_for_one_model_trains_no_other(stores, first, stars, step):
    manifest = a_version(first, "a")

    with pytest.raises(TrustError, match="another model than 'stars'"):
        step(stores.models.uri(manifest.plan.object_key))


@pytest.mark.parametrize(
    "step",
    [
        lambda loop, entry: retrain.evaluate(
            loop.uri(f"{FIRST}/versions/{entry.version}/manifest.json"), STARS
        ),
        lambda loop, entry: promote.confirm(loop.uri(entry.object_key), STARS),
        lambda loop, entry: rollback.plan_rollback(entry.version, "because", STARS),
        lambda loop, entry: rollback.plan_release(entry.version, STARS),
    ],
)
def test_a_champion_of_one_model_is_no_version_of_another(stores, first, stars, step):
    before = promoted(first, "a")
    promoted(first, "b", against=before)
    promoted(stars, "c")

    with pytest.raises(LoopError):
        step(stores.models, before)

    assert len(stars.log.history()) == 1


def test_the_services_of_a_model_are_not_asked_about_another(stores, first, stars, configure):
    configure(models={STARS: {"serving": {"addresses": ["http://127.0.0.1:9"]}}})
    entry = promoted(first, "a")

    with pytest.raises(PromotionError, match="not an entry of this model's"):
        bake.begin(stores.models.uri(entry.object_key), STARS)


def test_what_the_monitor_asked_for_one_model_starts_no_other(stores, first):
    decision = a_trigger(is_started=True)
    stores.reviews.put_record(decision)
    uri = stores.reviews.uri(decision.object_key)

    assert monitor.is_started(uri, FIRST)
    with pytest.raises(TrustError, match="another model than 'stars'"):
        monitor.is_started(uri, STARS)
    assert "cannot be read" in monitor.reason_of(uri, STARS)


def test_the_rollback_of_one_model_leaves_the_other_alone(stores, first, stars):
    for registry in (first, stars):
        before = promoted(registry, "a")
        promoted(registry, "b", against=before)
    history = first.log.history()
    plan = rollback_plan(stores, first)

    with pytest.raises(PromotionError, match="does not match the champion log"):
        rollback.apply_rollback(plan, "eve", STARS)

    assert first.log.history() == history
    assert len(stars.log.history()) == 2


def rollback_plan(stores, registry):
    from pipelines.records.succession import RollbackPlan

    champion, target = registry.log.history()[::-1]
    plan = RollbackPlan(
        model_name=registry.name, champion_generation=champion.generation,
        champion_version=champion.version, target_generation=target.generation,
        target_version=target.version, reason="because",
    )  # fmt: skip
    stores.models.put_record(plan)
    return stores.models.uri(plan.object_key)


def of_many_models(count):
    """Two buckets with a log, a version and a decision of each of so many models."""
    stores = Stores(InMemory(), InMemory())
    for number in range(count):
        registry = Registry(stores.models, f"model{number}")
        decided(registry, a_version(registry, "one"))
        for generation in (1, 2):
            stores.models.put_first(a_log_entry(generation, model_name=registry.name))
    return stores


def test_fsck_takes_time_in_proportion_to_the_models():
    calls, clocks = [], []
    for count in (1, 10, 40, 70):  # the first makes what is made once
        stores = of_many_models(count)
        asked = stores.models.clock
        times = []
        stores.models.clock = lambda asked=asked, times=times: times.append(1) or asked()
        profile = cProfile.Profile()
        profile.runcall(check.check, stores.reviews, Registry(stores.models, "model0"))
        calls.append(pstats.Stats(profile).total_calls)
        clocks.append(len(times))

    _, few, more, most = calls
    assert most - more < 1.2 * (more - few)
    assert clocks == [1, 1, 1, 1]
