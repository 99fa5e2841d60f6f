"""The settings of the loop: names, types, units and ranges. `core.config` reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Share = Field(ge=0.0, le=1.0)
MOST_DAYS = 36_500  # a century: any date minus this is still a valid date


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StoreSettings(_Section):
    reviews_bucket: str = Field(min_length=3)
    models_bucket: str = Field(min_length=3)
    connect_timeout_seconds: float = Field(gt=0)
    read_timeout_seconds: float = Field(gt=0)
    max_attempts: int = Field(ge=1)
    deadline_seconds: float = Field(gt=0)
    min_bytes_per_second: int = Field(gt=0)
    max_listed_objects: int = Field(ge=1)


class IntakeSettings(_Section):
    max_delivery_bytes: int = Field(gt=0)
    max_decoded_bytes: int = Field(gt=0)
    max_rows: int = Field(gt=0)
    max_row_chars: int = Field(gt=0)
    max_value_bytes: int = Field(gt=0)
    max_columns: int = Field(ge=6)
    max_deliveries: int = Field(ge=1, le=1024)  # Airflow maps over at most 1,024
    max_decoder_memory_bytes: int = Field(gt=0)
    max_decoder_cpu_seconds: int = Field(gt=0)
    max_decoder_wall_seconds: float = Field(gt=0)


Name = Annotated[str, Field(min_length=1)]
Names = tuple[Name, ...]


class ColumnSettings(_Section):
    """What upstream calls each column: the first of these names that a file has."""

    review_id: Names
    text: Annotated[Names, Field(min_length=1)]
    label: Annotated[Names, Field(min_length=1)]
    written_on: Names
    movie_id: Names
    rating: Names
    date_formats: Names

    @model_validator(mode="after")
    def _names_once(self) -> ColumnSettings:
        names = [name for column, names in self if column != "date_formats" for name in names]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"{doubled} stand for more than one column")
        return self


class LabelSettings(_Section):
    """What upstream writes for each label."""

    positive: Annotated[Names, Field(min_length=1)]
    negative: Annotated[Names, Field(min_length=1)]
    neutral: Names
    positive_from_stars: float = Field(ge=0)
    negative_to_stars: float = Field(ge=0)

    @model_validator(mode="after")
    def _are_apart(self) -> LabelSettings:
        lists = (self.positive, self.negative, self.neutral)
        names = [name for part in lists for name in {text.strip().casefold() for text in part}]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"{doubled} stand for more than one label")
        if self.positive_from_stars and self.negative_to_stars >= self.positive_from_stars:
            raise ValueError("negative_to_stars must be less than positive_from_stars")
        return self


class ValidationSettings(_Section):
    min_rows: int = Field(ge=1)
    max_quarantined_share: float = Share
    min_text_chars: int = Field(ge=1)
    max_text_chars: int = Field(ge=1)
    min_positive_share: float = Share
    max_positive_share: float = Share
    warn_positive_share_low: float = Share
    warn_positive_share_high: float = Share
    balance_min_rows: int = Field(ge=1)
    max_future_days: int = Field(ge=0, le=MOST_DAYS)
    late_window_days: int = Field(ge=0, le=MOST_DAYS)
    max_age_days: int = Field(ge=0, le=MOST_DAYS)
    max_known_share: float = Share
    duplicate_nights: int = Field(ge=0, le=MOST_DAYS)
    trailing_nights: int = Field(ge=0, le=MOST_DAYS)
    history_min_deliveries: int = Field(ge=1)
    warn_row_count_factor: float = Field(ge=1)
    max_row_count_factor: float = Field(ge=1)
    drift_min_rows: int = Field(ge=1)
    warn_positive_share_change: float = Share
    max_positive_share_change: float = Share
    warn_length_psi: float = Field(gt=0)
    max_length_psi: float = Field(gt=0)
    warn_vocabulary_psi: float = Field(gt=0)
    max_vocabulary_psi: float = Field(gt=0)
    warn_agreement_drop: float = Share
    max_agreement_drop: float = Share


class SplitSettings(_Section):
    holdout_share: float = Field(gt=0, lt=1)
    selection_share: float = Field(gt=0, lt=1)
    salt: str = Field(min_length=1)


class ModelSettings(_Section):
    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")
    seed: int = Field(ge=0, lt=2**32)


class TrainingSettings(_Section):
    candidates: tuple[str, ...] = Field(min_length=1)
    min_training_rows: int = Field(ge=2)
    folds: int = Field(ge=2, le=20)
    keep_share: float = Field(gt=0, le=1)
    max_settings: int = Field(ge=1)


GridValues = Annotated[tuple[int | float | str | bool, ...], Field(min_length=1)]
View = dict[str, int]


class CandidateSettings(_Section):
    factory: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    parameters: dict[str, int | float | str | bool | tuple[View, ...]] = Field(default_factory=dict)
    grid: dict[str, GridValues] = Field(default_factory=dict)


class EvaluationSettings(_Section):
    """Absolute paths once loaded; in a file they are relative to it, or to ``config/``."""

    golden_file: Path
    behaviour_folder: Path


class VerificationSettings(_Section):
    max_wall_seconds: float = Field(gt=0)
    max_cpu_seconds: int = Field(gt=0)
    max_address_bytes: int = Field(gt=0)


PublicKey = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class RetentionSettings(_Section):
    deletes: bool
    unpromoted_versions: int = Field(ge=1)
    unpromoted_days: int = Field(ge=1, le=MOST_DAYS)
    report_days: int = Field(ge=1, le=MOST_DAYS)
    feature_days: int = Field(ge=1, le=MOST_DAYS)
    rollup_days: int = Field(ge=1, le=MOST_DAYS)
    most_objects: int = Field(ge=1, le=100_000)


class TrustSettings(_Section):
    trusted_keys: tuple[PublicKey, ...] = ()


class GateSettings(_Section):
    # Enough reviews to distinguish two models
    min_holdout_rows: int = Field(ge=2)
    min_rows_per_class: int = Field(ge=1)
    newest_rows: int = Field(ge=1)
    min_newest_rows: int = Field(ge=1)
    slices: tuple[Literal["length", "negation", "contrast", "rating", "source"], ...]
    min_slice_rows: int = Field(ge=1)
    # Floors, whoever the champion is
    max_overlap_share: float = Share
    min_accuracy: float = Share
    min_recall: float = Share
    max_log_loss: float = Field(gt=0)
    max_calibration_error: float = Share
    min_golden_accuracy: float = Share
    max_behaviour_excess: float = Share
    max_artefact_bytes: int = Field(gt=0)
    max_scoring_cpu_milliseconds: float = Field(gt=0)
    max_memory_bytes: int = Field(gt=0)
    # Against the champion and the pinned reference
    max_accuracy_drop: float = Share
    max_log_loss_rise: float = Field(ge=0)
    max_recall_drop: float = Share
    max_slice_drop: float = Share
    max_golden_drop: float = Share
    max_behaviour_drop: float = Share
    max_capability_drop: float = Share
    significance: float = Field(gt=0, lt=1)
    confidence: float = Field(gt=0.5, lt=1)
    bootstrap_repeats: int = Field(ge=100)
    # What follows
    refresh_after_nights: int = Field(ge=1)
    ask_for_first_model: bool
    ask_when_inconclusive: bool


class MonitoringSettings(_Section):
    window_nights: int = Field(ge=1, le=366)
    trailing_nights: int = Field(ge=1, le=366)
    min_rows: int = Field(ge=50)
    reference_rows: int = Field(ge=100)
    min_coverage: float = Share
    # Chance: false verdicts per window
    drift_significance: float = Field(gt=0, lt=0.5)
    fading_significance: float = Field(gt=0, lt=0.5)
    # Floors: smaller differences do not matter, however certain they are
    min_accuracy_loss: float = Share
    min_score_distance: float = Share
    min_positive_change: float = Share
    min_label_change: float = Share
    min_length_distance: float = Share
    min_unseen_rise: float = Share
    min_word_distance: float = Field(ge=0)
    min_distinguishable: float = Field(ge=0, le=0.5)


class TriggerSettings(_Section):
    on_new_reviews: bool
    windows: int = Field(ge=1, le=60)
    bad_windows: int = Field(ge=1, le=60)
    new_rows: int = Field(ge=1)
    max_age_days: float = Field(gt=0)
    cool_down_hours: float = Field(ge=0)
    retry_days: float = Field(ge=0, le=366)
    poison_nights: int = Field(ge=1, le=366)

    @model_validator(mode="after")
    def _check_counts(self) -> Self:
        if self.bad_windows > self.windows:
            raise ValueError("bad_windows must be at most windows")
        return self


class ApprovalSettings(_Section):
    timeout_hours: float = Field(gt=0, le=24 * 365)
    approvers: tuple[Annotated[str, Field(min_length=1)], ...] = ()


class ChannelSettings(_Section):
    is_enabled: bool
    severities: tuple[AlertSeverity, ...] = Field(min_length=1)
    kinds: tuple[AlertName, ...] = ()
    timeout_seconds: float = Field(gt=0, le=60)


MailAddress = Annotated[str, Field(pattern=r"^[^\s@<>,]+@[^\s@<>,]+$")]


class MailSettings(ChannelSettings):
    sender: Literal[""] | MailAddress
    recipients: tuple[MailAddress, ...] = ()


class AlertSettings(_Section):
    airflow_url: str = Field(pattern=r"^(|https?://\S+)$")
    ingest_late_minutes: float = Field(gt=0)
    retrain_late_minutes: float = Field(gt=0)
    retry_after_minutes: float = Field(ge=0)
    max_attempts: int = Field(ge=1, le=100)
    mail: MailSettings
    slack: ChannelSettings
    webhook: ChannelSettings


Address = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+$")]


class BakeSettings(_Section):
    deadline_seconds: float = Field(gt=0)
    min_seconds: float = Field(ge=0)
    max_seconds: float = Field(gt=0)
    every_seconds: float = Field(gt=0)
    timeout_seconds: float = Field(gt=0, le=60)
    min_requests: int = Field(ge=1)
    needs_requests: bool
    max_error_share: float = Share
    max_p99_milliseconds: float = Field(gt=0)


class PredictionLogSettings(_Section):
    is_enabled: bool
    keeps_texts: bool
    batch_rows: int = Field(ge=1, le=1_000_000)
    batch_seconds: float = Field(gt=0)
    max_waiting_rows: int = Field(ge=1)


class ShadowSettings(_Section):
    version: str = Field(pattern=r"^(|[0-9a-f]{20})$")
    share: float = Share
    max_waiting_requests: int = Field(ge=1)


class ServingSettings(_Section):
    # What the service does
    poll_seconds: float = Field(gt=0)
    refused_retry_seconds: float = Field(gt=0)
    max_body_bytes: int = Field(gt=0)
    max_received_bytes: int = Field(gt=0)
    max_body_seconds: float = Field(gt=0)
    max_texts: int = Field(ge=1)
    max_text_chars: int = Field(ge=1)
    max_requests: int = Field(ge=1)
    drain_seconds: float = Field(ge=0)
    stop_seconds: float = Field(gt=0)
    # What the loop asks of the services
    addresses: tuple[Address, ...] = ()
    bake: BakeSettings
    prediction_log: PredictionLogSettings
    shadow: ShadowSettings


class SourceSettings(_Section):
    """What is declared of one source; ``columns`` and ``labels`` replace single keys of theirs."""

    expected_every_days: int | None = Field(default=None, ge=1, le=MOST_DAYS)
    columns: dict[str, Names] = Field(default_factory=dict)
    labels: dict[str, Names | float] = Field(default_factory=dict)


class Settings(_Section):
    """All sections of the configuration file."""

    store: StoreSettings
    intake: IntakeSettings
    columns: ColumnSettings
    labels: LabelSettings
    validation: ValidationSettings
    split: SplitSettings
    model: ModelSettings
    training: TrainingSettings
    candidates: dict[str, CandidateSettings]
    evaluation: EvaluationSettings
    verification: VerificationSettings
    gate: GateSettings
    monitoring: MonitoringSettings
    triggers: TriggerSettings
    approval: ApprovalSettings
    trust: TrustSettings
    alerts: AlertSettings
    retention: RetentionSettings
    serving: ServingSettings
    sources: dict[str, SourceSettings] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sources_can_be_read(self) -> Settings:
        for source in self.sources:
            try:
                self.columns_of(source)
                self.labels_of(source)
            except ValidationError as error:
                fault = error.errors()[0]
                place = ".".join(map(str, ("sources", source, *fault["loc"])))
                raise ValueError(f"{place}: {fault['msg']}") from None
        return self

    def columns_of(self, source: str) -> ColumnSettings:
        """What a source calls its columns."""
        own = self.sources[source].columns if source in self.sources else {}
        return ColumnSettings.model_validate({**self.columns.model_dump(), **own})

    def labels_of(self, source: str) -> LabelSettings:
        """What a source writes for each label."""
        own = self.sources[source].labels if source in self.sources else {}
        return LabelSettings.model_validate({**self.labels.model_dump(), **own})


AlertName = Literal[
    "held_delivery",
    "poison_alarm",
    "missing_delivery",
    "set_aside_delivery",
    "ingest_incomplete",
    "retrain_failed",
    "approval_waiting",
    "champion_put_back",
    "bake_inconclusive",
    "champion_log_broken",
    "rollback_failed",
    "replay_failed",
    "housekeeping_failed",
    "night_late",
    "model_fading",
    "input_drift",
    "monitor_failed",
    "dead_channel",
    "test_alert",
]
AlertSeverity = Literal["critical", "warning"]  # wake somebody now, or be read in the morning
ChannelName = Literal["mail", "slack", "webhook"]
