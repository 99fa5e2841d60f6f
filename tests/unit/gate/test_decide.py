"""The gate is a pure function: every verdict from numbers that can be checked by hand."""

import pytest

from pipelines.core import config
from pipelines.gate.decide import decide
from tests.support.made.judgement_builders import (
    CHAMPION,
    a_check,
    a_first_model,
    an_evaluation,
    some_behaviour,
    some_comparison,
    some_metrics,
    some_set,
    some_slice,
)

POLICY = config.load(config.CONFIG_FOLDER / "default.toml").gate


def decided(evaluation, check=None, policy=POLICY):
    return decide(evaluation, policy, check or a_check())


def verdict_of(evaluation):
    return decided(evaluation).verdict


def failed_rules(decision):
    return [rule.rule for rule in decision.rules if not rule.is_passed and rule.group != "gain"]


def against_champion(**changes):
    return an_evaluation(holdout=some_set(against_champion=some_comparison(**changes)))


def against_reference(**changes):
    return an_evaluation(holdout=some_set(against_reference=some_comparison(**changes)))


UNSURE = {"log_loss_change": -0.001, "log_loss_change_high": 0.0005}


# ── Verdicts ─────────────────────────────────────────────────────────────────────────────────


def test_a_reliably_better_model_is_promoted():
    assert verdict_of(an_evaluation()) == "PROMOTE"


def test_a_model_that_is_not_reliably_better_is_held():
    assert verdict_of(against_champion(**UNSURE)) == "HOLD"


def test_a_gain_of_exactly_zero_is_not_a_gain():
    assert verdict_of(against_champion(log_loss_change_high=0.0)) == "HOLD"


def test_a_champion_that_has_fallen_behind_is_replaced_by_a_model_that_is_not_worse():
    stale = against_champion(**UNSURE).model_copy(update={"champion_age_nights": 7})
    fresh = against_champion(**UNSURE).model_copy(update={"champion_age_nights": 6})

    assert (verdict_of(stale), verdict_of(fresh)) == ("REFRESH", "HOLD")
    assert "The champion is 7 nights old" in decided(stale).why


def test_however_stale_the_champion_a_worse_model_does_not_replace_it():
    worse = against_champion(log_loss_change=0.006, log_loss_change_low=0.004,
                             log_loss_change_high=0.008)  # fmt: skip

    assert verdict_of(worse.model_copy(update={"champion_age_nights": 365})) == "REJECT"


def test_a_first_model_meets_every_floor_and_a_person_must_agree():
    decision = decided(a_first_model())

    assert (decision.verdict, decision.approval) == ("PROMOTE", "needed")
    assert "there is no champion yet" in decision.why


def test_a_first_model_needs_nobody_where_the_policy_says_so():
    policy = POLICY.model_copy(update={"ask_for_first_model": False})

    assert decided(a_first_model(), policy=policy).approval == "not_needed"


# ── Approval ─────────────────────────────────────────────────────────────────────────────────


def test_a_person_may_decide_where_the_numbers_cannot_tell():
    decision = decided(an_evaluation(holdout=some_set(positive_rows=900, negative_rows=900)))

    assert (decision.verdict, decision.approval) == ("INCONCLUSIVE", "needed")


def test_nobody_may_let_through_a_model_without_scores():
    decision = decided(an_evaluation(holdout=some_set(challenger=None)))

    assert (decision.verdict, decision.approval) == ("INCONCLUSIVE", "impossible")


def test_nobody_may_let_through_a_model_that_broke_a_floor_for_lack_of_rows():
    too_few = some_set(positive_rows=900, negative_rows=900)

    decision = decided(an_evaluation(holdout=too_few, overlap_rows=500))

    assert (decision.verdict, decision.approval) == ("INCONCLUSIVE", "impossible")

    broken, few = (
        next(rule.sentence for rule in decision.rules if rule.rule == name)
        for name in ("overlap", "holdout_rows")
    )
    assert decision.why.startswith(broken)
    assert decision.why.endswith(few)


def test_nobody_is_asked_about_an_inconclusive_model_where_the_policy_says_so():
    policy = POLICY.model_copy(update={"ask_when_inconclusive": False})
    too_few = an_evaluation(holdout=some_set(positive_rows=900, negative_rows=900))

    assert decided(too_few, policy=policy).approval == "impossible"


def test_a_promotion_over_a_champion_needs_nobody_and_a_rejection_cannot_be_overruled():
    rejected = an_evaluation(overlap_rows=500)

    assert decided(an_evaluation()).approval == "not_needed"
    assert decided(rejected).approval == "impossible"


# ── Sufficiency ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"holdout": some_set(positive_rows=999, negative_rows=1000)}, "holdout_rows"),
        ({"holdout": some_set(positive_rows=499)}, "rows_per_class"),
        ({"newest": some_set("newest", positive_rows=149, negative_rows=150)}, "newest_rows"),
        ({"slices": (some_slice(rows=99),)}, "slice_rows"),
        ({"slices": (some_slice(rows=0, challenger_accuracy=None,
                                against_champion=None),)}, "slice_rows"),
        ({"slices": (some_slice(against_champion=None),)}, "complete"),
        ({"holdout": some_set(challenger=None)}, "complete"),
        ({"holdout": some_set(champion=None)}, "complete"),
        ({"holdout": some_set(reference=None)}, "complete"),
        ({"holdout": some_set(against_champion=None)}, "complete"),
        ({"holdout": some_set(against_reference=None)}, "complete"),
        ({"newest": some_set("newest", against_champion=None)}, "complete"),
        ({"golden": some_set("golden", challenger=None)}, "complete"),
        ({"behaviour": None}, "complete"),
        ({"champion_behaviour": None}, "complete"),
        ({"behaviour": some_behaviour().model_copy(update={"capabilities": ()})}, "complete"),
    ],
)  # fmt: skip
def test_too_few_rows_or_a_missing_score_never_passes(change, rule):
    decision = decided(an_evaluation(**change))

    assert decision.verdict == "INCONCLUSIVE"
    assert rule in failed_rules(decision)


@pytest.mark.parametrize(
    "change",
    [
        {"holdout": some_set(challenger=None)},
        {"newest": some_set("newest", challenger=None)},
        {"behaviour": None},
    ],
)
def test_a_first_model_without_scores_never_passes(change):
    assert verdict_of(a_first_model(**change)) == "INCONCLUSIVE"


def test_a_small_slice_is_named_with_what_to_do_about_it():
    decision = decided(an_evaluation(slices=(some_slice("source=tv", rows=7),)))

    assert "source=tv (7)" in decision.why
    assert "gate.slices" in decision.why


# ── Floors ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"overlap_rows": 51}, "overlap"),  # of 5,051: a little over 1 %
        ({"artefact_bytes": POLICY.max_artefact_bytes + 1}, "artefact_size"),
        ({"holdout": some_set(challenger=some_metrics(accuracy=0.8499))}, "accuracy_floor"),
        ({"holdout": some_set(challenger=some_metrics(recall_positive=0.7999))}, "recall_floor"),
        ({"holdout": some_set(challenger=some_metrics(recall_negative=0.7999))}, "recall_floor"),
        ({"holdout": some_set(challenger=some_metrics(log_loss=0.4001))}, "log_loss_ceiling"),
        ({"holdout": some_set(challenger=some_metrics(calibration_error=0.051))}, "calibration"),
        ({"golden": some_set("golden", challenger=some_metrics(accuracy=0.69))}, "golden_floor"),
        ({"behaviour": some_behaviour(negation=8)}, "behaviour_floor"),  # 40 %, 10 + 25 allowed
    ],
)
@pytest.mark.parametrize("build", [an_evaluation, a_first_model])
def test_every_floor_rejects_on_its_own(build, change, rule):
    decision = decided(build(**change))

    assert decision.verdict == "REJECT"
    assert rule in failed_rules(decision)


def test_a_holdout_of_nothing_but_leaked_rows_is_no_pass():
    leaked = some_set(positive_rows=0, negative_rows=0, challenger=None, champion=None)

    assert verdict_of(an_evaluation(holdout=leaked, overlap_rows=5000)) == "INCONCLUSIVE"


def test_a_broken_capability_is_named_with_its_share():
    decision = decided(an_evaluation(behaviour=some_behaviour(negation=9)))

    assert "negation (45% of its cases)" in decision.why


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"answers_alike": False}, "clean_process"),
        ({"version": "e" * 20}, "clean_process"),
        ({"scoring_cpu_milliseconds": 20.1}, "scoring_time"),
        ({"scoring_cpu_milliseconds": None}, "scoring_time"),
        ({"peak_bytes": POLICY.max_memory_bytes + 1}, "memory"),
        ({"peak_bytes": None}, "memory"),
    ],
)
def test_a_model_that_a_consumer_could_not_use_is_rejected(change, rule):
    decision = decided(an_evaluation(), a_check(**change))

    assert decision.verdict == "REJECT"
    assert failed_rules(decision) == [rule]


@pytest.mark.parametrize(
    ("check", "outcome"),
    [
        (None, "was not asked to load this file"),
        (a_check(version="e" * 20), "was not asked to load this file"),
        (a_check(answers_alike=False, rows=0), "could not use this file"),
        (a_check(answers_alike=False), "gave other answers"),
        (a_check(), "loaded this file and gave the same answers"),
    ],
)
def test_it_is_said_what_became_of_the_clean_process(check, outcome):
    decision = decide(an_evaluation(), POLICY, check)

    (rule,) = [rule for rule in decision.rules if rule.rule == "clean_process"]
    assert rule.sentence.endswith(f", {outcome}.")


def test_a_model_that_was_never_tried_is_rejected():
    assert decide(an_evaluation(), POLICY).verdict == "REJECT"


# ── Against the champion ─────────────────────────────────────────────────────────────────────


def test_a_better_log_loss_does_not_excuse_significantly_more_errors():
    worse = against_champion(only_other_right=90, only_challenger_right=50, mcnemar_p_value=0.0009)

    assert verdict_of(worse) == "REJECT"


def test_an_uneven_split_in_the_challengers_favour_is_no_reason_to_reject():
    better = against_champion(only_other_right=50, only_challenger_right=90, mcnemar_p_value=0.0009)

    assert verdict_of(better) == "PROMOTE"


def test_a_better_average_does_not_excuse_a_worse_class():
    lopsided = some_metrics(recall_positive=0.93, recall_negative=0.8949)

    assert verdict_of(an_evaluation(holdout=some_set(challenger=lopsided))) == "REJECT"


def test_an_accuracy_drop_that_cannot_be_ruled_out_is_inconclusive():
    assert verdict_of(against_champion(accuracy_change_low=-0.0101)) == "INCONCLUSIVE"


def test_an_accuracy_drop_that_is_sure_and_beyond_the_margin_is_rejected():
    drop = {"accuracy_change": -0.011, "accuracy_change_low": -0.015, "accuracy_change_high": -0.01}

    assert verdict_of(against_champion(**drop)) == "REJECT"


def test_a_log_loss_rise_that_cannot_be_ruled_out_is_inconclusive():
    wide = against_champion(log_loss_change_low=-0.004, log_loss_change_high=0.0051)

    assert verdict_of(wide) == "INCONCLUSIVE"


def test_a_log_loss_that_reliably_rises_beyond_the_limit_is_rejected():
    worse = against_champion(
        log_loss_change=0.006, log_loss_change_low=0.004, log_loss_change_high=0.008
    )

    assert verdict_of(worse) == "REJECT"


@pytest.mark.parametrize(
    ("change", "low", "verdict"),
    [
        (0.0051, 0.0001, "REJECT"),
        (0.0050, 0.0001, "PROMOTE"),  # reliably worse, but within the margin
        (0.0051, 0.0, "PROMOTE"),  # beyond the margin, but perhaps by chance
    ],
)
def test_a_fall_on_the_newest_nights_is_sure_and_beyond_the_margin(change, low, verdict):
    worse = some_comparison(log_loss_change=change, log_loss_change_low=low)

    assert verdict_of(an_evaluation(newest=some_set("newest", against_champion=worse))) == verdict


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.86, "PROMOTE"), (0.8599, "REJECT")])
def test_few_hand_written_reviews_may_be_lost(accuracy, verdict):
    scores = some_set("golden", challenger=some_metrics(accuracy=accuracy))

    assert verdict_of(an_evaluation(golden=scores)) == verdict


@pytest.mark.parametrize(("failures", "verdict"), [(2, "PROMOTE"), (3, "REJECT")])
def test_few_cases_that_the_champion_passed_may_fail(failures, verdict):
    """Of forty cases in all, two are 5 %."""
    assert verdict_of(an_evaluation(behaviour=some_behaviour(negation=failures))) == verdict


@pytest.mark.parametrize(("failures", "verdict"), [(6, "PROMOTE"), (7, "REJECT")])
def test_a_better_suite_does_not_excuse_a_capability_that_is_lost(failures, verdict):
    """The champion fails eight cases of another capability; of twenty cases, six are 30 %."""
    evaluation = an_evaluation(
        behaviour=some_behaviour(negation=failures), champion_behaviour=some_behaviour(vocabulary=8)
    )

    assert verdict_of(evaluation) == verdict


# ── Against the reference ────────────────────────────────────────────────────────────────────


def test_small_losses_that_add_up_are_stopped_by_the_pinned_reference():
    eroded = {"log_loss_change": 0.009, "log_loss_change_low": 0.006, "log_loss_change_high": 0.012}

    decision = decided(against_reference(**eroded))

    assert decision.verdict == "REJECT"
    assert failed_rules(decision) == ["reference_log_loss_rise"]


def test_the_reference_moves_only_to_a_model_reliably_better_than_it():
    unsure = against_reference(**UNSURE)

    assert decided(an_evaluation()).becomes_reference
    assert not decided(unsure).becomes_reference
    assert verdict_of(unsure) == "PROMOTE"


def test_the_first_model_becomes_the_reference():
    assert decided(a_first_model()).becomes_reference


def test_a_reference_that_is_the_champion_is_not_compared_with_twice():
    decision = decided(an_evaluation(reference_version=CHAMPION))

    names = [rule.rule for rule in decision.rules]
    assert "reference_is_champion" in names
    assert "reference_log_loss_rise" not in names


# ── Slices ───────────────────────────────────────────────────────────────────────────────────


def test_a_better_average_does_not_excuse_a_worse_slice():
    worse = some_comparison(
        rows=1500, only_other_right=40, only_challenger_right=12, mcnemar_p_value=0.0001,
        accuracy_change=-0.0187,
    )  # fmt: skip
    parts = (some_slice("rating=mild", against_champion=worse), some_slice("rating=extreme"))

    decision = decided(an_evaluation(slices=parts))

    assert decision.verdict == "REJECT"
    assert failed_rules(decision) == ["slice rating=mild"]


def test_looking_at_many_slices_does_not_find_a_worse_one_by_chance():
    """At 0.0045 one slice alone would be worse; among five, Holm's correction makes it 0.0227."""
    unlucky = some_comparison(
        only_other_right=33, only_challenger_right=13, mcnemar_p_value=0.004533862,
        accuracy_change=-0.01,
    )  # fmt: skip
    one = (some_slice("a=1", against_champion=unlucky),)
    many = (*one, *(some_slice(f"a={number}") for number in range(2, 6)))

    assert verdict_of(an_evaluation(slices=one)) == "REJECT"
    assert verdict_of(an_evaluation(slices=many)) == "PROMOTE"


def test_a_large_fall_of_one_slice_needs_no_correction():
    fallen = some_comparison(
        only_other_right=30, only_challenger_right=12, mcnemar_p_value=0.007915897,
        accuracy_change=-0.031,
    )  # fmt: skip
    many = tuple(some_slice(f"a={number}") for number in range(2, 9))

    decision = decided(an_evaluation(slices=(some_slice("a=1", against_champion=fallen), *many)))

    assert decision.verdict == "REJECT"


# ── The record ───────────────────────────────────────────────────────────────────────────────


def test_measured_latencies_do_not_change_a_decision():
    slow, fast = (a_check(scoring_cpu_milliseconds=value) for value in (9.0, 1.0))

    assert decided(an_evaluation(), slow).to_bytes() == decided(an_evaluation(), fast).to_bytes()


def test_a_decision_names_the_champion_it_was_made_against_and_is_the_same_bytes_twice():
    first, second = (decided(an_evaluation()) for _ in range(2))

    assert (first.champion_generation, first.champion_version) == (3, CHAMPION)
    assert first.to_bytes() == second.to_bytes()


def test_every_rule_of_a_full_comparison_says_a_sentence_with_a_number():
    decision = decided(an_evaluation())

    names = [rule.rule for rule in decision.rules]
    assert len(names) == len(set(names)) == 29
    for rule in decision.rules:
        assert rule.sentence.endswith(".")
        assert rule.rule in {"complete", "clean_process"} or any(
            letter.isdigit() for letter in rule.sentence
        )


def test_every_margin_says_the_smallest_change_that_would_show():
    rules = {rule.rule: rule for rule in decided(an_evaluation()).rules}

    for name in ("accuracy_drop", "log_loss_rise", "reference_accuracy_drop", "log_loss_gain"):
        assert rules[name].detectable is not None
        assert rules[name].low <= rules[name].observed <= rules[name].high
    assert "four times out of five is 0.47 points" in rules["accuracy_drop"].sentence
