"""The steps of `sentiment_rollback`: plan, then apply."""

from __future__ import annotations

import logging

from pipelines.steps.context import open_loop

logger = logging.getLogger(__name__)


def plan_rollback(to: str, reason: str) -> str:
    """Find the former champion and prove that it loads; returns the plan's URI."""
    from pipelines.registry import rollback

    loop = open_loop()
    key, plan = rollback.make_plan(loop.registry, to, reason=reason)
    logger.info(
        "Rollback of generation %d (%s) to version %s, because: %s",
        plan.champion_generation, plan.champion_version, plan.target_version, plan.reason,
    )  # fmt: skip
    return loop.models.uri(key)


def apply_rollback(plan_uri: str, actor: str) -> str:
    """Carry a plan out; returns the log entry's URI. Repeating it changes nothing."""
    from pipelines.records.succession import RollbackPlan
    from pipelines.registry import rollback

    loop = open_loop()
    plan = loop.models.get_record(loop.key(plan_uri), RollbackPlan)
    entry = rollback.apply_plan(loop.registry, plan, actor=actor)
    return loop.models.uri(entry.object_key)
