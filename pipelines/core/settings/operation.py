"""Settings of what follows: monitoring, triggers, approval, alerts, retention, serving."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipelines.core.settings.section import MOST_DAYS, Section, Share

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


class RetentionSettings(Section):
    deletes: bool
    unpromoted_versions: int = Field(ge=1)
    unpromoted_days: int = Field(ge=1, le=MOST_DAYS)
    report_days: int = Field(ge=1, le=MOST_DAYS)
    feature_days: int = Field(ge=1, le=MOST_DAYS)
    rollup_days: int = Field(ge=1, le=MOST_DAYS)
    most_objects: int = Field(ge=1, le=100_000)


class MonitoringSettings(Section):
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


class TriggerSettings(Section):
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


class ApprovalSettings(Section):
    timeout_hours: float = Field(gt=0, le=24 * 365)
    approvers: tuple[Annotated[str, Field(min_length=1)], ...] = ()


class ChannelSettings(Section):
    is_enabled: bool
    severities: tuple[AlertSeverity, ...] = Field(min_length=1)
    kinds: tuple[AlertName, ...] = ()
    timeout_seconds: float = Field(gt=0, le=60)


MailAddress = Annotated[str, Field(pattern=r"^[^\s@<>,]+@[^\s@<>,]+$")]


class MailSettings(ChannelSettings):
    sender: Literal[""] | MailAddress
    recipients: tuple[MailAddress, ...] = ()


class AlertSettings(Section):
    airflow_url: str = Field(pattern=r"^(|https?://\S+)$")
    ingest_late_minutes: float = Field(gt=0)
    retrain_late_minutes: float = Field(gt=0)
    retry_after_minutes: float = Field(ge=0)
    max_attempts: int = Field(ge=1, le=100)
    mail: MailSettings
    slack: ChannelSettings
    webhook: ChannelSettings


Address = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+$")]


class BakeSettings(Section):
    deadline_seconds: float = Field(gt=0)
    min_seconds: float = Field(ge=0)
    max_seconds: float = Field(gt=0)
    every_seconds: float = Field(gt=0)
    timeout_seconds: float = Field(gt=0, le=60)
    min_requests: int = Field(ge=1)
    needs_requests: bool
    max_error_share: float = Share
    max_cpu_milliseconds: float = Field(gt=0)


class PredictionLogSettings(Section):
    is_enabled: bool
    keeps_texts: bool
    batch_rows: int = Field(ge=1, le=1_000_000)
    batch_seconds: float = Field(gt=0)
    max_waiting_rows: int = Field(ge=1)


class ExportSettings(Section):
    mlflow_url: str = Field(pattern=r"^(|https?://[^\s?#@]+)$")
    # An address that is not http or https would be taken for a file; "file:///x" is one of them.
    openlineage: str = Field(pattern=r"^(https?://[^\s?#@]+|[^:\s][^:]*|)$")
    timeout_seconds: float = Field(gt=0, le=600)
    max_seconds: float = Field(gt=0, le=3000)

    @property
    def takes_champions(self) -> bool:
        return bool(self.mlflow_url or self.openlineage)


class WorkerSettings(Section):
    large_pod_template: str = ""


class ShadowSettings(Section):
    version: str = Field(pattern=r"^(|[0-9a-f]{20})$")
    share: float = Share
    max_waiting_requests: int = Field(ge=1)


class ServingSettings(Section):
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
