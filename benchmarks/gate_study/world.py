"""A world to simulate in: reviews, and how much one night's model differs from the next.

Everything is in signed logits, the log-odds that a model gives to the truth: above zero it is
right. A simulated model is

    real champion + what its training rows add + what its seed adds + a fault, if the night has one

- *rows*: normal, a path over the nights per review. One night apart it differs as much as real
  models with and without 4 % more reviews do, far apart as much as models on another sample.
- *seed*: normal, fresh every night; as far apart as real models that differ by the seed.
- *faults*: on a poisoned night, a part of the real difference between a real model trained on
  spoiled reviews and the champion. On an unlucky night, a part of the difference that half of the
  reviews makes.
- *age*: every night that a model was not trained, it falls a little further behind, in the
  direction of the model that knows half of the reviews.

So the relation between accuracy, log loss and classes is that of real models, and the true accuracy
of a simulated model is counted on all reviews of the world.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from benchmarks.gate_study.models import Challenger
from benchmarks.gate_study.resampling import Pool
from benchmarks.gate_study.reviews import Mask

Logits = NDArray[np.float32]
_SMALLEST = 1e-12
WEIGHTS = np.linspace(0.0, 4.0, 81)
NEAR = 1.0  # reviews with a logit within this of zero are those on which models disagree


@dataclass(frozen=True, eq=False)
class World:
    """All reviews there are, and the sizes of what changes.

    ``logits``, ``knows_less`` and each of ``faults`` are signed logits of shape (n_reviews,); the
    last two are differences from the first. ``drops`` is the accuracy that each of `WEIGHTS` times
    ``knows_less`` costs, ascending.
    """

    labels: NDArray[np.int8]
    slices: Mapping[str, Mask]
    logits: Logits
    knows_less: Logits
    drops: NDArray[np.float64]
    faults: tuple[Logits, ...]
    seed_sd: float
    rows_sd: float
    memory: float  # correlation of the rows' part from one night to the next

    def __len__(self) -> int:
        return len(self.labels)

    def behind_by(self, drop: float) -> Logits:
        """What to add to a model that it loses so much accuracy by knowing less."""
        weight = np.float32(np.interp(drop, self.drops, WEIGHTS))
        return weight * self.knows_less

    def probability(self, logits: Logits, rows: NDArray[np.integer]) -> NDArray[np.float64]:
        """Of the positive class, for signed logits on the whole world."""
        sign = np.where(self.labels[rows] == 1, 1.0, -1.0)
        probability: NDArray[np.float64] = expit(sign * logits[rows].astype(np.float64))
        return probability


def signed_logits(labels: NDArray[np.int8], probability: NDArray[np.float64]) -> Logits:
    """Log-odds given to the truth, shape (n_reviews,)."""
    of_truth = np.where(labels == 1, probability, 1.0 - probability)
    of_truth = np.clip(of_truth, _SMALLEST, 1.0 - _SMALLEST)
    return np.log(of_truth / (1.0 - of_truth)).astype(np.float32)


def accuracy_of(logits: Logits) -> float:
    """Share of reviews that a model gets right."""
    return float((logits > 0).mean())


def calibrated(pool: Pool, challengers: Sequence[Challenger], less: str = "half the data") -> World:
    """The world that real models tell of: good ones of every kind, bad ones, and ``less``."""
    base = signed_logits(pool.labels, pool.champion)
    differences: dict[str, list[Logits]] = {}
    for each in challengers:
        change = signed_logits(pool.labels, each.probability) - base
        differences.setdefault(each.name, []).append(change)
    faults = [each.name for each in challengers if each.kind == "bad"]
    knows_less = differences[less][0]
    spread = {name: _spread(base, changes) for name, changes in differences.items()}
    seed, night, far = spread["other seed"], spread["+4 % reviews"], spread["other sample"]
    rows_far = max(far - seed, 1e-9)
    return World(
        labels=pool.labels,
        slices=pool.slices,
        logits=base,
        knows_less=knows_less,
        drops=_drops(base, knows_less),
        faults=tuple(differences[name][0] for name in faults),
        seed_sd=float(np.sqrt(seed / 2)),
        rows_sd=float(np.sqrt(rows_far / 2)),
        memory=float(np.clip(1.0 - (night - seed) / rows_far, 0.0, 1.0)),
    )


def _drops(base: Logits, knows_less: Logits) -> NDArray[np.float64]:
    after = [accuracy_of(base + np.float32(weight) * knows_less) for weight in WEIGHTS]
    drops: NDArray[np.float64] = np.maximum.accumulate(after[0] - np.array(after))
    return drops


def _spread(base: Logits, changes: Sequence[Logits]) -> float:
    """Mean squared difference of the logits, on reviews near the boundary."""
    is_near = np.abs(base) < NEAR
    return float(np.mean([np.var(change[is_near]) for change in changes]))
