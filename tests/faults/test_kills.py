"""A process that promotes is killed beside each of its calls to the store."""

from __future__ import annotations

import itertools
import multiprocessing
import signal

from pipelines.core.store.stores import Stores, open_stores
from pipelines.records.decisions import Decision
from pipelines.registry.promotion import promote
from pipelines.registry.registry import Registry
from tests.support.consumer import checked_champion
from tests.support.hostile.unlucky import CallCounter
from tests.support.made.registry_builders import a_version, decided, promoted
from tests.support.timing import HANG_SECONDS

FORK = multiprocessing.get_context("fork")
KILLS = 30
WHEN = ("before", "after")


def a_promotion_that_is_due(
    stores: Stores, name: str, model: bytes
) -> tuple[Registry, str, Decision]:
    """A registry with a champion, and the stored decision to replace it."""
    registry = Registry(stores.models, name)
    first = promoted(registry, "first", model=model)
    return registry, *decided(registry, a_version(registry, "second", model), against=first)


def calls_of_a_promotion(stores: Stores, model: bytes) -> int:
    _, _key, decision = a_promotion_that_is_due(stores, "counted", model)
    models = open_stores().models
    counter = CallCounter(models._client)
    promote(Registry(models, "counted"), decision, policy=decision.policy, actor="test", reason="")
    return counter.calls


def exit_code_of_a_child_that_dies(
    key: str, decision: Decision, number: int, when: str
) -> int | None:
    child = FORK.Process(target=promote_and_die, args=(key, decision, number, when), daemon=True)
    child.start()
    child.join(HANG_SECONDS)
    return child.exitcode


def promote_and_die(key: str, decision: Decision, number: int, when: str) -> None:
    models = open_stores().models
    CallCounter(models._client, fatal=number, when=when)
    promote(
        Registry(models, decision.model_name),
        decision,
        policy=decision.policy,
        actor="killed",
        reason="",
    )


def test_a_promotion_killed_beside_any_call_leaves_one_whole_champion_and_can_be_repeated(
    stores, model
):
    points = list(itertools.product(range(1, calls_of_a_promotion(stores, model) + 1), WHEN))
    deaths_after_the_commit = 0

    for round_ in range(max(KILLS, len(points))):
        number, when = points[round_ % len(points)]
        registry, key, decision = a_promotion_that_is_due(stores, f"round-{round_}", model)

        code = exit_code_of_a_child_that_dies(key, decision, number, when)

        found = checked_champion(registry)
        assert code == -signal.SIGKILL, f"{when} call {number}"
        assert found.generation in {1, 2}
        assert (found.version == decision.version) == (found.generation == 2)
        deaths_after_the_commit += found.generation == 2

        champion = promote(registry, decision, policy=decision.policy, actor="repeated", reason="")

        assert (champion.generation, champion.version) == (2, decision.version)
        assert checked_champion(registry) == champion
        assert found in registry.log.history()  # what the dead process committed stands

    assert deaths_after_the_commit >= 3  # after the log entry, and beside the hint
