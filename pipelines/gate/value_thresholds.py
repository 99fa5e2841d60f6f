"""Rules for a challenger that do not depend on the champion: enough evidence, absolute floors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipelines.core.settings.model import GateSettings
from pipelines.evaluation.metrics import rounded
from pipelines.records.decisions import GateRule
from pipelines.records.evaluations import (
    AnyMetrics,
    ArtefactCheck,
    CapabilityScore,
    Evaluation,
    SetScores,
)

COMPLETE = "complete"


def sufficiency(evaluation: Evaluation, policy: GateSettings) -> Iterator[GateRule]:
    """Is there enough evidence to judge by? If not, the decision is inconclusive."""
    holdout, newest = evaluation.holdout, evaluation.newest
    yield _at_least(
        "holdout_rows",
        holdout.rows,
        policy.min_holdout_rows,
        f"The holdout has {holdout.rows:,} reviews that no compared model was trained on; at least "
        f"{policy.min_holdout_rows:,} are needed to distinguish two models.",
    )
    fewest = min(holdout.rows_by_class)
    rarest = (
        "The rarer class"
        if len(holdout.rows_by_class) == 2
        else f"The rarest class, {evaluation.names[holdout.rows_by_class.index(fewest)]},"
    )
    yield _at_least(
        "rows_per_class",
        fewest,
        policy.min_rows_per_class,
        f"{rarest} has {fewest:,} held out reviews; at least "
        f"{policy.min_rows_per_class:,} are needed.",
    )
    yield _at_least(
        "newest_rows",
        newest.rows,
        policy.min_newest_rows,
        f"The newest nights have {newest.rows:,} held out reviews; at least "
        f"{policy.min_newest_rows:,} are needed.",
    )
    yield _slice_rows(evaluation, policy)
    yield _complete(evaluation)


def _at_least(rule: str, observed: float, limit: float, sentence: str) -> GateRule:
    return GateRule(
        rule=rule,
        group="sufficiency",
        is_passed=observed >= limit,
        observed=observed,
        limit=limit,
        sentence=sentence,
    )


def _slice_rows(evaluation: Evaluation, policy: GateSettings) -> GateRule:
    small = [part for part in evaluation.slices if part.rows < policy.min_slice_rows]
    fewest = min((part.rows for part in evaluation.slices), default=policy.min_slice_rows)
    names = ", ".join(f"{part.name} ({part.rows:,})" for part in small)
    return _at_least(
        "slice_rows",
        fewest,
        policy.min_slice_rows,
        f"These slices have fewer than {policy.min_slice_rows:,} held out reviews, too few to tell "
        f"whether they get worse: {names}. If they will never have more, remove their family from "
        "gate.slices."
        if small
        else f"Each of the {len(evaluation.slices)} slices has at least "
        f"{policy.min_slice_rows:,} held out reviews.",
    )


def _complete(evaluation: Evaluation) -> GateRule:
    missing = list(_missing(evaluation))
    return GateRule(
        rule=COMPLETE,
        group="sufficiency",
        is_passed=not missing,
        observed=len(missing),
        limit=0,
        sentence="Scores are missing or are not numbers, so no decision is possible: "
        f"{', '.join(missing)}."
        if missing
        else "Every score of every compared model is a number.",
    )


def _missing(evaluation: Evaluation) -> Iterator[str]:
    has_champion = evaluation.champion_generation > 0
    for scores in (evaluation.holdout, evaluation.newest, evaluation.golden):
        yield from _missing_in(scores, has_champion=has_champion)
    if evaluation.behaviour is None or not evaluation.behaviour.capabilities:
        yield "the challenger's behaviour"
    if has_champion and evaluation.champion_behaviour is None:
        yield "the champion's behaviour"
    for part in evaluation.slices:
        if part.challenger_accuracy is None or (has_champion and part.against_champion is None):
            yield f"the slice {part.name}"


def _missing_in(scores: SetScores, *, has_champion: bool) -> Iterator[str]:
    metrics: dict[str, object] = {"the challenger": scores.challenger}
    if has_champion:
        metrics |= {
            "the champion": scores.champion,
            "the reference": scores.reference,
            "the comparison with the champion": scores.against_champion,
            "the comparison with the reference": scores.against_reference,
        }
    missing = [name for name, scored in metrics.items() if scored is None]
    yield from (f"{name} on the {scores.name} set" for name in missing)


def floors(evaluation: Evaluation, policy: GateSettings) -> Iterator[GateRule]:
    """Absolute limits, which also hold for the first model."""
    yield _overlap(evaluation, policy)
    if evaluation.holdout.challenger is not None:
        yield from _value_floors(evaluation.holdout.challenger, policy, evaluation.names)
    if evaluation.golden.challenger is not None:
        yield _golden_floor(evaluation.golden.challenger, policy)
    if evaluation.behaviour is not None and evaluation.behaviour.capabilities:
        yield _behaviour_floor(evaluation.behaviour.capabilities, policy)


def _floor(rule: str, observed: float, limit: float, *, is_passed: bool, sentence: str) -> GateRule:
    return GateRule(
        rule=rule, group="floor", is_passed=is_passed, observed=observed, limit=limit,
        sentence=sentence,
    )  # fmt: skip


def _overlap(evaluation: Evaluation, policy: GateSettings) -> GateRule:
    rows = evaluation.overlap_rows
    held = evaluation.holdout.rows + evaluation.seen_rows + rows
    share = rows / held if held else 0.0
    limit = policy.max_overlap_share
    return _floor(
        "overlap",
        share,
        limit,
        is_passed=share <= limit,
        sentence=f"{rows:,} of {held:,} held out reviews ({share:.2%}) are also, word for word or "
        f"nearly, in the training data; at most {limit:.2%} may be, or the holdout leaks. They are "
        "not scored.",
    )


def _value_floors(
    challenger: AnyMetrics, policy: GateSettings, names: tuple[str, ...]
) -> Iterator[GateRule]:
    yield _floor(
        "accuracy_floor",
        challenger.accuracy,
        policy.min_accuracy,
        is_passed=challenger.accuracy >= policy.min_accuracy,
        sentence=f"Accuracy is {challenger.accuracy:.2%}; the floor is {policy.min_accuracy:.2%}.",
    )
    recall = min(challenger.recalls)
    yield _floor(
        "recall_floor",
        recall,
        policy.min_recall,
        is_passed=recall >= policy.min_recall,
        sentence=_recall_sentence(challenger.recalls, policy, names),
    )
    yield _floor(
        "log_loss_ceiling",
        challenger.log_loss,
        policy.max_log_loss,
        is_passed=challenger.log_loss <= policy.max_log_loss,
        sentence=f"Log loss is {challenger.log_loss:.4f}; the ceiling is "
        f"{policy.max_log_loss:.4f}.",
    )
    error = challenger.calibration_error
    yield _floor(
        "calibration",
        error,
        policy.max_calibration_error,
        is_passed=error <= policy.max_calibration_error,
        sentence=f"Its probabilities are off by {error:.2%} on average; at most "
        f"{policy.max_calibration_error:.2%} is allowed.",
    )


def _recall_sentence(
    recalls: tuple[float, ...], policy: GateSettings, names: tuple[str, ...]
) -> str:
    lowest, floor = min(recalls), f"the floor is {policy.min_recall:.2%}"
    if len(recalls) == 2:
        return f"The recall of the weaker class is {lowest:.2%}; {floor}."
    each = ", ".join(f"{name} {recall:.2%}" for name, recall in zip(names, recalls, strict=True))
    return (
        f"The recall of the weakest class, {names[recalls.index(lowest)]}, is {lowest:.2%}; "
        f"{floor}. By class: {each}."
    )


def _golden_floor(challenger: AnyMetrics, policy: GateSettings) -> GateRule:
    return _floor(
        "golden_floor",
        challenger.accuracy,
        policy.min_golden_accuracy,
        is_passed=challenger.accuracy >= policy.min_golden_accuracy,
        sentence=f"Of {challenger.rows:,} hand-written reviews it gets {challenger.accuracy:.1%} "
        f"right; the floor is {policy.min_golden_accuracy:.1%}.",
    )


def _behaviour_floor(capabilities: Iterable[CapabilityScore], policy: GateSettings) -> GateRule:
    excess = {
        score.capability: rounded(score.failure_share - score.max_failure_share)
        for score in capabilities
    }
    shares = {score.capability: score.failure_share for score in capabilities}
    worst = max(excess.values())
    broken = [name for name, over in excess.items() if over > policy.max_behaviour_excess]
    names = ", ".join(f"{name} ({shares[name]:.0%} of its cases)" for name in broken)
    return _floor(
        "behaviour_floor",
        worst,
        policy.max_behaviour_excess,
        is_passed=not broken,
        sentence="It fails these capabilities more often than their own limit plus "
        f"{policy.max_behaviour_excess:.0%}: {names}."
        if broken
        else f"It passes all {len(excess)} capabilities of the behavioural suite.",
    )


def artefact(
    evaluation: Evaluation, policy: GateSettings, check: ArtefactCheck | None
) -> Iterator[GateRule]:
    """Rules on the model file and on what a clean process measured.

    The measured numbers stay in the check's own record, so that the same evaluation gives the
    same decision, byte for byte.
    """
    size, largest = evaluation.artefact_bytes, policy.max_artefact_bytes
    yield _floor(
        "artefact_size",
        size,
        largest,
        is_passed=size <= largest,
        sentence=f"The model file has {size / 1e6:,.1f} MB; at most {largest / 1e6:,.1f} MB are "
        "allowed.",
    )
    is_usable = check is not None and check.version == evaluation.version and check.answers_alike
    yield _measured(
        "clean_process",
        None,
        is_passed=is_usable,
        sentence="A clean process, with the installed package alone and without network, "
        f"{_how_it_went(evaluation, check)}.",
    )
    scoring = check.scoring_cpu_milliseconds if check else None
    limit = policy.max_scoring_cpu_milliseconds
    yield _within(
        "scoring_time", scoring, limit,
        f"One review may take at most {limit:,.0f} ms of processor time",
    )  # fmt: skip
    memory = check.peak_bytes if check else None
    limit = policy.max_memory_bytes
    yield _within("memory", memory, limit, f"A process may use at most {limit / 1e6:,.0f} MB")


def _within(rule: str, measured: float | None, limit: float, requirement: str) -> GateRule:
    is_passed = measured is not None and measured <= limit
    outcome = "was less" if is_passed else "was more" if measured is not None else "was not made"
    sentence = f"{requirement}; the measurement in a clean process {outcome}."
    return _measured(rule, limit, is_passed=is_passed, sentence=sentence)


def _how_it_went(evaluation: Evaluation, check: ArtefactCheck | None) -> str:
    if check is None or check.version != evaluation.version:
        return "was not asked to load this file"
    if check.answers_alike:
        return "loaded this file and gave the same answers"
    return "gave other answers" if check.rows else "could not use this file"


def _measured(rule: str, limit: float | None, *, is_passed: bool, sentence: str) -> GateRule:
    return GateRule(
        rule=rule, group="floor", is_passed=is_passed, observed=None, limit=limit,
        sentence=sentence,
    )  # fmt: skip
