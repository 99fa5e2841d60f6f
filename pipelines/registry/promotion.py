"""Make a decided version champion, after checking again everything the decision relied on."""

from __future__ import annotations

import logging

from pipelines.core.errors import ChampionMovedError, PromotionError, StalePlanError
from pipelines.core.settings.settings import command
from pipelines.records.decisions import Decision
from pipelines.records.evaluations import AnyMetrics, Evaluation
from pipelines.records.succession import LogEntry
from pipelines.records.versions import Manifest
from pipelines.registry import champion_log
from pipelines.registry.approvals import checked_approval, is_allowed, joined_reasons, may_ever_be
from pipelines.registry.registry import Registry

logger = logging.getLogger(__name__)


def promote(
    registry: Registry, decision: Decision, *, policy: str, actor: str, reason: str
) -> LogEntry:
    """Make the decided version champion, if the champion it was compared with is still in place.

    Where a person approved it, the log names that person instead of ``actor``. ``policy`` names the
    rules in force now: a decision under other rules is void.
    Repeating it is safe: a promotion that already happened is recognised.

    Raises
    ------
    PromotionError
        If the decision does not allow it, a needed approval is missing, or the decision does not
        match what is stored.
    StalePlanError
        If it was decided under other rules than those in force.
    ChampionMovedError
        If another version was promoted since the decision was made.
    UnsafeStoreError
        If the store does not honour create-if-absent.
    """
    _check_verdict(registry, decision)
    _check_policy(decision, policy)
    approval = checked_approval(registry, decision)
    manifest, evaluation = _checked_inputs(registry, decision)
    before = _entry_before(registry, decision)
    reference, reference_manifest = _reference_after(decision, manifest, before)
    scores = _scores(evaluation)
    return registry.append(
        LogEntry(
            model_name=registry.name,
            generation=decision.champion_generation + 1,
            previous_entry_sha256=before.digest() if before else None,
            kind="promotion",
            version=decision.version,
            manifest_sha256=manifest.digest(),
            decision_key=decision.object_key,
            decision_sha256=decision.digest(),
            approval_key=approval.object_key if approval else None,
            approval_sha256=approval.digest() if approval else None,
            reference=reference,
            reference_manifest_sha256=reference_manifest,
            holdout_accuracy=scores.accuracy,
            holdout_log_loss=scores.log_loss,
            actor=approval.actor if approval else actor,
            reason=joined_reasons(reason, approval),
            token=decision.digest(),
            at=champion_log.time_after(registry.models, before),
        )
    )


def promote_if_allowed(
    registry: Registry, decision: Decision, *, policy: str, actor: str, reason: str
) -> LogEntry | None:
    """Promote, or log why the decision does not allow it; returns None then.

    Raises
    ------
    ChampionMovedError
        If another version was promoted since: decide again. An approval is void then.
    """
    if not is_allowed(registry, decision):
        logger.warning(
            "Not promoted: version %s against champion generation %d is %s, a person's approval "
            "is %s. %s", decision.version, decision.champion_generation, decision.verdict,
            decision.approval.replace("_", " "), decision.why,
        )  # fmt: skip
        if decision.approval == "needed":
            logger.warning(
                "Nobody approved this decision. Run sentiment_retrain again to be asked."
            )
        return None
    try:
        return promote(registry, decision, policy=policy, actor=actor, reason=reason)
    except ChampionMovedError as error:
        logger.warning("%s", error)
        if decision.approval == "needed":
            logger.warning("The approval of version %s is void.", decision.version)
        raise


def _check_verdict(registry: Registry, decision: Decision) -> None:
    if not may_ever_be(registry, decision):
        raise PromotionError(
            f"version {decision.version} is not promoted: the decision on it is "
            f"{decision.verdict} for model {decision.model_name!r}. {decision.why}"
        )


def _check_policy(decision: Decision, policy: str) -> None:
    if decision.policy != policy:
        raise StalePlanError(
            f"version {decision.version} was decided under other rules than those in force: "
            "settings, code or libraries changed since. Decide again: "
            f"{command('retrain', decision.model_name)}"
        )


def _checked_inputs(registry: Registry, decision: Decision) -> tuple[Manifest, Evaluation]:
    """What the decision was made on, after checking that it is unchanged."""
    manifest = registry.versions.manifest(decision.version)
    registry.versions.model_bytes(manifest)
    evaluation = registry.decisions.evaluation_of(decision)
    registry.decisions.find_check(evaluation)
    if manifest.digest() != decision.manifest_sha256:
        raise PromotionError(
            f"version {decision.version} is not promoted: its manifest changed after the decision. "
            f"Decide again: {command('retrain', decision.model_name)}"
        )
    if (entry := registry.log.withdrawn().get(decision.version)) is not None:
        raise PromotionError(
            f"version {decision.version} was rolled back by {entry.actor} at {entry.at} "
            f"({entry.reason}) and is not promoted again. To let it compete again: "
            + command(f"champion release {decision.version} --reason ...", decision.model_name)
        )
    return manifest, evaluation


def _entry_before(registry: Registry, decision: Decision) -> LogEntry | None:
    if decision.champion_generation == 0:
        return None
    entry = registry.log.find_entry(decision.champion_generation)
    if entry is None or entry.version != decision.champion_version:
        raise PromotionError(
            f"the decision names champion generation {decision.champion_generation} "
            f"({decision.champion_version}), which is not in the log"
        )
    return entry


def _reference_after(
    decision: Decision, manifest: Manifest, before: LogEntry | None
) -> tuple[str, str]:
    """The reference for later challengers, and its manifest's digest.

    It is this version if it is reliably better than the present reference.
    """
    if before is None or decision.becomes_reference:
        return manifest.version, manifest.digest()
    return before.reference, before.reference_manifest_sha256


def _scores(evaluation: Evaluation) -> AnyMetrics:
    scores = evaluation.holdout.challenger
    if scores is None:
        raise PromotionError(f"version {evaluation.version} is not promoted: it has no scores")
    return scores
