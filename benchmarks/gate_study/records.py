"""Real records for the real gate: what a benchmark has in memory, for `gate.decide.decide`.

Two parts of a record cannot be had for models that never became a file, and are the same passing
constants for every challenger: the scores on the golden set and in the behavioural suite, and what
the clean process measured. So these rules never stop anything here, and the gate has fewer ways to
be right than at night.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.gate_study.reviews import Mask
from pipelines.core.settings.model import GateSettings
from pipelines.evaluation.scores import Scored, set_scores, slice_scores
from pipelines.gate import decide
from pipelines.records.decisions import Decision
from pipelines.records.evaluations import (
    ArtefactCheck,
    BehaviourScores,
    CapabilityScore,
    Evaluation,
    Metrics,
    PairedComparison,
    SetName,
    SetScores,
)

DIGEST = "0" * 64
CHALLENGER, CHAMPION, REFERENCE = "a" * 20, "b" * 20, "c" * 20

GOLDEN_METRICS = Metrics(
    rows=200, accuracy=0.9, f1=0.9, roc_auc=0.96, log_loss=0.25, calibration_error=0.02,
    recall_positive=0.9, recall_negative=0.9, true_positive=90, false_positive=10,
    true_negative=90, false_negative=10, calibration=(),
)  # fmt: skip
_NO_CHANGE = PairedComparison(
    rows=200, only_other_right=0, only_challenger_right=0, accuracy_change=0.0,
    accuracy_change_low=0.0, accuracy_change_high=0.0, accuracy_detectable=0.0,
    log_loss_change=0.0, log_loss_change_low=0.0, log_loss_change_high=0.0,
    log_loss_detectable=0.0, mcnemar_p_value=1.0, confidence=0.95,
)  # fmt: skip
GOLDEN = SetScores(
    name="golden", set_id=DIGEST, positive_rows=100, negative_rows=100,
    challenger=GOLDEN_METRICS, champion=GOLDEN_METRICS, reference=GOLDEN_METRICS,
    against_champion=_NO_CHANGE, against_reference=_NO_CHANGE,
)  # fmt: skip
BEHAVIOUR = BehaviourScores(
    suite=DIGEST,
    capabilities=(
        CapabilityScore(
            capability="benchmark",
            kind="minimum_functionality",
            cases=20,
            failures=0,
            max_failure_share=0.1,
        ),
    ),
)
CHECK = ArtefactCheck(
    model_name="sentiment",
    version=CHALLENGER,
    champion_generation=1,
    policy=DIGEST,
    evaluation_sha256=DIGEST,
    model_sha256=DIGEST,
    answers_alike=True,
    why="",
    rows=64,
    largest_difference=0.0,
    scoring_cpu_milliseconds=1.0,
    load_seconds=0.1,
    peak_bytes=250_000_000,
)


@dataclass(frozen=True, eq=False)
class Case:
    """One challenger before the gate, with everything that is known of it.

    ``newest`` and ``slices`` mark reviews of ``scored``. Without ``has_own_reference`` the pinned
    reference is the champion, and ``scored`` needs none.
    """

    scored: Scored
    newest: Mask
    slices: Mapping[str, Mask]
    overlap_rows: int = 0
    age_nights: int = 1
    has_own_reference: bool = False


def evaluation_of(case: Case, policy: GateSettings) -> Evaluation:
    """The record that `pipelines.evaluation.evaluate` would write."""
    return Evaluation(
        model_name="sentiment",
        version=CHALLENGER,
        manifest_sha256=DIGEST,
        champion_generation=1,
        champion_version=CHAMPION,
        reference_version=REFERENCE if case.has_own_reference else CHAMPION,
        policy=DIGEST,
        overlap_rows=case.overlap_rows,
        seen_rows=0,
        champion_age_nights=case.age_nights,
        artefact_bytes=12_500_000,
        holdout=_scores("holdout", case.scored, case, policy),
        newest=_scores("newest", case.scored.take(case.newest), case, policy),
        golden=GOLDEN,
        slices=slice_scores(case.scored, case.slices, policy),
        behaviour=BEHAVIOUR,
        champion_behaviour=BEHAVIOUR,
        check_rows=(),
        golden_probabilities=(),
    )


def _scores(name: SetName, scored: Scored, case: Case, policy: GateSettings) -> SetScores:
    """The scores of a set; a reference that is the champion is not compared with twice."""
    if case.has_own_reference:
        return set_scores(name, DIGEST, scored, policy)
    alone = Scored(scored.labels, scored.challenger, scored.champion)
    scores = set_scores(name, DIGEST, alone, policy)
    same = {"reference": scores.champion, "against_reference": scores.against_champion}
    return scores.model_copy(update=same)


def decided(evaluation: Evaluation, policy: GateSettings) -> Decision:
    """The gate's own decision."""
    return decide.decide(evaluation, policy, CHECK)


def at_age(evaluation: Evaluation, nights: int) -> Evaluation:
    """The same scores with a champion that lags behind by so many nights."""
    return evaluation.model_copy(update={"champion_age_nights": nights})
