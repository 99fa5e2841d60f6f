"""Table 2: real models before every gate, on many holdouts drawn from the same reviews.

A holdout is drawn with replacement from the pool, so the accuracy on the whole pool is the true
one. All challengers and all gates see the same holdouts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.gate_study.models import Challenger, Kind
from benchmarks.gate_study.records import Case, at_age, decided, evaluation_of
from benchmarks.gate_study.reviews import Mask, Rows
from benchmarks.gate_study.rivals import RIVALS, correct
from pipelines.core.settings.model import GateSettings
from pipelines.evaluation.scores import Scored
from pipelines.records.decisions import PROMOTABLE, Verdict
from pipelines.records.evaluations import Evaluation

OnStep = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class Pool:
    """Labels, slices and the champion's answers on all reviews that may be held out."""

    labels: NDArray[np.int8]
    champion: NDArray[np.float64]
    slices: Mapping[str, Mask]

    def __len__(self) -> int:
        return len(self.labels)

    def accuracy(self, probability: NDArray[np.float64]) -> float:
        return float(correct(self.labels, probability).mean())


@dataclass(frozen=True)
class Outcome:
    """What one challenger met with, on all holdouts of one size.

    ``fresh`` counts our verdicts on a champion of yesterday, ``stale`` on one that has fallen
    behind; ``rules`` those that stopped it; ``rivals`` the promotions by each other gate.
    """

    name: str
    kind: Kind
    size: int
    true_change: float  # accuracy on the pool, challenger minus champion
    repeats: int
    fresh: Counter[Verdict] = field(default_factory=Counter)
    stale: Counter[Verdict] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    rivals: Counter[str] = field(default_factory=Counter)

    @property
    def stopped_share(self) -> float:
        """Share of holdouts on which it is not let through, however old the champion."""
        return 1.0 - sum(self.stale[verdict] for verdict in PROMOTABLE) / self.repeats

    @property
    def rejected_share(self) -> float:
        """Share of holdouts on which somebody is told of a fault."""
        return (self.fresh["REJECT"] + self.fresh["INCONCLUSIVE"]) / self.repeats


def draws(pool_rows: int, size: int, repeats: int, seed: int) -> Iterator[Rows]:
    """The holdouts: positions in the pool."""
    for number in range(repeats):
        yield np.random.default_rng([seed, size, number]).integers(pool_rows, size=size)


def case_of(
    pool: Pool,
    rows: Rows,
    challenger: Challenger,
    policy: GateSettings,
    *,
    champion: NDArray[np.float64] | None = None,
    reference: NDArray[np.float64] | None = None,
) -> Case:
    """A challenger on one holdout, without the rows that it was trained on."""
    fair = rows[~challenger.is_copy[rows]]
    champion = pool.champion if champion is None else champion
    return Case(
        scored=Scored(
            pool.labels[fair],
            challenger.probability[fair],
            champion[fair],
            (champion if reference is None else reference)[fair],
        ),
        newest=np.arange(len(fair)) < policy.newest_rows,
        slices={name: mask[fair] for name, mask in pool.slices.items()},
        overlap_rows=len(rows) - len(fair),
        has_own_reference=reference is not None,
    )


def measure(
    pool: Pool,
    challenger: Challenger,
    size: int,
    policy: GateSettings,
    *,
    repeats: int,
    seed: int,
    on_step: OnStep,
) -> Outcome:
    """Every gate's answers about one challenger."""
    is_fair = ~challenger.is_copy
    accuracies = [
        float(correct(pool.labels[is_fair], model[is_fair]).mean())
        for model in (challenger.probability, pool.champion)
    ]
    change = accuracies[0] - accuracies[1]
    outcome = Outcome(challenger.name, challenger.kind, size, change, repeats)
    for rows in draws(len(pool), size, repeats, seed):
        _ask_ours(outcome, evaluation_of(case_of(pool, rows, challenger, policy), policy), policy)
        _ask_rivals(outcome, pool, rows, challenger)
        on_step(1)
    return outcome


def _ask_ours(outcome: Outcome, evaluation: Evaluation, policy: GateSettings) -> None:
    decision = decided(evaluation, policy)
    old = decided(at_age(evaluation, policy.refresh_after_nights), policy)
    outcome.fresh[decision.verdict] += 1
    outcome.stale[old.verdict] += 1
    outcome.rules.update(
        rule.rule for rule in decision.rules if not rule.is_passed and rule.group != "gain"
    )


def _ask_rivals(outcome: Outcome, pool: Pool, rows: Rows, challenger: Challenger) -> None:
    """They look at all rows: nobody tells them which were trained on."""
    before = correct(pool.labels[rows], pool.champion[rows])
    after = correct(pool.labels[rows], challenger.probability[rows])
    outcome.rivals.update(name for name, gate in RIVALS.items() if gate(before, after))


def measure_all(
    pool: Pool,
    challengers: Sequence[Challenger],
    size: int,
    policy: GateSettings,
    *,
    repeats: int,
    seed: int,
    on_step: OnStep,
) -> list[Outcome]:
    """One outcome per challenger."""
    return [
        measure(pool, each, size, policy, repeats=repeats, seed=seed, on_step=on_step)
        for each in challengers
    ]
