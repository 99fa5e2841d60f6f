"""Erosion: a little more label noise every night, each night's model against the last accepted one.

The holdout stays the same for all nights of a repetition, as it does in the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.gate_study.models import Challenger
from benchmarks.gate_study.records import at_age, decided, evaluation_of
from benchmarks.gate_study.resampling import Pool, case_of, draws
from benchmarks.gate_study.reviews import Rows
from benchmarks.gate_study.rivals import RIVALS, correct
from pipelines.core.settings.model import GateSettings
from pipelines.records.decisions import PROMOTABLE

Probabilities = NDArray[np.float64]
BY_AGE = "our gate"
ALWAYS_STALE = "our gate, any model that is not worse"
WITHOUT_REFERENCE = "the same without the reference"
OURS = (BY_AGE, ALWAYS_STALE, WITHOUT_REFERENCE)


@dataclass(frozen=True)
class Erosion:
    """One gate on one holdout. Accuracies are true ones, lost since the first night."""

    gate: str
    first_stop: int | None  # night of the first model not accepted; None: never
    lost_by_then: float
    lost_at_end: float


@dataclass
class _Standing:
    champion: Probabilities
    reference: Probabilities
    trained_on_night: int = 0

    @property
    def has_own_reference(self) -> bool:
        return self.reference is not self.champion


def erode(
    pool: Pool,
    nights: Sequence[Challenger],
    policy: GateSettings,
    *,
    size: int,
    repeats: int,
    seed: int,
    on_step: Callable[[int], None],
) -> list[Erosion]:
    """Every gate on every holdout; ``nights`` has one model per night, each a little worse."""
    found = []
    for rows in draws(len(pool), size, repeats, seed):
        found += [_ours(pool, nights, policy, rows, gate) for gate in OURS]
        found += [_rival(pool, nights, rows, gate) for gate in RIVALS]
        on_step(1)
    return found


def _ours(
    pool: Pool, nights: Sequence[Challenger], policy: GateSettings, rows: Rows, gate: str
) -> Erosion:
    standing = _Standing(pool.champion, pool.champion)
    accepted = []
    for night, challenger in enumerate(nights, start=1):
        accepted.append(_accepts(pool, standing, challenger, policy, rows, gate, night))
    return _erosion(pool, nights, gate, accepted)


def _accepts(
    pool: Pool,
    standing: _Standing,
    challenger: Challenger,
    policy: GateSettings,
    rows: Rows,
    gate: str,
    night: int,
) -> bool:
    is_pinned = standing.has_own_reference and gate != WITHOUT_REFERENCE
    case = case_of(
        pool, rows, challenger, policy,
        champion=standing.champion, reference=standing.reference if is_pinned else None,
    )  # fmt: skip
    age = night - standing.trained_on_night if gate == BY_AGE else policy.refresh_after_nights
    decision = decided(at_age(evaluation_of(case, policy), age), policy)
    if decision.verdict not in PROMOTABLE:
        return False
    standing.champion, standing.trained_on_night = challenger.probability, night
    if decision.becomes_reference:
        standing.reference = challenger.probability
    return True


def _rival(pool: Pool, nights: Sequence[Challenger], rows: Rows, gate: str) -> Erosion:
    champion, accepted = pool.champion, []
    for challenger in nights:
        before, after = (
            correct(pool.labels[rows], model[rows]) for model in (champion, challenger.probability)
        )
        accepted.append(RIVALS[gate](before, after))
        champion = challenger.probability if accepted[-1] else champion
    return _erosion(pool, nights, gate, accepted)


def _erosion(
    pool: Pool, nights: Sequence[Challenger], gate: str, accepted: Sequence[bool]
) -> Erosion:
    start = pool.accuracy(pool.champion)
    stops = [night for night, is_accepted in enumerate(accepted, start=1) if not is_accepted]
    first = stops[0] if stops else None

    def lost_after(night: int) -> float:
        taken = [at for at in range(night) if accepted[at]]
        return start - pool.accuracy(nights[taken[-1]].probability) if taken else 0.0

    return Erosion(gate, first, lost_after(first or len(nights)), lost_after(len(nights)))
