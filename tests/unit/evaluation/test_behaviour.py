"""Who fails a case, by probabilities that can be checked by hand; and the suite that is shipped."""

import numpy as np
import pytest

from pipelines.core.config import CONFIG_FOLDER
from pipelines.evaluation.behaviour.scoring import (
    Capability,
    Case,
    Suite,
    failures,
    load_suite,
    score,
)
from pipelines.evaluation.golden import load_golden

NAN = float("nan")


def a_suite(*cases: Case, kind="minimum_functionality", tolerance=0.1) -> Suite:
    capability = Capability("only", kind, "It can.", 0.25, tolerance, cases)
    return Suite((capability,), "d" * 64)


def failed(suite: Suite, *probabilities: float) -> int:
    (only,) = score(suite, np.array(probabilities)).capabilities
    assert only.failures == len(failures(suite, np.array(probabilities))["only"])
    return only.failures


@pytest.mark.parametrize(
    ("label", "probability", "expected"),
    [
        ("positive", 0.5, 0),
        ("positive", 0.49, 1),
        ("negative", 0.49, 0),
        ("negative", 0.5, 1),
        ("positive", NAN, 1),
        ("negative", NAN, 1),
        ("positive", float("inf"), 1),
        ("negative", -0.1, 1),
    ],
)
def test_a_text_fails_when_the_answer_at_one_half_is_not_its_label(label, probability, expected):
    suite = a_suite(Case("A film.", None, label))

    assert failed(suite, probability) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(0.9, 0.6, 0, id="moves-far-without-turning-round"),
        pytest.param(0.52, 0.47, 0, id="turns-round-within-the-tolerance"),
        pytest.param(0.56, 0.44, 1, id="turns-round-and-moves-far"),
        pytest.param(0.44, 0.56, 1, id="the-other-way"),
        pytest.param(0.5, 0.375, 1, id="one-half-is-positive"),
        pytest.param(NAN, 0.9, 1, id="no-number-before"),
        pytest.param(0.9, NAN, 1, id="no-number-after"),
    ],
)
def test_a_change_without_meaning_may_not_turn_the_answer_round(before, after, expected):
    suite = a_suite(Case("A film.", "A movie.", "same"), kind="invariance")

    assert failed(suite, before, after) == expected


@pytest.mark.parametrize(
    ("direction", "before", "after", "expected"),
    [
        ("up", 0.25, 0.5, 0),
        ("up", 0.5, 0.5, 0),
        ("up", 0.5, 0.4375, 0),  # down by 0.0625, 0.1 are allowed
        ("up", 0.5, 0.375, 1),
        ("down", 0.5, 0.25, 0),
        ("down", 0.5, 0.5625, 0),
        ("down", 0.5, 0.625, 1),
        ("up", NAN, 0.9, 1),
        ("down", 0.9, NAN, 1),
    ],
)
def test_a_change_with_meaning_may_not_move_the_probability_the_wrong_way(
    direction, before, after, expected
):
    suite = a_suite(Case("A film.", "A fine film.", direction), kind="direction")

    assert failed(suite, before, after) == expected


def test_a_text_that_is_no_number_fails_all_of_its_cases_and_no_other():
    suite = a_suite(
        Case("One.", "Two.", "same"), Case("One.", "Three.", "same"), Case("Four.", "Two.", "same")
    )

    assert suite.texts() == ["One.", "Two.", "Three.", "Four."]
    assert failed(suite, NAN, 0.9, 0.9, 0.9) == 2
    assert failed(suite, 0.9, 0.9, 0.9, 0.9) == 0


def test_the_scores_say_how_many_of_how_many_failed_and_what_is_allowed():
    suite = a_suite(
        Case("One.", None, "positive"), Case("Two.", None, "positive"),
        Case("Three.", None, "negative"), Case("Four.", None, "negative"),
    )  # fmt: skip

    scores = score(suite, np.array([0.9, 0.1, 0.9, 0.9]))

    (only,) = scores.capabilities
    assert scores.suite == "d" * 64
    assert (only.capability, only.kind) == ("only", "minimum_functionality")
    assert (only.cases, only.failures, only.failure_share) == (4, 3, 0.75)
    assert only.max_failure_share == 0.25


def test_the_failed_cases_are_named():
    suite = a_suite(Case("One.", None, "positive"), Case("Two.", None, "negative"))

    assert failures(suite, np.array([0.9, 0.9])) == {"only": (Case("Two.", None, "negative"),)}


@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (2, 1)])
def test_probabilities_of_other_texts_are_refused(shape):
    suite = a_suite(Case("One.", None, "positive"), Case("Two.", None, "negative"))

    with pytest.raises(ValueError, match=r"has 2 texts.*Score suite\.texts\(\) in its order"):
        score(suite, np.zeros(shape))


# The suite that is shipped

SHIPPED = load_suite(CONFIG_FOLDER / "behaviour")

each_capability = pytest.mark.parametrize(
    "capability", SHIPPED.capabilities, ids=lambda capability: capability.name
)


def test_the_shipped_suite_covers_all_three_kinds():
    kinds = [each.kind for each in SHIPPED.capabilities]

    assert len(kinds) >= 12
    assert {kind: kinds.count(kind) >= 3 for kind in kinds} == {
        "minimum_functionality": True, "invariance": True, "direction": True,
    }  # fmt: skip


@each_capability
def test_a_shipped_capability_is_of_a_size_that_people_can_read(capability):
    texts = [case.texts for case in capability.cases]

    assert 20 <= len(texts) <= 120
    assert len(set(texts)) == len(texts)
    assert all(text.strip() for case in texts for text in case)


@pytest.mark.parametrize("probability", [0.0, 0.49, 0.5, 1.0])
def test_a_model_that_always_says_the_same_exceeds_each_limit_that_can_tell(probability):
    scores = score(SHIPPED, np.full(len(SHIPPED.texts()), probability)).capabilities

    told_apart = {each.name for each in SHIPPED.capabilities if len(labels_of(each)) == 2}
    assert len(told_apart) >= 8
    assert [
        each.capability
        for each in scores
        if each.capability in told_apart and each.failure_share <= each.max_failure_share
    ] == []


def labels_of(capability: Capability) -> set[str]:
    return {case.expected for case in capability.cases} & {"positive", "negative"}


def test_no_text_has_one_label_here_and_another_there():
    cases = {case for each in SHIPPED.capabilities for case in each.cases if case.changed is None}

    assert len({case.text for case in cases}) == len(cases)


def test_the_shipped_suite_is_scored_in_an_order_without_repeats():
    texts = SHIPPED.texts()

    assert len(set(texts)) == len(texts)
    assert texts == load_suite(CONFIG_FOLDER / "behaviour").texts()


def test_the_suite_and_the_golden_set_ask_different_things():
    golden = load_golden(CONFIG_FOLDER / "golden.jsonl")

    assert set(golden.texts) & set(SHIPPED.texts()) == set()
