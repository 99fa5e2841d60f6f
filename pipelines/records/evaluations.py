"""The records on which the gate decides: scores, comparisons, and the check of the model file.

Numbers are rounded to `DECIMALS` places before they are recorded: the last bits of a sum may differ
between processors, and a record must not.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from pipelines.core import keys
from pipelines.core.record import ModelRecord, Record, Sha256, VersionId
from pipelines.core.settings.model import SENTIMENT

DECIMALS = 9

SetName = Literal["holdout", "newest", "golden"]
CapabilityKind = Literal["minimum_functionality", "invariance", "direction"]

Answer = float | tuple[float, ...]
"""A model's answer to one text: the probability of the second of two classes, or that of each."""


class CalibrationBin(Record):
    """Reviews whose probability lies in one tenth of [0, 1], and how many are really positive.

    For more than two classes it is the probability of the predicted class, and how many are right.
    """

    rows: int
    mean_probability: float
    positive_share: float


class CommonMetrics(Record):
    """Scores of one model on one set of reviews. Higher is better except for losses and errors."""

    rows: int
    accuracy: float
    f1: float
    roc_auc: float
    log_loss: float  # nats per review
    calibration_error: float  # expected calibration error, in [0, 1]
    calibration: tuple[CalibrationBin, ...]  # bins that hold reviews, by probability


class Metrics(CommonMetrics):
    """For two classes. The positive one is the second."""

    recall_positive: float
    recall_negative: float
    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int

    @property
    def recalls(self) -> tuple[float, ...]:
        """By class."""
        return self.recall_negative, self.recall_positive

    @property
    def confusion(self) -> tuple[tuple[int, ...], ...]:
        """Reviews by true class, and then by predicted class."""
        return (
            (self.true_negative, self.false_positive),
            (self.false_negative, self.true_positive),
        )


class ClassMetrics(CommonMetrics):
    """For more than two classes. F1 and area under the curve are means of each against the rest."""

    confusion: tuple[tuple[int, ...], ...]  # reviews by true class, and then by predicted class

    @property
    def recalls(self) -> tuple[float, ...]:
        """By class."""
        lines = enumerate(self.confusion)
        return tuple(round(line[number] / sum(line), DECIMALS) for number, line in lines)


AnyMetrics = Metrics | ClassMetrics


class PairedComparison(Record):
    """Two models on the same rows; changes are challenger minus the other one.

    ``low`` and ``high`` are one-sided bounds at ``confidence`` each. ``detectable`` is the size of
    a true change that so many rows would show four times out of five.
    """

    rows: int
    only_other_right: int
    only_challenger_right: int
    accuracy_change: float
    accuracy_change_low: float
    accuracy_change_high: float
    accuracy_detectable: float
    log_loss_change: float
    log_loss_change_low: float
    log_loss_change_high: float
    log_loss_detectable: float
    mcnemar_p_value: float  # exact, two-sided
    confidence: float


class SetScores(Record):
    """All models on one evaluation set. A model's scores are None if one is not a number."""

    name: SetName
    set_id: Sha256  # of the texts: equal ids mean the same reviews
    # Reviews of each of two classes, or else of each class
    positive_rows: int | None = Field(default=None, exclude_if=lambda rows: rows is None)
    negative_rows: int | None = Field(default=None, exclude_if=lambda rows: rows is None)
    class_rows: tuple[int, ...] = Field(default=(), exclude_if=lambda rows: not rows)
    challenger: AnyMetrics | None
    champion: AnyMetrics | None
    reference: AnyMetrics | None
    against_champion: PairedComparison | None
    against_reference: PairedComparison | None

    @model_validator(mode="after")
    def _counts_each_class_once(self) -> Self:
        has_count = {self.positive_rows is not None, self.negative_rows is not None}
        if has_count != {not self.class_rows}:
            raise ValueError("a set counts the reviews of two classes, or else of each class")
        return self

    @property
    def rows_by_class(self) -> tuple[int, ...]:
        return self.class_rows or (self.negative_rows or 0, self.positive_rows or 0)

    @property
    def rows(self) -> int:
        return sum(self.rows_by_class)


class SliceScore(Record):
    """One named part of the holdout, e.g. ``rating=mild``."""

    name: str
    rows: int
    challenger_accuracy: float | None
    champion_accuracy: float | None
    against_champion: PairedComparison | None


class CapabilityScore(Record):
    """How often a model fails one capability of the behavioural suite."""

    capability: str
    kind: CapabilityKind
    cases: int
    failures: int
    max_failure_share: float

    @property
    def failure_share(self) -> float:
        return self.failures / self.cases


class BehaviourScores(Record):
    """One model on the whole behavioural suite, capabilities by name."""

    suite: Sha256
    capabilities: tuple[CapabilityScore, ...]


class CheckRow(Record):
    """The answer to one holdout row, so that a consumer can prove it runs the same model."""

    partition: Sha256
    row: int
    probability: Answer


class GateRecord(ModelRecord):
    """A record about a version at the gate, against one champion under one policy."""

    version: VersionId
    champion_generation: int  # 0: there was no champion
    policy: Sha256  # of the gate's settings, golden set, behavioural suite and code

    def gate_key(self, name: str) -> str:
        return keys.gate_key(
            self.model_name, self.version, self.champion_generation, self.policy, name
        )


class Evaluation(GateRecord):
    """Challenger, champion and pinned reference scored on the same rows in the same run."""

    schema_version: Literal[2] = 2
    manifest_sha256: Sha256
    champion_version: str | None
    reference_version: str | None  # None without a champion
    overlap_rows: int  # holdout texts that the challenger was trained on, word for word or nearly
    seen_rows: int  # holdout texts left out because an older model was trained on them
    champion_age_nights: int | None  # newest night here minus newest night the champion knows
    artefact_bytes: int
    holdout: SetScores
    newest: SetScores
    golden: SetScores
    slices: tuple[SliceScore, ...]
    behaviour: BehaviourScores | None  # None: a probability was not a number
    champion_behaviour: BehaviourScores | None
    check_rows: tuple[CheckRow, ...]
    golden_probabilities: tuple[Answer, ...]
    # Of a model of stars; empty: it answers with the label.
    class_names: tuple[str, ...] = Field(default=(), exclude_if=lambda names: not names)

    @property
    def names(self) -> tuple[str, ...]:
        """What the classes are called."""
        return self.class_names or SENTIMENT

    @property
    def object_key(self) -> str:
        return self.gate_key(keys.EVALUATION)


class ArtefactCheck(GateRecord):
    """What a clean process measured of a model file, so two checks never have the same bytes."""

    schema_version: Literal[2] = 2
    evaluation_sha256: Sha256
    model_sha256: Sha256
    answers_alike: bool
    why: str
    rows: int
    largest_difference: float | None
    scoring_cpu_milliseconds: float | None  # of one review at a time, 95th percentile
    load_seconds: float | None
    peak_bytes: int | None  # resident memory of the whole process

    @property
    def object_key(self) -> str:
        return self.gate_key(keys.CHECK)
