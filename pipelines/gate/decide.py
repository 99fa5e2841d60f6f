"""Decide whether the challenger is good enough to replace the champion.

`decide` is a pure function of the evaluation and the policy. A failing verdict is a result like a
passing one. A missing score, a score that is not a number, or too few rows never pass.

===============  ==================================================================================
PROMOTE          reliably better than the champion in log loss, reliably not worse in all else
REFRESH          reliably not worse, and the champion is many nights behind
HOLD             reliably not worse, but not reliably better: not worth a change
REJECT           reliably worse than the champion or the reference, or a floor is broken
INCONCLUSIVE     too few rows to decide, or a number is missing
===============  ==================================================================================
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from pipelines.core.settings.model import GateSettings
from pipelines.gate import change_thresholds, value_thresholds
from pipelines.records.decisions import PROMOTABLE, Approval, Decision, GateRule, RuleGroup, Verdict
from pipelines.records.evaluations import ArtefactCheck, Evaluation

logger = logging.getLogger(__name__)


def decide(
    evaluation: Evaluation,
    policy: GateSettings,
    check: ArtefactCheck | None = None,
) -> Decision:
    """Bless the challenger, or say why not; the same input gives the same bytes."""
    rules = all_rules(evaluation, policy, check)
    verdict, why = _verdict(evaluation, rules)
    decision = Decision(
        model_name=evaluation.model_name,
        version=evaluation.version,
        manifest_sha256=evaluation.manifest_sha256,
        evaluation_sha256=evaluation.digest(),
        champion_generation=evaluation.champion_generation,
        champion_version=evaluation.champion_version,
        reference_version=evaluation.reference_version,
        policy=evaluation.policy,
        verdict=verdict,
        approval=_approval(evaluation, verdict, rules, policy),
        becomes_reference=_becomes_reference(evaluation),
        why=why,
        rules=rules,
    )
    logger.info("version=%s verdict=%s approval=%s", decision.version, verdict, decision.approval)
    return decision


def all_rules(
    evaluation: Evaluation, policy: GateSettings, check: ArtefactCheck | None
) -> tuple[GateRule, ...]:
    """Every rule with its observed value, in the order in which they are checked."""
    return (
        *value_thresholds.sufficiency(evaluation, policy),
        *value_thresholds.floors(evaluation, policy),
        *value_thresholds.artefact(evaluation, policy, check),
        *change_thresholds.against_champion(evaluation, policy),
        *change_thresholds.slices(evaluation, policy),
        *change_thresholds.against_reference(evaluation, policy),
        *change_thresholds.gain(evaluation, policy),
    )


def _verdict(evaluation: Evaluation, rules: tuple[GateRule, ...]) -> tuple[Verdict, str]:
    if failed := _failed(rules, "sufficiency"):
        # More rows would not mend a broken floor, so that comes first.
        return "INCONCLUSIVE", f"{_failed(rules, 'floor')} {failed}".strip()
    if failed := _failed(rules, "floor"):
        return "REJECT", failed
    if evaluation.champion_generation == 0:
        return (
            "PROMOTE",
            "This is the first model: it meets every floor, and there is no champion yet.",
        )
    if failed := _failed(rules, "champion", "slice", "reference"):
        return _worse_or_unsure(rules), failed
    return _better_or_stale(rules)


def _worse_or_unsure(rules: Iterable[GateRule]) -> Verdict:
    """A fall that cannot be ruled out is a reason to reject only if it is a reliable fall."""
    broken = [rule for rule in rules if not rule.is_passed and rule.group != "gain"]
    is_reliably_worse = any(change_thresholds.is_reliably_worse(rule) for rule in broken)
    return "REJECT" if is_reliably_worse else "INCONCLUSIVE"


def _better_or_stale(rules: Iterable[GateRule]) -> tuple[Verdict, str]:
    by_name = {rule.rule: rule for rule in rules}
    gain, stale = by_name["log_loss_gain"], by_name["stale_champion"]
    if gain.is_passed:
        return "PROMOTE", gain.sentence
    if stale.is_passed:
        return "REFRESH", f"{gain.sentence} {stale.sentence}"
    return "HOLD", f"{gain.sentence} {stale.sentence}"


def _approval(
    evaluation: Evaluation, verdict: Verdict, rules: Iterable[GateRule], policy: GateSettings
) -> Approval:
    """Whether a person must, may or cannot approve this version.

    Nobody can approve a version that broke a floor or has no scores.
    """
    if verdict in PROMOTABLE:
        is_first = evaluation.champion_generation == 0
        return "needed" if is_first and policy.ask_for_first_model else "not_needed"
    has_scores = all(rule.is_passed for rule in rules if rule.rule == value_thresholds.COMPLETE)
    is_askable = has_scores and not _failed(rules, "floor")
    if verdict == "INCONCLUSIVE" and is_askable and policy.ask_when_inconclusive:
        return "needed"
    return "impossible"


def _becomes_reference(evaluation: Evaluation) -> bool:
    """The reference moves only to a reliably better version, so small losses cannot add up."""
    paired = evaluation.holdout.against_reference
    if paired is None:
        return evaluation.champion_generation == 0
    return paired.log_loss_change_high < 0 and paired.accuracy_change >= 0


def _failed(rules: Iterable[GateRule], *groups: RuleGroup) -> str:
    return " ".join(rule.sentence for rule in rules if rule.group in groups and not rule.is_passed)
