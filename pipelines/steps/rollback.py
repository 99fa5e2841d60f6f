"""The steps of `sentiment_rollback` and `sentiment_release`: plan, then apply."""

from __future__ import annotations

import logging

from pipelines.steps.context import open_loop

logger = logging.getLogger(__name__)


def plan_rollback(to: str, reason: str, model: str | None = None) -> str:
    """Find the former champion and prove that it loads; returns the plan's URI."""
    from pipelines.registry import rollback

    loop = open_loop(model=model)
    key, plan = rollback.make_plan(loop.registry, to, reason=reason)
    logger.info(
        "Rollback of generation %d (%s) to version %s, because: %s",
        plan.champion_generation, plan.champion_version, plan.target_version, plan.reason,
    )  # fmt: skip
    return loop.models.uri(key)


def apply_rollback(plan_uri: str, actor: str, model: str | None = None) -> str:
    """Carry a plan out; returns the log entry's URI. Repeating it changes nothing."""
    from pipelines.records.succession import RollbackPlan
    from pipelines.registry import rollback

    loop = open_loop(model=model)
    plan = loop.models.get_record(loop.key(plan_uri), RollbackPlan)
    entry = rollback.apply_plan(loop.registry, plan, actor=actor)
    return loop.models.uri(entry.object_key)


def plan_release(version: str, model: str | None = None) -> str:
    """Check that a version is withdrawn, so that it can be released; returns the version.

    Raises
    ------
    PromotionError
        If it is not.
    """
    from pipelines.registry import rollback

    rollback.check_withdrawn(open_loop(model=model).registry, version)
    logger.info("Version %s is withdrawn and can be released", version)
    return version


def apply_release(version: str, actor: str, reason: str, model: str | None = None) -> str:
    """Let a withdrawn version compete again; returns the log entry's URI.

    Repeating it for the same reason returns the entry that was written first.
    """
    from pipelines.registry import rollback

    loop = open_loop(model=model)
    done = [
        entry
        for entry in loop.registry.log.history()
        if (entry.kind, entry.subject, entry.reason, entry.actor)
        == ("release", version, reason, actor)
    ]
    entry = (
        done[-1] if done else rollback.release(loop.registry, version, actor=actor, reason=reason)
    )
    return loop.models.uri(entry.object_key)
