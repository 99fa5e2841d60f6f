"""How alike the simulated models are to the real ones: the figures that decide a gate's errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.gate_study.models import Challenger
from benchmarks.gate_study.resampling import Pool
from benchmarks.gate_study.sheets import Sheet
from benchmarks.gate_study.simulation import Nights, challengers
from benchmarks.gate_study.world import Logits, World, accuracy_of, signed_logits

SHOWN = ("other seed", "+4 % reviews", "other sample", "half the data", "5% flipped")
NIGHTS_APART = (1, 5, 30)
DROPS = (0.002, 0.01)


@dataclass(frozen=True)
class Difference:
    """Two models on the same reviews: the second minus the first, means over reviews."""

    accuracy_change: float
    discordant_share: float  # reviews that exactly one of them gets right
    log_loss_change: float
    log_loss_sd: float  # of the change, review by review

    @classmethod
    def between(cls, first: Logits, second: Logits) -> Difference:
        before, after = (np.logaddexp(0, -one.astype(np.float64)) for one in (first, second))
        return cls(
            accuracy_change=accuracy_of(second) - accuracy_of(first),
            discordant_share=float(((first > 0) != (second > 0)).mean()),
            log_loss_change=float((after - before).mean()),
            log_loss_sd=float((after - before).std()),
        )


def calibration(
    world: World, pool: Pool, models: Sequence[Challenger], how: Nights, seed: int
) -> Sheet:
    """Real pairs of models, simulated pairs, and what falling behind costs."""
    everything = {**_real(world, pool, models), **_simulated(world, how, seed), **_behind(world)}
    return Sheet(
        title="What the simulation is calibrated on",
        columns=(
            "pair of models", "accuracy, pt", "discordant, %", "log loss", "its sd per review"
        ),
        lines=tuple(_line(name, found) for name, found in everything.items() if found),
    )  # fmt: skip


Pairs = dict[str, list[Difference]]


def _real(world: World, pool: Pool, models: Sequence[Challenger]) -> Pairs:
    def against_champion(name: str) -> list[Difference]:
        logits = [
            signed_logits(pool.labels, each.probability) for each in models if each.name == name
        ]
        return [Difference.between(world.logits, each) for each in logits]

    return {f"real: {name}": against_champion(name) for name in SHOWN}


def _simulated(world: World, how: Nights, seed: int) -> Pairs:
    quiet = replace(how, nights=2 * max(NIGHTS_APART), poisoned_share=0.0, unlucky_share=0.0)
    nights = [each.logits for each in challengers(world, quiet, np.random.default_rng(seed))]
    return {
        f"simulated: {apart} nights apart": [
            Difference.between(first, second)
            for first, second in zip(nights, nights[apart:], strict=False)
        ]
        for apart in NIGHTS_APART
    }


def _behind(world: World) -> Pairs:
    return {
        f"simulated: behind by {100 * drop:.1f} points": [
            Difference.between(world.logits, world.logits + world.behind_by(drop))
        ]
        for drop in DROPS
    }


def _line(name: str, found: Sequence[Difference]) -> tuple[str, ...]:
    def mean(what: str) -> float:
        return float(np.mean([getattr(each, what) for each in found]))

    return (
        name,
        f"{100 * mean('accuracy_change'):+.2f}",
        f"{100 * mean('discordant_share'):.2f}",
        f"{mean('log_loss_change'):+.4f}",
        f"{mean('log_loss_sd'):.3f}",
    )
