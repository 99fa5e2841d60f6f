"""Put an older champion back, in two steps: plan it, then apply the plan.

A rollback is one more line of the log. The plan names the champion it was made against, so
repeating it never rolls back twice, and it does nothing if another promotion came first.
The withdrawn version cannot be promoted again until somebody releases it.
"""

from __future__ import annotations

import logging
from typing import Any

from pipelines.core.errors import ChampionMovedError, PromotionError, TransientError
from pipelines.core.record import sha256_of
from pipelines.records.succession import LogEntry, RollbackPlan
from pipelines.registry import champion_log
from pipelines.registry.registry import Registry

logger = logging.getLogger(__name__)

PREVIOUS = "previous"


def make_plan(registry: Registry, to: str, *, reason: str) -> tuple[str, RollbackPlan]:
    """Find the version to go back to and prove that it can still be loaded.

    Parameters
    ----------
    registry : Registry
        Of the model.
    to : str
        A version that was champion before, or ``"previous"``.
    reason : str
        Kept in the log; must not be blank.

    Raises
    ------
    PromotionError
        If the reason is blank, or ``to`` was never champion.
    TrustError
        If the target's manifest or model is not what was recorded.
    """
    if not reason.strip():
        raise PromotionError("a rollback needs a reason, which is kept in the log")
    history = registry.log.history()
    if not history:
        raise PromotionError(f"model {registry.name!r} has no champion to roll back")
    champion, target = history[-1], _target(registry, history, to)
    registry.versions.load(registry.versions.champion_manifest(target))
    plan = RollbackPlan(
        model_name=registry.name,
        champion_generation=champion.generation,
        champion_version=champion.version,
        target_generation=target.generation,
        target_version=target.version,
        reason=reason,
    )
    registry.models.put_record(plan)
    return plan.object_key, plan


def _target(registry: Registry, history: list[LogEntry], to: str) -> LogEntry:
    withdrawn = registry.log.withdrawn()
    former = [
        entry
        for entry in history
        if entry.kind == "promotion"
        and entry.version != history[-1].version
        and entry.version not in withdrawn
    ]
    matching = former if to == PREVIOUS else [entry for entry in former if entry.version == to]
    if not matching:
        versions = [entry.version for entry in former]
        raise PromotionError(
            f"cannot roll back to {to!r}: it must be a former champion that was not itself rolled "
            f"back. Such versions: {', '.join(versions) or 'none'}"
        )
    return matching[-1]


def apply_plan(registry: Registry, plan: RollbackPlan, *, actor: str) -> LogEntry:
    """Append the older version to the champion log.

    Raises
    ------
    ChampionMovedError
        If another version became champion since the plan was made: make a new plan.
    """
    before = registry.log.entry(plan.champion_generation)
    target = registry.log.entry(plan.target_generation)
    if (before.version, target.version) != (plan.champion_version, plan.target_version):
        raise PromotionError("the plan does not match the champion log; make a new one")
    registry.versions.load(registry.versions.champion_manifest(target))
    entry = target.model_copy(
        update={
            "generation": before.generation + 1,
            "previous_entry_sha256": before.digest(),
            "kind": "rollback",
            "subject": before.version,
            "actor": actor,
            "reason": plan.reason,
            "token": plan.digest(),
            "at": champion_log.time_after(registry.models, before),
        }
    )
    appended = registry.append(entry)
    logger.info("champion=%s instead_of=%s", appended.version, appended.subject)
    return appended


def undo(registry: Registry, generation: int, *, reason: str, actor: str = "confirm") -> str | None:
    """Put back the champion before a promotion that turned out bad.

    Returns
    -------
    version : str or None
        The champion after that; None if no version could be put back.
    """
    try:
        champion = registry.log.champion()
        if champion is not None and champion.generation != generation:
            return champion.version  # another run was faster, or this is a repetition
        if champion is None or champion.kind != "promotion":
            return None  # a person chose this one
        _, plan = make_plan(registry, PREVIOUS, reason=reason)
        return apply_plan(registry, plan, actor=actor).version
    except ChampionMovedError as error:
        logger.warning("%s", error)
        return undo(registry, generation, reason=reason, actor=actor)
    except TransientError:
        raise
    except Exception:
        logger.exception("generation=%d cannot be undone", generation)
        return None


def pin(registry: Registry, version: str, *, actor: str, reason: str) -> LogEntry:
    """Make a former champion the reference that challengers must not be worse than.

    Raises
    ------
    PromotionError
        If the reason is blank, or the version was never champion.
    ChampionMovedError
        If the log grew meanwhile: run it again.
    """
    if not reason.strip():
        raise PromotionError("a pin needs a reason, which is kept in the log")
    history = registry.log.history()
    target = next((entry for entry in reversed(history) if entry.version == version), None)
    if target is None:
        raise PromotionError(f"version {version!r} was never champion, so it cannot be pinned")
    registry.versions.load(registry.versions.champion_manifest(target))
    before = history[-1]
    return registry.append(
        _next_entry(
            registry,
            before,
            kind="pin",
            subject=version,
            reference=version,
            reference_manifest_sha256=target.manifest_sha256,
            actor=actor,
            reason=reason,
            token=sha256_of(f"pin {version} after {before.digest()}".encode()),
        )
    )


def _next_entry(registry: Registry, before: LogEntry, **changes: Any) -> LogEntry:
    """The line after a line of the log, with the same champion."""
    follows = {
        "generation": before.generation + 1,
        "previous_entry_sha256": before.digest(),
        "at": champion_log.time_after(registry.models, before),
    }
    return before.model_copy(update=follows | changes)


def check_withdrawn(registry: Registry, version: str) -> None:
    """Raise `PromotionError` unless the version was rolled back and not released since."""
    withdrawn = registry.log.withdrawn()
    if version not in withdrawn:
        raise PromotionError(
            f"version {version!r} is not withdrawn. Withdrawn versions: "
            f"{', '.join(sorted(withdrawn)) or 'none'}"
        )


def release(registry: Registry, version: str, *, actor: str, reason: str) -> LogEntry:
    """Let a version that was rolled back compete again; the champion stays.

    Raises
    ------
    PromotionError
        If the reason is blank, or the version is not withdrawn.
    ChampionMovedError
        If the log grew meanwhile: run it again.
    """
    if not reason.strip():
        raise PromotionError("a release needs a reason, which is kept in the log")
    check_withdrawn(registry, version)
    before = registry.log.history()[-1]
    token = sha256_of(f"release {version} after {before.digest()}".encode())
    return registry.append(
        _next_entry(
            registry,
            before,
            kind="release",
            subject=version,
            actor=actor,
            reason=reason,
            token=token,
        )
    )
