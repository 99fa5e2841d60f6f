"""The steps of `sentiment_rollback`: plan, then apply."""

from __future__ import annotations

import logging

from pipelines.steps.context import registry_in, stores_as

logger = logging.getLogger(__name__)


# ── sentiment_rollback ───────────────────────────────────────────────────────────────────────


def plan_rollback(to: str, reason: str) -> str:
    """Find the former champion to go back to, and prove it loads; returns the plan's URI."""
    from pipelines.registry import rollback

    stores = stores_as()
    key, made = rollback.make_plan(registry_in(stores), to, reason=reason)
    logger.info(
        "Rollback of generation %d (%s) to version %s, because: %s",
        made.champion_generation, made.champion_version, made.target_version, made.reason,
    )  # fmt: skip
    return stores.models.uri(key)


def apply_rollback(plan_uri: str, actor: str) -> str:
    """Put the older version back; returns the log entry's URI. Repeating it changes nothing."""
    from pipelines.records.succession import RollbackPlan
    from pipelines.registry import rollback

    stores = stores_as()
    models, key = stores.resolve(plan_uri)
    registry = registry_in(stores)
    entry = rollback.apply_plan(registry, models.get_record(key, RollbackPlan), actor=actor)
    return models.uri(registry.log.key(entry.generation))
