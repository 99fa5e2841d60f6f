"""What a person answered to a decision, and what it allows."""

from __future__ import annotations

from pipelines.core.errors import PromotionError
from pipelines.core.settings.settings import command
from pipelines.records.decisions import PROMOTABLE, Answer, ApprovalRecord, Decision
from pipelines.registry.registry import Registry


def is_allowed(registry: Registry, decision: Decision) -> bool:
    """Whether the verdict and, if needed, the approval allow promotion over its champion."""
    if not may_ever_be(registry, decision):
        return False
    if decision.approval == "not_needed":
        return True
    approval = find_approval(registry, decision)
    return approval is not None and approval.answer == "approve"


def is_open(registry: Registry, decision: Decision) -> bool:
    """Whether the version may still become champion: it is allowed, or not answered yet."""
    if not may_ever_be(registry, decision):
        return False
    approval = find_approval(registry, decision) if decision.approval == "needed" else None
    return approval is None or approval.answer == "approve"


def waiting(registry: Registry, policy: str) -> list[Decision]:
    """The decisions that wait for a person's answer: by these rules, against the champion."""
    champion = registry.log.champion()
    generation = champion.generation if champion else 0
    decisions = registry.decisions.against(generation, policy)
    return [
        decision
        for decision in decisions
        if decision.approval == "needed"
        and may_ever_be(registry, decision)
        and find_approval(registry, decision) is None
    ]


def find_approval(registry: Registry, decision: Decision) -> ApprovalRecord | None:
    """A person's answer to this very decision; None when nobody answered.

    Raises
    ------
    PromotionError
        If the stored approval answers another decision.
    """
    approval = registry.decisions.find_approval(decision)
    return _checked_answer(approval, decision) if approval else None


def answer(
    registry: Registry, decision_key: str, says: Answer, *, actor: str, reason: str
) -> ApprovalRecord:
    """Store a person's answer to a decision that asks for one; the first answer stands.

    Raises
    ------
    PromotionError
        If the decision does not ask for approval, the reason is blank, or the stored approval
        answers another decision.
    """
    decision = registry.decisions.decision(decision_key)
    if decision.approval != "needed":
        raise PromotionError(
            f"version {decision.version} does not ask for approval: its verdict is "
            f"{decision.verdict}, and approval is {decision.approval.replace('_', ' ')}. "
            f"{decision.why}"
        )
    if not reason.strip():
        raise PromotionError("an answer needs a reason, which is kept in the registry")
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
    return _checked_answer(registry.decisions.add_approval(approval), decision)


def _checked_answer(approval: ApprovalRecord, decision: Decision) -> ApprovalRecord:
    """The approval, if it answers this very decision."""
    answered, own = approval.decision_sha256, decision.digest()
    if (answered, approval.version) != (own, decision.version):
        raise PromotionError(
            f"the approval by {approval.actor} answers decision {answered[:16]}…, not {own[:16]}… "
            f"on version {decision.version}, so it is void. To check the registry, run: "
            "python -m pipelines champion fsck"
        )
    return approval


def may_ever_be(registry: Registry, decision: Decision) -> bool:
    may_be = decision.approval == "needed" and decision.verdict == "INCONCLUSIVE"
    is_good = decision.approval != "impossible" and decision.verdict in PROMOTABLE
    return (is_good or may_be) and decision.model_name == registry.name


def checked_approval(registry: Registry, decision: Decision) -> ApprovalRecord | None:
    """The approval, where one is needed; an error without a person's approval."""
    if decision.approval == "not_needed":
        return None
    approval = find_approval(registry, decision)
    if approval is None or approval.answer != "approve":
        answer = f"{approval.actor} rejected it ({approval.reason})" if approval else "has none"
        raise PromotionError(
            f"version {decision.version} needs a person's approval, and {answer}. To approve: "
            + command(f"decision approve {decision.version} --reason ...", decision.model_name)
        )
    return approval


def joined_reasons(reason: str, approval: ApprovalRecord | None) -> str:
    """The reasons of the person who approved it and of the one who started the run."""
    reasons = [approval.reason] if approval else []
    return "; ".join(dict.fromkeys(part for part in [*reasons, reason] if part))
