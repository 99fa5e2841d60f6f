"""Check that the published champion answers as it did at the gate."""

from __future__ import annotations

import logging

from pipelines.core.errors import PromotionError
from pipelines.core.settings.settings import Settings
from pipelines.core.store.bucket import Bucket
from pipelines.evaluation.check_rows import (
    LARGEST_DIFFERENCE,
    as_answers,
    largest_difference,
    questions,
)
from pipelines.registry.registry import Registry

logger = logging.getLogger(__name__)


def confirm(reviews: Bucket, registry: Registry, generation: int, settings: Settings) -> int:
    """Check after a promotion that consumers get exactly the model that was approved.

    Returns
    -------
    rows : int
        How many probabilities were compared.

    Raises
    ------
    PromotionError
        If an answer differs from the answer at the gate.
    """
    entry = registry.log.entry(generation)
    manifest = registry.versions.champion_manifest(entry)
    model = registry.versions.load(manifest)
    evaluation = registry.decisions.evaluation_of(registry.decisions.decision_of(entry))
    if not evaluation.check_rows:
        raise PromotionError(f"version {entry.version} cannot be confirmed: no check rows recorded")
    from pipelines.models.prediction import probabilities

    texts, expected = questions(reviews, manifest, evaluation, settings)
    worst = largest_difference(as_answers(probabilities(model, texts)), expected)
    if not worst <= LARGEST_DIFFERENCE:
        raise PromotionError(
            f"champion generation {generation} ({entry.version}) does not answer as it did at the "
            f"gate: a probability differs by {worst:.2e}. Do not serve it; find out what changed "
            "between training and serving (library versions, code)."
        )
    logger.info("generation=%d confirmed=%d", generation, len(expected))
    return len(expected)
