"""Records of who is champion: the log's entries, and what points at them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipelines.core import keys
from pipelines.core.record import ModelRecord, Sha256, VersionId

EntryKind = Literal["promotion", "rollback", "release", "pin"]


class LogEntry(ModelRecord):
    """One line of the champion's succession. The log alone decides who is champion.

    ``version`` is the champion from here on, ``reference`` the version that no challenger may be
    worse than, so that many small losses cannot add up. In a rollback ``subject`` is the version
    it withdraws, in a release the withdrawn version that may compete again.
    """

    schema_version: Literal[2] = 2
    generation: int = Field(ge=1)
    previous_entry_sha256: str | None
    kind: EntryKind
    subject: VersionId | None = None
    version: VersionId
    manifest_sha256: Sha256
    decision_key: str
    decision_sha256: Sha256
    approval_key: str | None = None  # of the person's answer, where the decision asked for one
    approval_sha256: Sha256 | None = None
    reference: VersionId
    reference_manifest_sha256: Sha256
    holdout_accuracy: float
    holdout_log_loss: float
    actor: str
    reason: str
    token: Sha256  # the same for every retry of the same promotion
    at: str  # ISO 8601, UTC, seconds

    @property
    def changes_champion(self) -> bool:
        """Whether its version answers since this entry: pins and releases leave the champion."""
        return self.kind in {"promotion", "rollback"}

    @property
    def object_key(self) -> str:
        return keys.log_key(self.model_name, self.generation)


class RollbackPlan(ModelRecord):
    """A planned rollback: from which champion to which older version, and why."""

    schema_version: Literal[1] = 1
    champion_generation: int = Field(ge=1)
    champion_version: VersionId
    target_generation: int = Field(ge=1)  # the entry that made the target champion
    target_version: VersionId
    reason: str

    @property
    def object_key(self) -> str:
        return keys.rollback_key(self.model_name, self.digest())


class ChampionHint(ModelRecord):
    """Where readers may start looking. May be missing or stale: the log decides.

    A hint at a generation that the log does not have proves that the log was cut back.
    """

    schema_version: Literal[1] = 1
    generation: int
    version: str

    @property
    def object_key(self) -> str:
        return keys.hint_key(self.model_name)
