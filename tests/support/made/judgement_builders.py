"""An evaluation in which everything is well, and its parts, for tests to spoil one at a time."""

from __future__ import annotations

from typing import Any

from pipelines.records.decisions import Decision
from pipelines.records.evaluations import (
    ArtefactCheck,
    BehaviourScores,
    CapabilityScore,
    ClassMetrics,
    Evaluation,
    Metrics,
    PairedComparison,
    SetScores,
    SliceScore,
)

DIGEST = "a" * 64
VERSION, CHAMPION, REFERENCE = "b" * 20, "c" * 20, "d" * 20


def some_metrics(**changes: Any) -> Metrics:
    values = {
        "rows": 5000,
        "accuracy": 0.91,
        "f1": 0.91,
        "roc_auc": 0.97,
        "log_loss": 0.22,
        "calibration_error": 0.01,
        "recall_positive": 0.91,
        "recall_negative": 0.91,
        "true_positive": 2275,
        "false_positive": 225,
        "true_negative": 2275,
        "false_negative": 225,
        "calibration": (),
    }
    return Metrics(**(values | changes))


NAMES = ("poor", "middling", "great")
CONFUSION = ((800, 150, 50), (300, 1400, 300), (50, 150, 800))


def some_class_metrics(**changes: Any) -> ClassMetrics:
    """Three classes, of 1,000, 2,000 and 1,000 reviews; recalls are 0.8, 0.7 and 0.8."""
    values = {
        "rows": 4000,
        "accuracy": 0.75,
        "f1": 0.75,
        "roc_auc": 0.9,
        "log_loss": 0.6,
        "calibration_error": 0.01,
        "confusion": CONFUSION,
        "calibration": (),
    }
    return ClassMetrics(**(values | changes))


def a_set_of_classes(name: str = "holdout", **changes: Any) -> SetScores:
    metrics = dict.fromkeys(("challenger", "champion", "reference"), some_class_metrics())
    rows = {"positive_rows": None, "negative_rows": None, "class_rows": (1000, 2000, 1000)}
    return some_set(name, **(rows | metrics | changes))


def an_evaluation_of_classes(**changes: Any) -> Evaluation:
    """As `an_evaluation`, of a model with three classes."""
    sets = {name: a_set_of_classes(name) for name in ("holdout", "newest", "golden")}
    return an_evaluation(**({"class_names": NAMES} | sets | changes))


def some_comparison(**changes: Any) -> PairedComparison:
    """Reliably better in log loss, a little better in accuracy."""
    values = {
        "rows": 5000,
        "only_other_right": 40,
        "only_challenger_right": 50,
        "accuracy_change": 0.002,
        "accuracy_change_low": -0.001,
        "accuracy_change_high": 0.005,
        "accuracy_detectable": 0.0047,
        "log_loss_change": -0.006,
        "log_loss_change_low": -0.008,
        "log_loss_change_high": -0.004,
        "log_loss_detectable": 0.003,
        "mcnemar_p_value": 0.34,
        "confidence": 0.95,
    }
    return PairedComparison(**(values | changes))


def some_set(name: str = "holdout", **changes: Any) -> SetScores:
    values = {
        "name": name,
        "set_id": DIGEST,
        "positive_rows": 2500,
        "negative_rows": 2500,
        "challenger": some_metrics(),
        "champion": some_metrics(),
        "reference": some_metrics(),
        "against_champion": some_comparison(),
        "against_reference": some_comparison(),
    }
    return SetScores(**(values | changes))


def alone(scores: SetScores) -> SetScores:
    """The same set without a champion."""
    nobody = ("champion", "reference", "against_champion", "against_reference")
    return scores.model_copy(update=dict.fromkeys(nobody))


def some_slice(name: str = "rating=mild", **changes: Any) -> SliceScore:
    values = {
        "name": name,
        "rows": 1500,
        "challenger_accuracy": 0.85,
        "champion_accuracy": 0.85,
        "against_champion": some_comparison(rows=1500),
    }
    return SliceScore(**(values | changes))


def some_behaviour(**failures: int) -> BehaviourScores:
    """Two capabilities of twenty cases each; ``negation=5`` fails five of them."""
    return BehaviourScores(
        suite=DIGEST,
        capabilities=tuple(
            CapabilityScore(
                capability=name,
                kind="minimum_functionality",
                cases=20,
                failures=failures.get(name, 0),
                max_failure_share=0.1,
            )
            for name in ("negation", "vocabulary")
        ),
    )


def an_evaluation(**changes: Any) -> Evaluation:
    """A challenger that is reliably better than champion and reference."""
    values = {
        "model_name": "sentiment",
        "version": VERSION,
        "manifest_sha256": DIGEST,
        "champion_generation": 3,
        "champion_version": CHAMPION,
        "reference_version": REFERENCE,
        "policy": DIGEST,
        "overlap_rows": 0,
        "seen_rows": 0,
        "champion_age_nights": 1,
        "artefact_bytes": 12_000_000,
        "holdout": some_set(),
        "newest": some_set("newest"),
        "golden": some_set("golden"),
        "slices": (some_slice("rating=mild"), some_slice("rating=extreme")),
        "behaviour": some_behaviour(),
        "champion_behaviour": some_behaviour(),
        "check_rows": (),
        "golden_probabilities": (),
    }
    return Evaluation(**(values | changes))


def a_first_model(**changes: Any) -> Evaluation:
    """The same challenger when there is no champion."""
    evaluation = an_evaluation(**changes)
    return evaluation.model_copy(
        update={
            "champion_generation": 0,
            "champion_version": None,
            "reference_version": None,
            "champion_age_nights": None,
            "champion_behaviour": None,
            "holdout": alone(evaluation.holdout),
            "newest": alone(evaluation.newest),
            "golden": alone(evaluation.golden),
            "slices": tuple(
                part.model_copy(update={"champion_accuracy": None, "against_champion": None})
                for part in evaluation.slices
            ),
        }
    )


def a_decision_on(evaluation: Evaluation, **changes: Any) -> Decision:
    """A decision to promote, with no rules unless given; it is not signed."""
    values = {
        "model_name": evaluation.model_name,
        "version": evaluation.version,
        "manifest_sha256": evaluation.manifest_sha256,
        "evaluation_sha256": DIGEST,
        "champion_generation": evaluation.champion_generation,
        "champion_version": evaluation.champion_version,
        "reference_version": evaluation.reference_version,
        "policy": evaluation.policy,
        "verdict": "PROMOTE",
        "approval": "not_needed",
        "becomes_reference": True,
        "why": "Because.",
        "rules": (),
    }
    return Decision(**(values | changes))


def a_check(**changes: Any) -> ArtefactCheck:
    values = {
        "model_name": "sentiment",
        "version": VERSION,
        "champion_generation": 3,
        "policy": DIGEST,
        "evaluation_sha256": DIGEST,
        "model_sha256": DIGEST,
        "answers_alike": True,
        "why": "",
        "rows": 64,
        "largest_difference": 0.0,
        "scoring_cpu_milliseconds": 1.5,
        "load_seconds": 0.1,
        "peak_bytes": 300_000_000,
    }
    return ArtefactCheck(**(values | changes))
