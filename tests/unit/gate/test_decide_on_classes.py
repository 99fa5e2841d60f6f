"""The gate on models with three classes: every class counts, and is named."""

import pytest

from pipelines.core import config
from pipelines.gate.decide import decide
from tests.support.made.judgement_builders import (
    a_check,
    a_set_of_classes,
    an_evaluation,
    an_evaluation_of_classes,
    some_class_metrics,
    some_metrics,
    some_set,
)

POLICY = config.load(config.CONFIG_FOLDER / "default.toml").gate.model_copy(
    update={"min_accuracy": 0.7, "min_recall": 0.65, "max_log_loss": 0.7}
)


def decided(**holdout):
    evaluation = an_evaluation_of_classes(holdout=a_set_of_classes(**holdout))
    return decide(evaluation, POLICY, a_check())


def rule_of(decision, name):
    return next(rule for rule in decision.rules if rule.rule == name)


def test_a_better_model_of_three_classes_is_promoted():
    assert decided().verdict == "PROMOTE"


def test_a_weak_class_is_not_made_up_for_by_the_others():
    confusion = ((999, 1, 0), (400, 1200, 400), (0, 1, 999))

    decision = decided(challenger=some_class_metrics(confusion=confusion, accuracy=0.8))

    assert decision.verdict == "REJECT"
    rule = rule_of(decision, "recall_floor")
    assert (rule.observed, rule.is_passed) == (0.6, False)
    assert rule.sentence == (
        "The recall of the weakest class, middling, is 60.00%; the floor is 65.00%. By class: poor "
        "99.90%, middling 60.00%, great 99.90%."
    )


@pytest.mark.parametrize(("lost", "is_passed"), [(15, True), (16, False)])
def test_each_class_may_lose_so_much_recall(lost, is_passed):
    confusion = ((800 - lost, 150 + lost, 50), (300, 1400, 300), (50, 150, 800))

    decision = decided(challenger=some_class_metrics(confusion=confusion))

    rule = rule_of(decision, "recall_drop")
    assert rule.is_passed is is_passed
    assert "of the class that loses most, the poor reviews" in rule.sentence
    assert f"a change of -{lost / 10:.2f} points" in rule.sentence


def test_the_rarest_class_needs_enough_reviews():
    decision = decided(class_rows=(1000, 2501, 499))

    assert decision.verdict == "INCONCLUSIVE"
    sentence = rule_of(decision, "rows_per_class").sentence
    assert sentence.startswith("The rarest class, great, has 499 held out reviews; at least 500")


def test_missing_scores_do_not_pass():
    assert decided(challenger=None).verdict == "INCONCLUSIVE"


def test_a_model_of_stars_needs_the_behavioural_suite_as_others_do():
    decision = decide(an_evaluation_of_classes(behaviour=None), POLICY, a_check())

    assert decision.verdict == "INCONCLUSIVE"
    assert "the challenger's behaviour" in decision.why


def test_two_classes_of_stars_are_named_as_they_are_called():
    worse = some_metrics(recall_negative=0.5)
    evaluation = an_evaluation(class_names=("weak", "strong"), holdout=some_set(challenger=worse))

    decision = decide(evaluation, POLICY, a_check())

    assert "the weak reviews, is 50.00%" in rule_of(decision, "recall_drop").sentence
