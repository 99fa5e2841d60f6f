"""Settings of how a model is trained, evaluated and judged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from pipelines.core.settings.section import Section, Share

_CRON_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_PART = re.compile(r"(?:\*|([0-9]{1,2})(?:-([0-9]{1,2}))?)(?:/([1-9][0-9]?))?")


def _is_cron_field(field: str, low: int, high: int) -> bool:
    parts = [_CRON_PART.fullmatch(part) for part in field.split(",")]
    numbers = [[int(each) for each in part.groups()[:2] if each] for part in parts if part]
    return None not in parts and all(
        low <= one[0] <= one[-1] <= high for one in numbers if one
    )  # fmt: skip


def _cron(text: str) -> str:
    """Check a cron expression of numbers; Airflow would refuse all DAGs because of a wrong one."""
    fields = text.split(" ")
    is_cron = len(fields) == len(_CRON_RANGES) and all(
        _is_cron_field(field, *limits) for field, limits in zip(fields, _CRON_RANGES, strict=True)
    )
    if text and not is_cron:
        raise ValueError(
            f"{text!r} is not a cron expression: minute, hour, day, month and day of the week, as "
            "numbers, e.g. 0 5 * * 1"
        )
    return text


MODEL_NAME = r"^[a-z][a-z0-9_-]{0,62}$"
SENTIMENT = ("negative", "positive")
"""The classes of a model whose target is the label; a class is known by its place."""

Stars = Annotated[int, Field(ge=1, le=10)]
ClassName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]


class ModelSettings(Section):
    """Which model, and what it answers.

    ``classes`` holds the lowest and the highest number of stars of each class, both included.
    """

    name: str = Field(pattern=MODEL_NAME)
    seed: int = Field(ge=0, lt=2**32)
    sources: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    schedule: Annotated[str, AfterValidator(_cron)] = ""
    target: Literal["label", "rating"] = "label"
    classes: dict[ClassName, tuple[Stars, Stars]] = Field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.classes) or SENTIMENT

    @model_validator(mode="after")
    def _classes_ascend(self) -> ModelSettings:
        if self.target == "label" and self.classes:
            raise ValueError('classes need target = "rating"')
        if self.target == "rating" and len(self.classes) < 2:
            raise ValueError('target = "rating" needs at least two classes')
        highest = 0
        for low, high in self.classes.values():
            if not highest < low <= high:
                raise ValueError(
                    "each class must have its lowest and then its highest stars, and begin above "
                    "the class before it"
                )
            highest = high
        return self


class TrainingSettings(Section):
    candidates: tuple[str, ...] = Field(min_length=1)
    min_training_rows: int = Field(ge=2)
    folds: int = Field(ge=2, le=20)
    keep_share: float = Field(gt=0, le=1)
    max_settings: int = Field(ge=1)
    packs_per_task: int = Field(ge=1)
    cluster: str = Field("", pattern=r"^((tcp|tls)://[^\s/]+:[0-9]{1,5})?$")


GridValues = Annotated[tuple[int | float | str | bool, ...], Field(min_length=1)]
View = dict[str, int]


class CandidateSettings(Section):
    factory: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    parameters: dict[str, int | float | str | bool | tuple[View, ...]] = Field(default_factory=dict)
    grid: dict[str, GridValues] = Field(default_factory=dict)


class EvaluationSettings(Section):
    """Absolute paths once loaded; in a file they are relative to it, or to ``config/``."""

    golden_file: Path
    behaviour_folder: Path


class VerificationSettings(Section):
    max_wall_seconds: float = Field(gt=0)
    max_cpu_seconds: int = Field(gt=0)
    max_address_bytes: int = Field(gt=0)


PublicKey = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class TrustSettings(Section):
    trusted_keys: tuple[PublicKey, ...] = ()


class GateSettings(Section):
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
