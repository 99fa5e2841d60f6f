"""Sixteen processes want the championship at once, and one answer in six is lost."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import NamedTuple

import pytest
from registry_builders import a_version, decided
from unlucky import LosesAnswers

from pipelines.errors import ChampionMovedError
from pipelines.promotion import promote
from pipelines.registry import Registry
from pipelines.store import open_stores

FORK = multiprocessing.get_context("fork")
RACERS, ROUNDS = 16, 20
LOST_SHARE = 0.16
SECONDS = 180


class Attempt(NamedTuple):
    """One racer's promotion in one round, which aims at one generation."""

    generation: int
    version: str
    outcome: str


def compete(number: int, start: Barrier, told: Connection) -> None:
    """Decide against the present champion and try to follow it, once per round."""
    registry = Registry(open_stores().models, "sentiment")
    unlucky = LosesAnswers(registry.models._client, share=LOST_SHARE, seed=number)
    registry.models._client = unlucky
    attempts = []
    for round_ in range(ROUNDS):
        champion = registry.champion()
        manifest = a_version(registry, f"racer {number}, round {round_}")
        key, decision = decided(registry, manifest, against=champion)
        start.wait(SECONDS)
        try:
            entry = promote(registry, decision, key, actor=f"racer {number}", reason="")
            outcome = "won" if entry.version == manifest.version else "took another for its own"
        except ChampionMovedError:
            outcome = "must decide again"
        attempts.append(Attempt(decision.champion_generation + 1, manifest.version, outcome))
        start.wait(SECONDS)
    told.send((attempts, unlucky.lost))


def race() -> tuple[list[Attempt], int]:
    """All attempts of all racers, and how many answers were lost."""
    start = FORK.Barrier(RACERS)
    racers, pipes = [], []
    for number in range(RACERS):
        receiving, sending = FORK.Pipe(duplex=False)
        racer = FORK.Process(target=compete, args=(number, start, sending), daemon=True)
        racer.start()
        sending.close()
        racers.append(racer)
        pipes.append(receiving)
    told = [pipe.recv() for pipe in pipes]
    for racer in racers:
        racer.join(SECONDS)
    return [attempt for attempts, _ in told for attempt in attempts], sum(lost for _, lost in told)


@pytest.mark.needs("atomic_create")
def test_of_sixteen_promotions_at_once_one_wins_whatever_answers_are_lost(registry):
    attempts, lost = race()

    history = registry.history()  # raises when an entry does not follow from the one before
    winners = {each.generation: each.version for each in attempts if each.outcome == "won"}
    assert Counter(each.outcome for each in attempts) == {
        "won": ROUNDS,
        "must decide again": (RACERS - 1) * ROUNDS,
    }
    assert Counter(each.generation for each in attempts) == dict.fromkeys(
        range(1, ROUNDS + 1), RACERS
    )
    assert {entry.generation: entry.version for entry in history} == winners
    assert [entry.generation for entry in history] == list(range(1, ROUNDS + 1))
    assert registry.champion() == history[-1]
    assert lost > RACERS * ROUNDS * LOST_SHARE  # each attempt writes several times
