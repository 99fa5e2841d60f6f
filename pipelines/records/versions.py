"""Records of what is trained: the plan, and the manifest of a version."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from pipelines.core import keys
from pipelines.core.record import ModelRecord, Record, Sha256, VersionId
from pipelines.core.settings.model import SENTIMENT, ClassName


class StarClass(Record):
    """Reviews of so many stars, from the lowest to the highest number, both included."""

    name: ClassName
    low: int
    high: int


class Plan(ModelRecord):
    """Everything that decides a model's bytes. Its digest names the version."""

    schema_version: Literal[1] = 1
    snapshot: Sha256
    candidates: dict[str, dict[str, Any]]
    min_training_rows: int
    folds: int
    keep_share: float
    seed: int
    code: Sha256
    environment: Sha256
    # What it answers, in the order of the stars; empty: the label.
    classes: tuple[StarClass, ...] = Field(default=(), exclude_if=lambda classes: not classes)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of a model's probabilities."""
        return tuple(one.name for one in self.classes) or SENTIMENT

    @property
    def version(self) -> str:
        """Twenty hex digits: 80 bits, so two plans never share one by accident."""
        return self.digest()[:20]

    @property
    def object_key(self) -> str:
        return keys.plan_key(self.model_name, self.version)


class CandidateScore(Record):
    name: str
    log_loss: float
    accuracy: float
    folds: int  # how many it was tried on before it was given up, or all


class Manifest(ModelRecord):
    """A trained version, written last: a version without a manifest does not exist."""

    schema_version: Literal[1] = 1
    version: VersionId
    plan: Plan
    candidate: str
    selection: tuple[CandidateScore, ...]
    featurizer: str | None
    training_rows: int
    holdout_rows: int
    duplicate_rows: int
    # Rows without stars, or with stars that are in no class.
    classless_rows: int = Field(default=0, exclude_if=lambda rows: not rows)
    training_digest: Sha256  # of the sorted text ids the model was fitted on
    model_key: str
    model_sha256: Sha256
    model_size_bytes: int

    @property
    def object_key(self) -> str:
        return keys.manifest_key(self.model_name, self.version)
