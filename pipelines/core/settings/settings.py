"""All settings of the loop. `core.config` reads them from its files."""

from __future__ import annotations

from pydantic import Field, ValidationError, model_validator

from pipelines.core.settings.data import (
    ColumnSettings,
    IntakeSettings,
    LabelSettings,
    SourceSettings,
    SplitSettings,
    StoreSettings,
    ValidationSettings,
)
from pipelines.core.settings.model import (
    CandidateSettings,
    EvaluationSettings,
    GateSettings,
    ModelSettings,
    TrainingSettings,
    TrustSettings,
    VerificationSettings,
)
from pipelines.core.settings.operation import (
    AlertSettings,
    ApprovalSettings,
    ExportSettings,
    MonitoringSettings,
    RetentionSettings,
    ServingSettings,
    TriggerSettings,
    WorkerSettings,
)
from pipelines.core.settings.section import Section


class Settings(Section):
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
    exports: ExportSettings
    workers: WorkerSettings
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
