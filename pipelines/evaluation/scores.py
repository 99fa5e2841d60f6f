"""Compute scores of sets and slices, which the gate judges, from probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.core.settings.model import GateSettings
from pipelines.evaluation.metrics import Labels, Mask, Probabilities, is_usable, metrics, rounded
from pipelines.evaluation.paired import Changes, compare, compare_parts
from pipelines.models.answers import predicted
from pipelines.records.evaluations import (
    AnyMetrics,
    PairedComparison,
    SetName,
    SetScores,
    SliceScore,
)


@dataclass(frozen=True, eq=False)
class Scored:
    """Labels and each model's probabilities on the same reviews, in the same order.

    Labels are of shape (n_reviews,), and probabilities in the form of `pipelines.models.answers`;
    without a champion there is no reference.
    """

    labels: Labels
    challenger: Probabilities
    champion: Probabilities | None = None
    reference: Probabilities | None = None

    @classmethod
    def concat(cls, parts: Sequence[Scored]) -> Scored:
        """Join the same models' probabilities on consecutive reviews; needs at least one part."""

        def of(values: list[Probabilities | None]) -> Probabilities | None:
            present = [probability for probability in values if probability is not None]
            return np.concatenate(present) if present else None

        return cls(
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.challenger for part in parts]),
            of([part.champion for part in parts]),
            of([part.reference for part in parts]),
        )

    def take(self, rows: NDArray[np.integer] | Mask) -> Scored:
        """The reviews at ``rows``."""

        def of(values: Probabilities | None) -> Probabilities | None:
            return None if values is None else values[rows]

        return Scored(
            self.labels[rows], self.challenger[rows], of(self.champion), of(self.reference)
        )


def set_scores(name: SetName, set_id: str, scored: Scored, policy: GateSettings) -> SetScores:
    """All models on one set of reviews."""
    return SetScores(
        name=name,
        set_id=set_id,
        **_rows_by_class(scored),
        challenger=metrics(scored.labels, scored.challenger),
        champion=_metrics(scored.labels, scored.champion),
        reference=_metrics(scored.labels, scored.reference),
        against_champion=_against(scored, scored.champion, policy),
        against_reference=_against(scored, scored.reference, policy),
    )


def _rows_by_class(scored: Scored) -> dict[str, Any]:
    if scored.challenger.ndim == 2:
        rows = np.bincount(scored.labels, minlength=scored.challenger.shape[1])
        return {"class_rows": tuple(rows.tolist())}
    return {
        "positive_rows": int((scored.labels == 1).sum()),
        "negative_rows": int((scored.labels == 0).sum()),
    }


def _metrics(labels: Labels, probability: Probabilities | None) -> AnyMetrics | None:
    return None if probability is None else metrics(labels, probability)


def _against(
    scored: Scored, other: Probabilities | None, policy: GateSettings
) -> PairedComparison | None:
    changes = None if other is None else Changes.between(scored.labels, other, scored.challenger)
    if changes is None:
        return None
    return compare(changes, confidence=policy.confidence, repeats=policy.bootstrap_repeats)


def slice_scores(
    scored: Scored, masks: Mapping[str, Mask], policy: GateSettings
) -> tuple[SliceScore, ...]:
    """Challenger and champion on each slice; an empty slice has no scores."""
    full = {name: mask for name, mask in masks.items() if mask.any()}
    changes = (
        None
        if scored.champion is None
        else Changes.between(scored.labels, scored.champion, scored.challenger)
    )
    compared = (
        {}
        if changes is None or not full
        else compare_parts(
            changes, full, confidence=policy.confidence, repeats=policy.bootstrap_repeats
        )
    )
    return tuple(
        SliceScore(
            name=name,
            rows=int(mask.sum()),
            challenger_accuracy=_accuracy(scored.labels, scored.challenger, mask),
            champion_accuracy=_accuracy(scored.labels, scored.champion, mask),
            against_champion=compared.get(name),
        )
        for name, mask in masks.items()
    )


def _accuracy(labels: Labels, probability: Probabilities | None, mask: Mask) -> float | None:
    if probability is None or not mask.any() or not is_usable(probability):
        return None
    return rounded((predicted(probability[mask]) == labels[mask]).mean())
