"""Decide: is the challenger good enough to answer in the champion's place?

The deciding part is a pure function of the evaluation and the policy. A failing verdict is a
result like a passing one. Whatever is missing, not a number or too few rows never passes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from pipelines.config import GateSettings
from pipelines.records import (
    ArtefactCheck,
    Decision,
    Evaluation,
    GateRule,
    Metrics,
    PairedComparison,
    Verdict,
)

logger = logging.getLogger(__name__)


def decide(
    evaluation: Evaluation,
    evaluation_key: str,
    policy: GateSettings,
    check: ArtefactCheck | None = None,
) -> Decision:
    """Bless the challenger, or say why not.

    Verdicts: PROMOTE (surely better in log loss and surely not worse in accuracy), HOLD (surely
    not worse, not surely better: not worth a change), REJECT (surely worse, or a floor is
    broken), INCONCLUSIVE (the holdout is too small to tell, or a number is missing).
    """
    sufficient = tuple(_sufficiency(evaluation, policy))
    floors = (*_floors(evaluation, policy), *_artefact_rules(evaluation, policy, check))
    changes = tuple(_changes(evaluation, policy))
    verdict, why = _verdict(evaluation, sufficient, floors, changes)
    decision = Decision(
        model_name=evaluation.model_name,
        version=evaluation.version,
        manifest_sha256=evaluation.manifest_sha256,
        evaluation_key=evaluation_key,
        evaluation_sha256=evaluation.digest(),
        champion_generation=evaluation.champion_generation,
        champion_version=evaluation.champion_version,
        policy=evaluation.policy,
        verdict=verdict,
        why=why,
        rules=sufficient + floors + changes,
    )
    logger.info("version=%s verdict=%s", decision.version, decision.verdict)
    return decision


def _verdict(
    evaluation: Evaluation,
    sufficient: tuple[GateRule, ...],
    floors: tuple[GateRule, ...],
    changes: tuple[GateRule, ...],
) -> tuple[Verdict, str]:
    if failed := _failed(sufficient):
        return "INCONCLUSIVE", failed
    if failed := _failed(floors):
        return "REJECT", failed
    if evaluation.champion_generation == 0:
        return (
            "PROMOTE",
            "First model: it meets every floor, and there is no champion to compare with.",
        )
    limits = [rule for rule in changes if rule.rule != "log_loss_gain"]
    if failed := _failed(rule for rule in limits if rule.rule in {"mcnemar", "recall_drop"}):
        return "REJECT", failed
    if failed := _failed(limits):
        return _worse_or_unsure(evaluation, failed)
    gain = next(rule for rule in changes if rule.rule == "log_loss_gain")
    return ("PROMOTE" if gain.is_passed else "HOLD"), gain.sentence


def _worse_or_unsure(evaluation: Evaluation, failed: str) -> tuple[Verdict, str]:
    paired = evaluation.paired
    is_surely_worse = paired is not None and paired.log_loss_change_low > 0
    return ("REJECT" if is_surely_worse else "INCONCLUSIVE"), failed


def _failed(rules: Iterable[GateRule]) -> str:
    return " ".join(rule.sentence for rule in rules if not rule.is_passed)


def _sufficiency(evaluation: Evaluation, policy: GateSettings) -> Iterable[GateRule]:
    rows = evaluation.positive_rows + evaluation.negative_rows
    yield GateRule(
        rule="holdout_rows",
        is_passed=rows >= policy.min_holdout_rows,
        observed=rows,
        limit=policy.min_holdout_rows,
        sentence=f"The holdout has {rows:,} reviews; at least {policy.min_holdout_rows:,} are "
        "needed to tell two models apart.",
    )
    fewer = min(evaluation.positive_rows, evaluation.negative_rows)
    yield GateRule(
        rule="rows_per_class",
        is_passed=fewer >= policy.min_rows_per_class,
        observed=fewer,
        limit=policy.min_rows_per_class,
        sentence=f"The rarer class has {fewer:,} held out reviews; at least "
        f"{policy.min_rows_per_class:,} are needed.",
    )
    is_complete = evaluation.challenger is not None and (
        evaluation.champion_generation == 0
        or (evaluation.champion is not None and evaluation.paired is not None)
    )
    yield GateRule(
        rule="complete",
        is_passed=is_complete,
        observed=None,
        limit=None,
        sentence="Every score of both models is a number."
        if is_complete
        else "A score is missing or is not a number, so nothing can be said.",
    )


def _floors(evaluation: Evaluation, policy: GateSettings) -> Iterable[GateRule]:
    yield GateRule(
        rule="overlap",
        is_passed=evaluation.overlap_rows == 0,
        observed=evaluation.overlap_rows,
        limit=0,
        sentence=f"{evaluation.overlap_rows:,} held out reviews were also trained on; "
        "none may be, or every score flatters.",
    )
    size, largest = evaluation.artefact_bytes, policy.max_artefact_bytes
    yield GateRule(
        rule="artefact_size",
        is_passed=size <= largest,
        observed=size,
        limit=largest,
        sentence=f"The model file has {size / 1e6:,.1f} MB; at most {largest / 1e6:,.1f} MB are "
        "allowed.",
    )
    if evaluation.challenger is not None:
        yield from _value_floors(evaluation.challenger, policy)


def _artefact_rules(
    evaluation: Evaluation, policy: GateSettings, check: ArtefactCheck | None
) -> Iterable[GateRule]:
    """Rules on what a clean process measured.

    The measured numbers stay in the check's own record, so that the same evaluation gives the
    same decision, byte for byte.
    """
    is_usable = check is not None and check.version == evaluation.version and check.answers_alike
    yield GateRule(
        rule="clean_process",
        is_passed=is_usable,
        observed=None,
        limit=None,
        sentence="A process with nothing but the installed package, without network, "
        + (
            "loaded this file and gave the same answers."
            if is_usable
            else "did not load this file, gave other answers, or was never asked."
        ),
    )
    latency = check.latency_p95_milliseconds if check else None
    limit = policy.max_latency_p95_milliseconds
    yield _within("latency", latency, limit, f"One review is to be answered within {limit:,.0f} ms")
    memory = check.peak_bytes if check else None
    limit = policy.max_memory_bytes
    yield _within("memory", memory, limit, f"A process is to need at most {limit / 1e6:,.0f} MB")


def _within(rule: str, measured: float | None, limit: float, wanted: str) -> GateRule:
    is_passed = measured is not None and measured <= limit
    outcome = "it was." if is_passed else "it was not, or was never measured."
    return GateRule(
        rule=rule,
        is_passed=is_passed,
        observed=None,
        limit=limit,
        sentence=f"{wanted}; measured in a clean process, {outcome}",
    )


def _value_floors(challenger: Metrics, policy: GateSettings) -> Iterable[GateRule]:
    recall = min(challenger.recall_positive, challenger.recall_negative)
    yield GateRule(
        rule="accuracy_floor",
        is_passed=challenger.accuracy >= policy.min_accuracy,
        observed=challenger.accuracy,
        limit=policy.min_accuracy,
        sentence=f"Accuracy is {challenger.accuracy:.2%}; the floor is {policy.min_accuracy:.2%}.",
    )
    yield GateRule(
        rule="recall_floor",
        is_passed=recall >= policy.min_recall,
        observed=recall,
        limit=policy.min_recall,
        sentence=f"The weaker class is recognised {recall:.2%} of the time; the floor is "
        f"{policy.min_recall:.2%}.",
    )
    yield GateRule(
        rule="log_loss_ceiling",
        is_passed=challenger.log_loss <= policy.max_log_loss,
        observed=challenger.log_loss,
        limit=policy.max_log_loss,
        sentence=f"Log loss is {challenger.log_loss:.4f}; the ceiling is "
        f"{policy.max_log_loss:.4f}.",
    )


def _changes(evaluation: Evaluation, policy: GateSettings) -> Iterable[GateRule]:
    champion, challenger, paired = evaluation.champion, evaluation.challenger, evaluation.paired
    if champion is None or challenger is None or paired is None:
        return
    yield _mcnemar(paired, policy)
    yield _recall_drop(champion, challenger, policy)
    yield GateRule(
        rule="accuracy_drop",
        is_passed=paired.accuracy_change_low > -policy.max_accuracy_drop,
        observed=paired.accuracy_change_low,
        limit=-policy.max_accuracy_drop,
        sentence=f"Accuracy changes by {paired.accuracy_change:+.2%}, surely by no less than "
        f"{paired.accuracy_change_low:+.2%} ({paired.confidence:.0%} sure); a drop of "
        f"{policy.max_accuracy_drop:.2%} must be ruled out.",
    )
    yield GateRule(
        rule="log_loss_rise",
        is_passed=paired.log_loss_change_high < policy.max_log_loss_rise,
        observed=paired.log_loss_change_high,
        limit=policy.max_log_loss_rise,
        sentence=f"Log loss changes by {paired.log_loss_change:+.4f}, surely by no more than "
        f"{paired.log_loss_change_high:+.4f}; a rise of {policy.max_log_loss_rise:.4f} must be "
        "ruled out.",
    )
    is_better = paired.log_loss_change_high < 0
    yield GateRule(
        rule="log_loss_gain",
        is_passed=is_better,
        observed=paired.log_loss_change_high,
        limit=0.0,
        sentence=f"Log loss changes by {paired.log_loss_change:+.4f}, between "
        f"{paired.log_loss_change_low:+.4f} and {paired.log_loss_change_high:+.4f}: the challenger "
        + ("is surely better." if is_better else "is not surely better, so not worth a change."),
    )


def _mcnemar(paired: PairedComparison, policy: GateSettings) -> GateRule:
    lost, won = paired.only_champion_right, paired.only_challenger_right
    is_worse = lost > won and paired.mcnemar_p_value < policy.significance
    return GateRule(
        rule="mcnemar",
        is_passed=not is_worse,
        observed=paired.mcnemar_p_value,
        limit=policy.significance,
        sentence=f"The challenger newly gets {won:,} reviews right and {lost:,} wrong; chance "
        f"alone would be this uneven {paired.mcnemar_p_value:.1%} of the time"
        + (": it is surely worse." if is_worse else "."),
    )


def _recall_drop(champion: Metrics, challenger: Metrics, policy: GateSettings) -> GateRule:
    drop = max(
        champion.recall_positive - challenger.recall_positive,
        champion.recall_negative - challenger.recall_negative,
    )
    return GateRule(
        rule="recall_drop",
        is_passed=drop <= policy.max_recall_drop,
        observed=drop,
        limit=policy.max_recall_drop,
        sentence=f"The worse hit class loses {drop:+.2%} of recall; at most "
        f"{policy.max_recall_drop:.2%} may go.",
    )
