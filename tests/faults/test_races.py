"""Sixteen processes want the championship at once, and one answer in six is lost."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import NamedTuple

import pytest

from pipelines.core.errors import ChampionMovedError
from pipelines.core.store.stores import open_stores
from pipelines.records.decisions import Decision
from pipelines.registry.promotion import promote
from pipelines.registry.registry import Registry
from tests.support.consumer import checked_champion
from tests.support.hostile.unlucky import LosesAnswers
from tests.support.made.registry_builders import DIGEST, a_version, decided
from tests.support.timing import HANG_SECONDS

pytestmark = pytest.mark.long

FORK = multiprocessing.get_context("fork")
RACERS, ROUNDS = 16, 20
LOST_SHARE = 0.16

WON, LOST = "won", "must decide again"


class Attempt(NamedTuple):
    """One racer's promotion in one round, which aims at one generation."""

    generation: int
    version: str
    decision: str  # its digest
    outcome: str


def compete(number: int, model: bytes, start: Barrier, told: Connection) -> None:
    """Try once per round to follow the champion. Who loses decides again on the same version."""
    registry = Registry(open_stores().models, "sentiment")
    unlucky = LosesAnswers(registry.models._client, share=LOST_SHARE, seed=number)
    registry.models._client = unlucky
    attempts = []
    manifest = a_version(registry, f"racer {number}", model)
    key, decision = decided(registry, manifest)
    for round_ in range(ROUNDS):
        start.wait(HANG_SECONDS)  # everybody has decided
        attempts.append(attempt(registry, key, decision))
        start.wait(HANG_SECONDS)  # everybody has tried
        if attempts[-1].outcome == WON:
            manifest = a_version(registry, f"racer {number}, after round {round_}", model)
        key, decision = decided(registry, manifest, against=registry.log.champion())
    told.send((attempts, unlucky.lost))


def attempt(registry: Registry, key: str, decision: Decision) -> Attempt:
    try:
        entry = promote(registry, decision, policy=decision.policy, actor="racer", reason="")
        outcome = WON if entry.version == decision.version else "took another for its own"
    except ChampionMovedError:
        outcome = LOST
    return Attempt(decision.champion_generation + 1, decision.version, decision.digest(), outcome)


def race(model: bytes) -> tuple[list[Attempt], int]:
    """All attempts of all racers, and how many answers were lost."""
    start = FORK.Barrier(RACERS)
    racers, pipes = [], []
    for number in range(RACERS):
        receiving, sending = FORK.Pipe(duplex=False)
        racer = FORK.Process(target=compete, args=(number, model, start, sending), daemon=True)
        racer.start()
        sending.close()
        racers.append(racer)
        pipes.append(receiving)
    told = [pipe.recv() for pipe in pipes]
    for racer in racers:
        racer.join(HANG_SECONDS)
    return [attempt for attempts, _ in told for attempt in attempts], sum(lost for _, lost in told)


@pytest.mark.needs("atomic_create")
def test_of_sixteen_promotions_at_once_one_wins_whatever_answers_are_lost(registry, model):
    attempts, lost = race(model)

    history = registry.log.history()  # raises when an entry does not follow from the one before
    decisions = {(each.version, each.generation): each.decision for each in attempts}
    winners = {each.generation: each.version for each in attempts if each.outcome == WON}
    losers = [each for each in attempts if each.outcome == LOST]
    assert Counter(each.outcome for each in attempts) == {
        WON: ROUNDS,
        LOST: (RACERS - 1) * ROUNDS,
    }
    assert Counter(each.generation for each in attempts) == dict.fromkeys(
        range(1, ROUNDS + 1), RACERS
    )
    assert [entry.generation for entry in history] == list(range(1, ROUNDS + 1))
    assert {entry.generation: entry.version for entry in history} == winners
    for entry in history:
        assert entry.decision_sha256 == decisions[entry.version, entry.generation]
    for loser in losers:
        # Raises unless signed. The generation it lost is the one it is now compared with.
        again = registry.decisions.find_decision(loser.version, loser.generation, DIGEST)
        assert again.champion_version == winners[loser.generation]
        # With that very decision it took part in the next round, unless this was the last one.
        following = decisions.get((loser.version, loser.generation + 1))
        assert following == (again.digest() if loser.generation < ROUNDS else None)
    assert checked_champion(registry) == history[-1]
    assert lost > RACERS * ROUNDS * LOST_SHARE  # each attempt writes several times
