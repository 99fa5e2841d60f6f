"""Make a decided version champion, after checking again everything that speaks for it."""

from __future__ import annotations

from pipelines import clock
from pipelines.errors import PromotionError, StalePlanError
from pipelines.judgement import PROMOTABLE, Answer, ApprovalRecord, Decision, Evaluation, Metrics
from pipelines.records import LogEntry, Manifest
from pipelines.registry import Registry


def promote(
    registry: Registry, decision: Decision, *, policy: str, actor: str, reason: str
) -> LogEntry:
    """Make the decided version champion, if the champion it was compared with still is.

    Where a person approved it, the log names that person instead of ``actor``. ``policy`` names the
    rules in force now: a decision under any other is void.
    Repeating it is safe: a promotion that already happened is recognised as our own.

    Raises
    ------
    PromotionError
        If the decision does not allow it, a person's approval is asked for and missing, or it does
        not match what is stored.
    StalePlanError
        If it was decided under other rules than those in force.
    ChampionMovedError
        If another version was promoted since the decision was made.
    UnsafeStoreError
        If the store does not honour create-if-absent.
    """
    _check_verdict(registry, decision)
    _check_policy(decision, policy)
    approval = _checked_approval(registry, decision)
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
            reason=_reason(reason, approval),
            token=decision.digest(),
            at=clock.time_after(registry.models, before),
        )
    )


def is_allowed(registry: Registry, decision: Decision) -> bool:
    """Whether nothing stands in the way but the champion: verdict and, if needed, approval."""
    if not _may_ever_be(registry, decision):
        return False
    if decision.approval == "not_needed":
        return True
    approval = find_approval(registry, decision)
    return approval is not None and approval.answer == "approve"


def is_open(registry: Registry, decision: Decision) -> bool:
    """Whether the version may still become champion: it is allowed to, or nobody was asked yet."""
    if not _may_ever_be(registry, decision):
        return False
    approval = find_approval(registry, decision) if decision.approval == "needed" else None
    return approval is None or approval.answer == "approve"


def find_approval(registry: Registry, decision: Decision) -> ApprovalRecord | None:
    """A person's answer to this very decision; None when nobody answered.

    Raises
    ------
    PromotionError
        If what is kept beside the decision answers another one.
    """
    approval = registry.find_approval(decision)
    return _checked_answer(approval, decision) if approval else None


def answer(
    registry: Registry, decision_key: str, says: Answer, *, actor: str, reason: str
) -> ApprovalRecord:
    """Keep a person's answer to a decision that asks for one; the first answer stands.

    Raises
    ------
    PromotionError
        If the decision asks for no approval, there is no reason, or what is kept beside the
        decision answers another one.
    """
    decision = registry.decision(decision_key)
    if decision.approval != "needed":
        raise PromotionError(
            f"nobody is asked about version {decision.version}: its verdict is {decision.verdict}, "
            f"and approval is {decision.approval.replace('_', ' ')}. {decision.why}"
        )
    if not reason.strip():
        raise PromotionError("an answer needs a reason: whoever reads the log later will ask")
    approval = ApprovalRecord(
        model_name=registry.name,
        version=decision.version,
        champion_generation=decision.champion_generation,
        policy=decision.policy,
        decision_sha256=decision.digest(),
        answer=says,
        actor=actor,
        reason=reason,
    )
    return _checked_answer(registry.add_approval(approval), decision)


def _checked_answer(approval: ApprovalRecord, decision: Decision) -> ApprovalRecord:
    """The approval, if it answers this very decision."""
    found, wanted = approval.decision_sha256, decision.digest()
    if (found, approval.version) != (wanted, decision.version):
        raise PromotionError(
            f"the approval by {approval.actor} answers decision {found[:16]}…, not {wanted[:16]}… "
            f"on version {decision.version}: it is void. Find out who put it there: "
            "python -m pipelines champion fsck"
        )
    return approval


def _may_ever_be(registry: Registry, decision: Decision) -> bool:
    may_be = decision.approval == "needed" and decision.verdict == "INCONCLUSIVE"
    is_good = decision.approval != "impossible" and decision.verdict in PROMOTABLE
    return (is_good or may_be) and decision.model_name == registry.name


def _check_verdict(registry: Registry, decision: Decision) -> None:
    if not _may_ever_be(registry, decision):
        raise PromotionError(
            f"version {decision.version} is not promoted: its decision says "
            f"{decision.verdict} for model {decision.model_name!r}. {decision.why}"
        )


def _check_policy(decision: Decision, policy: str) -> None:
    if decision.policy != policy:
        raise StalePlanError(
            f"version {decision.version} was decided under other rules than those in force: "
            "settings, code or libraries changed since. Decide again: python -m pipelines retrain"
        )


def _checked_approval(registry: Registry, decision: Decision) -> ApprovalRecord | None:
    """The approval, where one is needed. Without a person's yes there is none."""
    if decision.approval == "not_needed":
        return None
    approval = find_approval(registry, decision)
    if approval is None or approval.answer != "approve":
        said = f"{approval.actor} rejected it ({approval.reason})" if approval else "nobody did"
        raise PromotionError(
            f"version {decision.version} needs a person's approval, and {said}. To approve: "
            f"python -m pipelines decision approve {decision.version} --reason ..."
        )
    return approval


def _reason(reason: str, approval: ApprovalRecord | None) -> str:
    """Why, in the words of who approved it and of who started the run."""
    said = [approval.reason] if approval else []
    return "; ".join(dict.fromkeys(part for part in [*said, reason] if part))


def _checked_inputs(registry: Registry, decision: Decision) -> tuple[Manifest, Evaluation]:
    """What the decision was made on, after checking that it is still that."""
    manifest = registry.manifest(decision.version)
    registry.model_bytes(manifest)
    evaluation = registry.evaluation_of(decision)
    registry.find_check(evaluation)
    if manifest.digest() != decision.manifest_sha256:
        raise PromotionError(
            f"version {decision.version} is not promoted: its manifest changed after the decision. "
            "Decide again: python -m pipelines retrain"
        )
    if (entry := registry.withdrawn().get(decision.version)) is not None:
        raise PromotionError(
            f"version {decision.version} was rolled back by {entry.actor} at {entry.at} "
            f"({entry.reason}) and does not come back by itself. To let it compete again: "
            f"python -m pipelines champion release {decision.version} --reason ..."
        )
    return manifest, evaluation


def _entry_before(registry: Registry, decision: Decision) -> LogEntry | None:
    if decision.champion_generation == 0:
        return None
    entry = registry.find_entry(decision.champion_generation)
    if entry is None or entry.version != decision.champion_version:
        raise PromotionError(
            f"the decision names champion generation {decision.champion_generation} "
            f"({decision.champion_version}), which the log does not have"
        )
    return entry


def _reference_after(
    decision: Decision, manifest: Manifest, before: LogEntry | None
) -> tuple[str, str]:
    """Who later challengers answer to, and its manifest's digest.

    It is this version if that is surely better than the reference so far.
    """
    if before is None or decision.becomes_reference:
        return manifest.version, manifest.digest()
    return before.reference, before.reference_manifest_sha256


def _scores(evaluation: Evaluation) -> Metrics:
    scores = evaluation.holdout.challenger
    if scores is None:
        raise PromotionError(f"version {evaluation.version} has no scores, so no promotion")
    return scores
