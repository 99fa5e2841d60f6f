"""Challengers of known quality: the default model, trained on good and on spoiled reviews."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.compared.models import default_candidate
from benchmarks.gate_study.reviews import Mask, Reviews, Rows, view_of_the_default
from pipelines.features.fingerprints import Fingerprints, fingerprint
from pipelines.features.signatures import COPIED_SHARE, near_known, signatures

CHAMPION_SHARE = 0.8  # of the training side; the rest is there to come in later
APPEND_SHARE, GROWTH_SHARE = 0.04, 0.20
LEAKED_SHARE = 0.1  # of the champion's rows: 2,000 of 20,000
EROSION_NOISE = 0.005  # more of the labels flipped, each night
ORIGINAL, LARGE, SMALL = 0, 2**31, 2**20

Kind = Literal["good", "bad", "leak"]
Labels = NDArray[np.int8]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Recipe:
    """What a model is trained on. The reviews are fetched only to train: they are large."""

    name: str
    kind: Kind
    prints: Callable[[], Fingerprints]
    labels: Labels
    ids: NDArray[np.str_]
    seed: int


@dataclass(frozen=True, eq=False)
class Challenger:
    """A trained model's answers on the pool.

    ``is_copy`` marks the pool's reviews that it was trained on, word for word or nearly.
    """

    name: str
    kind: Kind
    probability: Probabilities
    is_copy: Mask


@dataclass(frozen=True, eq=False)
class Kitchen:
    """Makes the recipes from a training side; the same seed gives the same ones."""

    training: Reviews
    pool: Reviews
    seed: int
    order: Rows = field(init=False)

    def __post_init__(self) -> None:
        order = np.random.default_rng([self.seed, 0]).permutation(len(self.training))
        object.__setattr__(self, "order", order)

    @property
    def champion_rows(self) -> Rows:
        return self.order[: int(CHAMPION_SHARE * len(self.order))]

    def champion(self) -> Recipe:
        return self._recipe("champion", "good", self.champion_rows, 0)

    def good(self, repeats: int) -> Iterator[Recipe]:
        """Models that differ from the champion as one night's differ from the next."""
        rows, spare = self.champion_rows, self.order[len(self.champion_rows) :]
        few = int(APPEND_SHARE * len(rows))
        for number in range(repeats):
            yield self._recipe("other seed", "good", rows, 10 + number)
        for number in range(repeats):
            chosen = self._rng(1, number).choice(spare, few, replace=False)
            together = np.concatenate([rows, chosen])
            yield self._recipe("+4 % reviews", "good", together, 20 + number)
        for number in range(max(1, repeats // 2)):
            chosen = self._rng(2, number).choice(
                spare, int(GROWTH_SHARE * len(rows)), replace=False
            )
            yield self._recipe("+20 % reviews", "good", np.concatenate([rows, chosen]), 30 + number)
        for number in range(max(1, repeats // 2)):
            chosen = self._rng(3, number).choice(self.order, len(rows), replace=False)
            yield self._recipe("other sample", "good", chosen, 40 + number)

    def bad(self) -> Iterator[Recipe]:
        """Models whose reviews were spoiled on the way."""
        rows = self.champion_rows
        yield from (self.noisy(f"{share:.0%} flipped", share, 50) for share in (0.05, 0.10, 0.20))
        yield self._one_sided(0.05)
        yield self._thinned(0.10)
        yield from (self._cut(chars) for chars in (1000, 200))
        yield self._recipe("half the data", "bad", rows[: len(rows) // 2], 54)
        yield self._recipe("stale, older 90 %", "bad", rows[: int(0.9 * len(rows))], 55)
        yield self._recipe("labels shuffled", "bad", rows, 56, self._shuffled(rows))

    def leak(self) -> Recipe:
        """The champion's reviews and a part of those that are held out."""
        chosen = self._rng(9).choice(
            len(self.pool), int(LEAKED_SHARE * len(self.champion_rows)), replace=False
        )
        own = self.training.take(self.champion_rows)
        leaked = self.pool.take(chosen)
        return Recipe(
            name="held out rows leaked",
            kind="leak",
            prints=lambda: Fingerprints.concat([own.prints, leaked.prints]),
            labels=np.concatenate([own.labels, leaked.labels]),
            ids=np.concatenate([own.ids, leaked.ids]),
            seed=self._model_seed(57),
        )

    def noisy(self, name: str, share: float, number: int) -> Recipe:
        """Labels flipped at random; a larger share holds the smaller one's rows, too."""
        rows = self.champion_rows
        is_flipped = self._rng(4).random(len(rows)) < share
        labels = np.where(is_flipped, 1 - self.training.labels[rows], self.training.labels[rows])
        return self._recipe(name, "bad", rows, number, labels.astype(np.int8))

    def erosion(self, nights: int) -> Iterator[Recipe]:
        """Each night's model: the noise of the night before, and a little more."""
        for night in range(1, nights + 1):
            yield self.noisy(f"night {night}", night * EROSION_NOISE, 100 + night)

    def _one_sided(self, share: float) -> Recipe:
        rows = self.champion_rows
        labels = self.training.labels[rows].copy()
        labels[(labels == 0) & (self._rng(5).random(len(rows)) < share)] = 1
        return self._recipe(f"{share:.0%} negatives flipped", "bad", rows, 51, labels)

    def _thinned(self, share: float) -> Recipe:
        rows = self.champion_rows
        is_kept = (self.training.labels[rows] == 1) | (self._rng(6).random(len(rows)) < share)
        return self._recipe(f"negatives thinned to {share:.0%}", "bad", rows[is_kept], 52)

    def _cut(self, chars: int) -> Recipe:
        rows = self.champion_rows
        texts = self.training.texts[rows]
        return Recipe(
            name=f"cut at {chars:,} characters",
            kind="bad",
            prints=lambda: fingerprint((text[:chars] for text in texts), view_of_the_default()),
            labels=self.training.labels[rows],
            ids=self.training.ids[rows],
            seed=self._model_seed(53),
        )

    def _shuffled(self, rows: Rows) -> Labels:
        return self._rng(7).permutation(self.training.labels[rows])

    def _recipe(
        self, name: str, kind: Kind, rows: Rows, number: int, labels: Labels | None = None
    ) -> Recipe:
        return Recipe(
            name=name,
            kind=kind,
            prints=lambda: self.training.prints.take(rows),
            labels=self.training.labels[rows] if labels is None else labels,
            ids=self.training.ids[rows],
            seed=self._model_seed(number),
        )

    def _rng(self, *numbers: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, 1, *numbers])

    def _model_seed(self, number: int) -> int:
        return int(np.random.default_rng([self.seed, 2, number]).integers(2**31))


def trained(recipe: Recipe, pool: Reviews) -> Challenger:
    """Fit the default model by a recipe and ask it about the pool."""
    prints = recipe.prints()
    model = default_candidate(seed=recipe.seed).fit(prints, recipe.labels)
    is_copy = np.isin(pool.ids, recipe.ids) | near_known(
        signatures(pool.prints), signatures(prints), similar_share=COPIED_SHARE
    )
    return Challenger(
        name=recipe.name,
        kind=recipe.kind,
        probability=model.predict_proba(pool.prints)[:, 1],
        is_copy=is_copy,
    )


def train_all(
    recipes: Iterable[Recipe], pool: Reviews, on_step: Callable[[int], None]
) -> list[Challenger]:
    """Fit every recipe, one after another."""
    found = []
    for recipe in recipes:
        found.append(trained(recipe, pool))
        on_step(1)
    return found
