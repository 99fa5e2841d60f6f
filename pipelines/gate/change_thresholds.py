"""Rules that compare a challenger with the champion and the reference, overall and per slice.

There are two kinds. A *veto* fails if the challenger is reliably worse. A *margin* fails unless a
fall beyond the margin is ruled out: that it is not worse has to be shown, not assumed.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.core.settings.model import GateSettings
from pipelines.evaluation.metrics import rounded
from pipelines.evaluation.paired import holm
from pipelines.records.decisions import GateRule, RuleGroup
from pipelines.records.evaluations import (
    AnyMetrics,
    BehaviourScores,
    Evaluation,
    PairedComparison,
    SliceScore,
)

_MARGINS = ("accuracy_drop", "log_loss_rise")


def is_reliably_worse(rule: GateRule) -> bool:
    """Whether a broken rule shows a fall, instead of only failing to rule one out.

    Margins hold the interval of their change in accuracy or log loss.
    """
    kind = rule.rule.removeprefix("reference_")
    if kind not in _MARGINS:
        return True
    if rule.low is None or rule.high is None:
        return False
    return rule.high < 0 if kind == "accuracy_drop" else rule.low > 0


def against_champion(evaluation: Evaluation, policy: GateSettings) -> Iterator[GateRule]:
    """Vetoes and margins against the champion, on holdout, newest nights and hand-made cases."""
    champion, challenger = evaluation.holdout.champion, evaluation.holdout.challenger
    paired = evaluation.holdout.against_champion
    if champion is None or challenger is None or paired is None:
        return
    yield _mcnemar(paired, policy)
    yield _recall_drop(champion, challenger, policy, evaluation.names)
    yield from _margins(paired, policy, "champion")
    yield from _newest(evaluation, policy)
    yield from _golden_drop(evaluation, policy)
    yield from _behaviour_drop(evaluation, policy)


def _mcnemar(paired: PairedComparison, policy: GateSettings) -> GateRule:
    lost, won = paired.only_other_right, paired.only_challenger_right
    is_worse = lost > won and paired.mcnemar_p_value < policy.significance
    return GateRule(
        rule="mcnemar",
        group="champion",
        is_passed=not is_worse,
        observed=paired.mcnemar_p_value,
        limit=policy.significance,
        sentence=f"Of {paired.rows:,} reviews the challenger newly gets {won:,} right and "
        f"{lost:,} wrong; p = {paired.mcnemar_p_value:.3f}: "
        + _difference(paired, paired.mcnemar_p_value, policy, is_worse=is_worse),
    )


def _difference(
    paired: PairedComparison, p_value: float, policy: GateSettings, *, is_worse: bool
) -> str:
    """What a p-value says of who is right more often."""
    if is_worse:
        return "reliably worse."
    if p_value < policy.significance and paired.only_challenger_right > paired.only_other_right:
        return "reliably better."
    return "no evidence of a difference."


def _points(share: float) -> str:
    """A change of a share, in points of a hundred."""
    return f"{100 * share:+.2f} points"


def _recall_drop(
    champion: AnyMetrics, challenger: AnyMetrics, policy: GateSettings, names: tuple[str, ...]
) -> GateRule:
    drops = [
        rounded(before - after)
        for before, after in zip(champion.recalls, challenger.recalls, strict=True)
    ]
    worst = max(drops)
    number = len(drops) - 1 - drops[::-1].index(worst)
    return GateRule(
        rule="recall_drop",
        group="champion",
        is_passed=worst <= policy.max_recall_drop,
        observed=worst,
        limit=policy.max_recall_drop,
        sentence=f"The recall of the class that loses {'more' if len(drops) == 2 else 'most'}, the "
        f"{names[number]} reviews, is "
        f"{challenger.recalls[number]:.2%}, a change of {_points(-worst)}; "
        f"at most {100 * policy.max_recall_drop:.2f} points may be lost.",
    )


def _margins(
    paired: PairedComparison, policy: GateSettings, other: RuleGroup
) -> Iterator[GateRule]:
    prefix = "" if other == "champion" else f"{other}_"
    yield GateRule(
        rule=f"{prefix}accuracy_drop",
        group=other,
        is_passed=paired.accuracy_change_low > -policy.max_accuracy_drop,
        observed=paired.accuracy_change,
        limit=-policy.max_accuracy_drop,
        low=paired.accuracy_change_low,
        high=paired.accuracy_change_high,
        detectable=paired.accuracy_detectable,
        sentence=f"Compared with the {other}, accuracy changes by "
        f"{_points(paired.accuracy_change)}; with {paired.confidence:.0%} confidence by at least "
        f"{_points(paired.accuracy_change_low)}. A drop of "
        f"{100 * policy.max_accuracy_drop:.2f} points must be ruled out. The smallest change that "
        f"{paired.rows:,} reviews detect four times out of five is "
        f"{100 * paired.accuracy_detectable:.2f} points.",
    )
    yield GateRule(
        rule=f"{prefix}log_loss_rise",
        group=other,
        is_passed=paired.log_loss_change_high < policy.max_log_loss_rise,
        observed=paired.log_loss_change,
        limit=policy.max_log_loss_rise,
        low=paired.log_loss_change_low,
        high=paired.log_loss_change_high,
        detectable=paired.log_loss_detectable,
        sentence=f"Compared with the {other}, log loss changes by {paired.log_loss_change:+.4f}; "
        f"with {paired.confidence:.0%} confidence by at most {paired.log_loss_change_high:+.4f}. A "
        f"rise of {policy.max_log_loss_rise:.4f} must be ruled out. The smallest change that these "
        f"reviews detect four times out of five is {paired.log_loss_detectable:.4f}.",
    )


def _newest(evaluation: Evaluation, policy: GateSettings) -> Iterator[GateRule]:
    """Fails only if the rise exceeds the margin *and* is significant.

    With few rows tested every night, the margin alone would often fail by chance.
    """
    paired = evaluation.newest.against_champion
    if paired is None:
        return
    is_beyond = paired.log_loss_change > policy.max_log_loss_rise
    is_worse = is_beyond and paired.log_loss_change_low > 0
    yield GateRule(
        rule="newest_nights",
        group="champion",
        is_passed=not is_worse,
        observed=paired.log_loss_change,
        limit=policy.max_log_loss_rise,
        low=paired.log_loss_change_low,
        high=paired.log_loss_change_high,
        detectable=paired.log_loss_detectable,
        sentence=f"On {paired.rows:,} held out reviews of the newest nights log loss changes by "
        f"{paired.log_loss_change:+.4f} ({_log_loss_interval(paired)}): "
        + ("reliably worse, and " if is_worse else "not reliably worse, or not ")
        + f"by more than {policy.max_log_loss_rise:.4f}.",
    )


def _golden_drop(evaluation: Evaluation, policy: GateSettings) -> Iterator[GateRule]:
    champion, challenger = evaluation.golden.champion, evaluation.golden.challenger
    if champion is None or challenger is None:
        return
    drop = rounded(champion.accuracy - challenger.accuracy)
    yield GateRule(
        rule="golden_drop",
        group="champion",
        is_passed=drop <= policy.max_golden_drop,
        observed=drop,
        limit=policy.max_golden_drop,
        sentence=f"Of {challenger.rows:,} hand-written reviews the challenger gets "
        f"{challenger.accuracy:.1%} right, the champion {champion.accuracy:.1%}; at most "
        f"{100 * policy.max_golden_drop:.1f} points may be lost.",
    )


def _behaviour_drop(evaluation: Evaluation, policy: GateSettings) -> Iterator[GateRule]:
    champion, challenger = evaluation.champion_behaviour, evaluation.behaviour
    if champion is None or challenger is None or not challenger.capabilities:
        return
    before, after = _failure_shares(champion), _failure_shares(challenger)
    drops = {name: rounded(share - before.get(name, 0.0)) for name, share in after.items()}
    overall = rounded(_failure_share(challenger) - _failure_share(champion))
    broken = [name for name, drop in drops.items() if drop > policy.max_capability_drop]
    names = ", ".join(f"{name} ({drops[name]:+.0%} of its cases)" for name in broken)
    yield GateRule(
        rule="behaviour_drop",
        group="champion",
        is_passed=overall <= policy.max_behaviour_drop and not broken,
        observed=overall,
        limit=policy.max_behaviour_drop,
        sentence=f"Of all cases of the behavioural suite the challenger fails "
        f"{_failure_share(challenger):.1%}, the champion {_failure_share(champion):.1%}; "
        f"{100 * policy.max_behaviour_drop:.1f} points more are allowed, and "
        f"{100 * policy.max_capability_drop:.0f} points more of one capability"
        + (f". Beyond that limit: {names}." if broken else "."),
    )


def _failure_share(scores: BehaviourScores) -> float:
    failures = sum(score.failures for score in scores.capabilities)
    return failures / max(1, sum(score.cases for score in scores.capabilities))


def _failure_shares(scores: BehaviourScores) -> dict[str, float]:
    return {score.capability: score.failure_share for score in scores.capabilities}


def slices(evaluation: Evaluation, policy: GateSettings) -> Iterator[GateRule]:
    """One rule per slice; Holm's correction shares the significance level among them."""
    compared = [
        (part, part.against_champion) for part in evaluation.slices if part.against_champion
    ]
    p_values = holm([paired.mcnemar_p_value for _, paired in compared])
    for (part, paired), p_value in zip(compared, p_values, strict=True):
        yield _slice(part, paired, p_value, policy)


def _slice(
    part: SliceScore, paired: PairedComparison, p_value: float, policy: GateSettings
) -> GateRule:
    is_lower = paired.only_other_right > paired.only_challenger_right
    is_far_below = (
        paired.accuracy_change < -policy.max_slice_drop
        and paired.mcnemar_p_value < policy.significance
    )
    is_worse = is_far_below or (is_lower and p_value < policy.significance)
    return GateRule(
        rule=f"slice {part.name}",
        group="slice",
        is_passed=not is_worse,
        observed=paired.accuracy_change,
        limit=-policy.max_slice_drop,
        low=paired.accuracy_change_low,
        high=paired.accuracy_change_high,
        detectable=paired.accuracy_detectable,
        sentence=f"On the {part.rows:,} reviews with {part.name} accuracy changes by "
        f"{_points(paired.accuracy_change)} ({paired.confidence:.0%} interval "
        f"{100 * paired.accuracy_change_low:+.2f} to {100 * paired.accuracy_change_high:+.2f}). "
        f"p = {p_value:.3f} (Holm-adjusted): "
        + _difference(paired, p_value, policy, is_worse=is_worse),
    )


def against_reference(evaluation: Evaluation, policy: GateSettings) -> Iterator[GateRule]:
    """The same margins against the reference, which small losses cannot move."""
    paired = evaluation.holdout.against_reference
    if paired is None:
        return
    if evaluation.reference_version != evaluation.champion_version:
        yield from _margins(paired, policy, "reference")
        return
    yield GateRule(
        rule="reference_is_champion",
        group="reference",
        is_passed=True,
        observed=None,
        limit=None,
        sentence="The pinned reference is the champion itself.",
    )


def gain(evaluation: Evaluation, policy: GateSettings) -> Iterator[GateRule]:
    """Is a change worth it? Yes, if it is reliably better or the champion is many nights behind."""
    paired, age = evaluation.holdout.against_champion, evaluation.champion_age_nights
    if paired is None or age is None:
        return
    is_better = paired.log_loss_change_high < 0
    yield GateRule(
        rule="log_loss_gain",
        group="gain",
        is_passed=is_better,
        observed=paired.log_loss_change,
        limit=0.0,
        low=paired.log_loss_change_low,
        high=paired.log_loss_change_high,
        detectable=paired.log_loss_detectable,
        sentence=f"Log loss changes by {paired.log_loss_change:+.4f} "
        f"({_log_loss_interval(paired)}): the challenger is "
        + ("reliably better." if is_better else "not reliably better."),
    )
    yield GateRule(
        rule="stale_champion",
        group="gain",
        is_passed=age >= policy.refresh_after_nights,
        observed=age,
        limit=policy.refresh_after_nights,
        sentence=f"The champion is {_nights(age)} old; after "
        f"{_nights(policy.refresh_after_nights)} any model that is no worse replaces it.",
    )


def _nights(count: int) -> str:
    return "1 night" if count == 1 else f"{count:,} nights"


def _log_loss_interval(paired: PairedComparison) -> str:
    return (
        f"{paired.confidence:.0%} interval {paired.log_loss_change_low:+.4f} to "
        f"{paired.log_loss_change_high:+.4f}"
    )
