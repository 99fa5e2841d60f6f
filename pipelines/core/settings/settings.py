"""All settings of the loop. `core.config` reads them from its files."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from pipelines.core.errors import ConfigError
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
from pipelines.core.settings.section import Section, faults, overlay

# The tables that a model of [models] may have of its own, besides the keys of [model].
OF_A_MODEL: Final = (
    "split", "training", "candidates", "evaluation", "verification", "gate", "monitoring",
    "triggers", "approval", "serving",
)  # fmt: skip
# What no other model has: services that answer with the first one, and a version of it.
_NOT_INHERITED: Final = {"serving": {"addresses": [], "shadow": {"version": ""}}}
FIRST: Final = "sentiment"  # begins the ids of the first model's DAGs, whatever its name is
KINDS: Final = ("retrain", "monitor", "rollback", "release")  # end the ids of a model's DAGs
_TAKEN: Final[dict[str, str]] = {
    FIRST: "the DAGs of the first model",
    "probes": "probes of the store",
}


def command(words: str, model: str) -> str:
    """A command about a model, for people to copy."""
    option = "" if model == FIRST else f" --model {model}"
    return f"python -m pipelines {words}{option}"


class Settings(Section):
    """All sections of the configuration file.

    ``models`` holds what the models after the first lay over it; `of` gives the settings of one.
    """

    _dags: str = PrivateAttr(FIRST)

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
    models: dict[str, dict[str, Any]] = Field(default_factory=dict)

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

    @model_validator(mode="after")
    def _models_are_others(self) -> Settings:
        if self.model.name in self.models:
            raise ValueError(f"models.{self.model.name}: [model] has this name, choose another")
        return self

    @property
    def model_names(self) -> tuple[str, ...]:
        """The models of the configuration, the first one first."""
        return (self.model.name, *self.models)

    def model_of(self, dag_id: str) -> str | None:
        """The model that a DAG is about, if it is one of a model of the configuration."""
        begin, _, kind = dag_id.rpartition("_")
        if kind not in KINDS:
            return None
        return {FIRST: self.model.name, **{name: name for name in self.models}}.get(begin)

    @property
    def dags(self) -> str:
        """What the ids of the model's DAGs begin with."""
        return self._dags

    def of(self, name: str) -> Settings:
        """The settings of one model: those of the first, with the model's tables laid over them.

        Raises
        ------
        ConfigError
            If there is no such model, or its tables do not fit; the error names the key.
        """
        if name == self.model.name:
            return self
        if name not in self.models:
            raise ConfigError(
                f"there is no model {name!r}; the models of the configuration are "
                f"{', '.join(self.model_names)}. Add one: [models.{name}], see docs/models.md"
            )
        try:
            settings = Settings.model_validate(self._laid_over(name, self.models[name]))
        except ValidationError as error:
            within = f"models.{name}."
            places = faults(error, within).replace(f"{within}model.", within)
            whole = places.replace(f"{within}model:", f"models.{name}:")
            raise ConfigError(whole) from error
        settings._dags = name
        return settings

    def _laid_over(self, name: str, table: dict[str, Any]) -> dict[str, Any]:
        if name in _TAKEN:
            raise ConfigError(f"models.{name}: the name is kept for {_TAKEN[name]}. Choose another")
        known = set(ModelSettings.model_fields) - {"name"}
        if unknown := sorted(set(table) - known - set(OF_A_MODEL)):
            raise ConfigError(
                f"models.{name}.{unknown[0]}: a model has no such key; it has those of [model] "
                f"except name, and the tables {', '.join(OF_A_MODEL)}"
            )
        own = {key: value for key, value in table.items() if key in known}
        tables = {key: value for key, value in table.items() if key not in known}
        base = overlay(self.model_dump(exclude={"models"}), _NOT_INHERITED)
        if own.get("target") == "label":
            base["model"]["classes"] = {}  # those of the first model are of stars
        return overlay(base, tables) | {"model": {**base["model"], **own, "name": name}}

    def columns_of(self, source: str) -> ColumnSettings:
        """What a source calls its columns."""
        own = self.sources[source].columns if source in self.sources else {}
        return ColumnSettings.model_validate({**self.columns.model_dump(), **own})

    @property
    def text_columns(self) -> tuple[str, ...]:
        """What any source calls the column of texts."""
        every = [self.columns, *map(self.columns_of, self.sources)]
        return tuple(dict.fromkeys(name for columns in every for name in columns.text))

    def labels_of(self, source: str) -> LabelSettings:
        """What a source writes for each label."""
        own = self.sources[source].labels if source in self.sources else {}
        return LabelSettings.model_validate({**self.labels.model_dump(), **own})
