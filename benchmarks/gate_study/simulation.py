"""Table 1: a year of nights, many times over, with every gate choosing its own champions.

The holdout holds the same reviews night after night but for a small share of new ones, as in the
loop, so luck lasts. The oracle knows the true accuracies and promotes what is truly better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.gate_study.records import Case, decided, evaluation_of
from benchmarks.gate_study.rivals import RIVALS
from benchmarks.gate_study.world import Logits, World, accuracy_of
from pipelines.core.settings.model import GateSettings
from pipelines.evaluation.scores import Scored
from pipelines.records.decisions import PROMOTABLE

OURS, ORACLE = "our gate", "oracle"
FAR_WORSE = 0.005  # half a point


@dataclass(frozen=True)
class Nights:
    """How the nights are. Shares are of all nights; accuracies are shares, too."""

    nights: int = 365
    holdout_rows: int = 5_000
    new_share: float = 0.04  # of the holdout, every night
    decay: float = 1e-4  # accuracy that a model loses every night it was not trained
    poisoned_share: float = 0.03
    least_poison: float = 0.25  # of a real fault; the most is all of it
    unlucky_share: float = 0.10
    unlucky_drop: float = 0.002  # mean accuracy lost on an unlucky night, exponential


@dataclass(frozen=True, eq=False)
class Model:
    """Signed logits on the whole world as of the night it was trained."""

    night: int
    logits: Logits

    def on(self, world: World, night: int, nights: Nights) -> Logits:
        """The same model on a later night."""
        if night == self.night:
            return self.logits
        return self.logits + world.behind_by((night - self.night) * nights.decay)


@dataclass
class Tally:
    """What one gate did in one year."""

    promotions: int = 0
    worse: int = 0
    far_worse: int = 0
    accuracies: list[float] = field(default_factory=list)

    @property
    def mean_accuracy(self) -> float:
        return float(np.mean(self.accuracies))


@dataclass(eq=False)
class _Standing:
    champion: Model
    reference: Model


@dataclass(frozen=True, eq=False)
class Tonight:
    """All that is known on one night. ``rows`` are those held out, oldest first."""

    world: World
    how: Nights
    night: int
    challenger: Model
    rows: NDArray[np.int64]


Answer = Callable[[Tonight, _Standing], tuple[bool, bool]]


def year(
    world: World, how: Nights, policy: GateSettings, seed: int, on_step: Callable[[int], None]
) -> dict[str, Tally]:
    """Every gate through the same nights."""
    rng = np.random.default_rng([seed, 77])
    models = challengers(world, how, rng)
    first = next(models)
    gates = _gates(policy)
    standings = {name: _Standing(first, first) for name in gates}
    tallies = {name: Tally() for name in gates}
    for rows, challenger in zip(holdouts(len(world), how, rng), models, strict=False):
        tonight = Tonight(world, how, challenger.night, challenger, rows)
        for name, gate in gates.items():
            _live(tonight, gate, standings[name], tallies[name])
        on_step(1)
    return tallies


def challengers(world: World, how: Nights, rng: np.random.Generator) -> Iterator[Model]:
    """The first champion, and a model for every night."""
    path = _normal(rng, len(world))
    step = np.float32((1.0 - world.memory**2) ** 0.5)
    for night in range(how.nights + 1):
        logits = world.logits + np.float32(world.rows_sd) * path
        logits = logits + np.float32(world.seed_sd) * _normal(rng, len(world))
        yield Model(night, logits + fault(world, how, rng) if night else logits)
        path = np.float32(world.memory) * path + step * _normal(rng, len(world))


def fault(world: World, how: Nights, rng: np.random.Generator) -> Logits:
    """What a poisoned or an unlucky night adds; mostly nothing."""
    luck = rng.random()
    if luck < how.poisoned_share:
        whole = world.faults[int(rng.integers(len(world.faults)))]
        return np.float32(rng.uniform(how.least_poison, 1.0)) * whole
    if luck < how.poisoned_share + how.unlucky_share:
        return world.behind_by(rng.exponential(how.unlucky_drop))
    return np.zeros(len(world), np.float32)


def holdouts(world_rows: int, how: Nights, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """The rows held out on each night, oldest first: a few leave, as many new ones come."""
    order = rng.permutation(world_rows)
    size = min(how.holdout_rows, world_rows)
    new = round(how.new_share * size)
    for night in range(how.nights):
        yield order[np.arange(night * new, night * new + size) % world_rows]


def _live(tonight: Tonight, gate: Answer, standing: _Standing, tally: Tally) -> None:
    before = accuracy_of(standing.champion.on(tonight.world, tonight.night, tonight.how))
    after = accuracy_of(tonight.challenger.logits)
    is_promoted, becomes_reference = gate(tonight, standing)
    if is_promoted:
        standing.champion = tonight.challenger
        tally.promotions += 1
        tally.worse += after < before
        tally.far_worse += after < before - FAR_WORSE
    if is_promoted and becomes_reference:
        standing.reference = tonight.challenger
    tally.accuracies.append(after if is_promoted else before)


def _gates(policy: GateSettings) -> dict[str, Answer]:
    return {**{name: _rival(name) for name in RIVALS}, OURS: _ours(policy), ORACLE: _oracle}


def _rival(name: str) -> Answer:
    def answer(tonight: Tonight, standing: _Standing) -> tuple[bool, bool]:
        rows = tonight.rows
        before = standing.champion.on(tonight.world, tonight.night, tonight.how)[rows] > 0
        after = tonight.challenger.logits[rows] > 0
        return RIVALS[name](before, after), False

    return answer


def _ours(policy: GateSettings) -> Answer:
    def answer(tonight: Tonight, standing: _Standing) -> tuple[bool, bool]:
        rows = tonight.rows
        case = Case(
            scored=_scored(tonight, standing),
            newest=np.arange(len(rows)) >= len(rows) - policy.newest_rows,
            slices={name: mask[rows] for name, mask in tonight.world.slices.items()},
            age_nights=tonight.night - standing.champion.night,
            has_own_reference=standing.reference is not standing.champion,
        )
        decision = decided(evaluation_of(case, policy), policy)
        return decision.verdict in PROMOTABLE, decision.becomes_reference

    return answer


def _oracle(tonight: Tonight, standing: _Standing) -> tuple[bool, bool]:
    before = accuracy_of(standing.champion.on(tonight.world, tonight.night, tonight.how))
    return accuracy_of(tonight.challenger.logits) > before, False


def _scored(tonight: Tonight, standing: _Standing) -> Scored:
    def on_rows(model: Model) -> NDArray[np.float64]:
        logits = model.on(tonight.world, tonight.night, tonight.how)
        return tonight.world.probability(logits, tonight.rows)

    champion = on_rows(standing.champion)
    has_own = standing.reference is not standing.champion
    return Scored(
        tonight.world.labels[tonight.rows],
        on_rows(tonight.challenger),
        champion,
        on_rows(standing.reference) if has_own else champion,
    )


def _normal(rng: np.random.Generator, rows: int) -> Logits:
    return rng.standard_normal(rows, dtype=np.float32)
