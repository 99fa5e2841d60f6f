"""The gate is a pure function: every verdict from numbers that can be checked by hand."""

import pytest

from pipelines import config
from pipelines.gate import decide
from pipelines.records import ArtefactCheck, Evaluation, Metrics, PairedComparison

POLICY = config.load(config.CONFIG_FOLDER / "default.toml").gate
DIGEST = "a" * 64


def some_metrics(**changes):
    values = {
        "rows": 5000,
        "accuracy": 0.91,
        "f1": 0.91,
        "roc_auc": 0.97,
        "log_loss": 0.22,
        "recall_positive": 0.91,
        "recall_negative": 0.91,
    }
    return Metrics(**(values | changes))


def some_comparison(**changes):
    values = {
        "only_champion_right": 40,
        "only_challenger_right": 50,
        "accuracy_change": 0.002,
        "accuracy_change_low": -0.001,
        "accuracy_change_high": 0.005,
        "log_loss_change": -0.006,
        "log_loss_change_low": -0.008,
        "log_loss_change_high": -0.004,
        "mcnemar_p_value": 0.34,
        "confidence": 0.95,
    }
    return PairedComparison(**(values | changes))


def an_evaluation(**changes):
    values = {
        "model_name": "sentiment",
        "version": "b" * 20,
        "manifest_sha256": DIGEST,
        "champion_generation": 3,
        "champion_version": "c" * 20,
        "policy": DIGEST,
        "holdout_id": DIGEST,
        "overlap_rows": 0,
        "seen_by_champion_rows": 0,
        "positive_rows": 2500,
        "negative_rows": 2500,
        "artefact_bytes": 12_000_000,
        "challenger": some_metrics(),
        "champion": some_metrics(),
        "paired": some_comparison(),
        "check_rows": (),
    }
    return Evaluation(**(values | changes))


def a_first_model(**changes):
    nobody = {"champion_generation": 0, "champion_version": None, "champion": None, "paired": None}
    return an_evaluation(**(nobody | changes))


def a_check(**changes):
    values = {
        "version": "b" * 20,
        "model_sha256": DIGEST,
        "answers_alike": True,
        "why": "",
        "rows": 64,
        "largest_difference": 0.0,
        "latency_p95_milliseconds": 1.5,
        "load_seconds": 0.1,
        "peak_bytes": 300_000_000,
    }
    return ArtefactCheck(**(values | changes))


def decided(evaluation, check=None):
    return decide(evaluation, "key", POLICY, check or a_check())


def verdict_of(evaluation):
    return decided(evaluation).verdict


def test_a_surely_better_model_is_promoted():
    assert verdict_of(an_evaluation()) == "PROMOTE"


def test_a_first_model_needs_its_floors_only_and_the_decision_says_so():
    decision = decided(a_first_model())

    assert decision.verdict == "PROMOTE"
    assert "no champion to compare with" in decision.why


def test_a_model_that_is_not_surely_better_is_held():
    unsure = some_comparison(log_loss_change=-0.001, log_loss_change_high=0.0005)

    assert verdict_of(an_evaluation(paired=unsure)) == "HOLD"


def test_a_gain_of_exactly_zero_is_not_a_gain():
    assert verdict_of(an_evaluation(paired=some_comparison(log_loss_change_high=0.0))) == "HOLD"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"overlap_rows": 1}, "overlap"),
        ({"artefact_bytes": POLICY.max_artefact_bytes + 1}, "artefact_size"),
        ({"challenger": some_metrics(accuracy=0.8499)}, "accuracy_floor"),
        ({"challenger": some_metrics(recall_positive=0.7999)}, "recall_floor"),
        ({"challenger": some_metrics(recall_negative=0.7999)}, "recall_floor"),
        ({"challenger": some_metrics(log_loss=0.4001)}, "log_loss_ceiling"),
    ],
)
@pytest.mark.parametrize("build", [an_evaluation, a_first_model])
def test_every_floor_rejects_on_its_own(build, change, rule):
    decision = decided(build(**change))

    assert decision.verdict == "REJECT"
    assert rule in [found.rule for found in decision.rules if not found.is_passed]


@pytest.mark.parametrize(
    "change",
    [
        {"positive_rows": 499, "negative_rows": 500},
        {"positive_rows": 99},
        {"challenger": None},
        {"champion": None},
        {"paired": None},
    ],
)
def test_too_few_rows_or_a_missing_score_never_passes(change):
    assert verdict_of(an_evaluation(**change)) == "INCONCLUSIVE"


def test_a_first_model_without_scores_never_passes():
    assert verdict_of(a_first_model(challenger=None)) == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"answers_alike": False}, "clean_process"),
        ({"version": "e" * 20}, "clean_process"),
        ({"latency_p95_milliseconds": 100.1}, "latency"),
        ({"latency_p95_milliseconds": None}, "latency"),
        ({"peak_bytes": POLICY.max_memory_bytes + 1}, "memory"),
        ({"peak_bytes": None}, "memory"),
    ],
)
def test_a_model_that_a_consumer_could_not_use_is_rejected(change, rule):
    decision = decided(an_evaluation(), a_check(**change))

    assert decision.verdict == "REJECT"
    assert [found.rule for found in decision.rules if not found.is_passed] == [rule]


def test_a_model_that_was_never_tried_is_rejected():
    assert decide(an_evaluation(), "key", POLICY).verdict == "REJECT"


def test_measured_latencies_do_not_change_a_decision():
    slow, fast = (a_check(latency_p95_milliseconds=value) for value in (9.0, 1.0))

    assert decided(an_evaluation(), slow).to_bytes() == decided(an_evaluation(), fast).to_bytes()


def test_a_better_log_loss_does_not_excuse_significantly_more_errors():
    worse = some_comparison(
        only_champion_right=90, only_challenger_right=50, mcnemar_p_value=0.0009
    )

    assert verdict_of(an_evaluation(paired=worse)) == "REJECT"


def test_an_uneven_split_in_the_challengers_favour_is_no_reason_to_reject():
    better = some_comparison(
        only_champion_right=50, only_challenger_right=90, mcnemar_p_value=0.0009
    )

    assert verdict_of(an_evaluation(paired=better)) == "PROMOTE"


def test_a_better_average_does_not_excuse_a_worse_class():
    lopsided = some_metrics(recall_positive=0.93, recall_negative=0.8949)

    assert verdict_of(an_evaluation(challenger=lopsided)) == "REJECT"


def test_an_accuracy_drop_that_cannot_be_ruled_out_is_inconclusive():
    wide = some_comparison(accuracy_change_low=-0.0101)

    assert verdict_of(an_evaluation(paired=wide)) == "INCONCLUSIVE"


def test_a_log_loss_rise_that_cannot_be_ruled_out_is_inconclusive():
    wide = some_comparison(log_loss_change_low=-0.004, log_loss_change_high=0.0051)

    assert verdict_of(an_evaluation(paired=wide)) == "INCONCLUSIVE"


def test_a_log_loss_that_surely_rises_beyond_the_limit_is_rejected():
    worse = some_comparison(
        log_loss_change=0.006, log_loss_change_low=0.004, log_loss_change_high=0.008
    )

    assert verdict_of(an_evaluation(paired=worse)) == "REJECT"


def test_a_decision_names_the_champion_it_was_made_against_and_is_the_same_bytes_twice():
    first, second = (decided(an_evaluation()) for _ in range(2))

    assert (first.champion_generation, first.champion_version) == (3, "c" * 20)
    assert first.to_bytes() == second.to_bytes()


def test_every_rule_of_a_full_comparison_says_a_sentence_with_a_number():
    decision = decided(an_evaluation())

    assert len({rule.rule for rule in decision.rules}) == 16
    for rule in decision.rules:
        assert rule.sentence.endswith(".")
        assert rule.rule in {"complete", "clean_process"} or any(
            letter.isdigit() for letter in rule.sentence
        )
