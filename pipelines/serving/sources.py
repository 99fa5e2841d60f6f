"""Where a service finds the champion: in the log, or in a folder that `champion pull` wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipelines.core.store.keyring import Keyring
from pipelines.records.evaluations import Evaluation
from pipelines.registry.registry import Registry
from pipelines.serving.champion import (
    Champion,
    evaluation_of,
    load_pulled,
    pulled_evaluation,
    read_entry,
)


class Source(Protocol):
    """Where champions come from. Every error is a `LoopError`."""

    @property
    def model_name(self) -> str:
        """The model's name."""

    def newest_generation(self) -> int:
        """The champion's generation; 0 when there is no champion yet."""

    def load(self, generation: int) -> tuple[Champion, Evaluation]:
        """A verified champion of this generation or a later one, and what the gate measured."""


@dataclass(frozen=True)
class LogSource:
    """The champion log. Needs no more rights than the role ``scoring`` has."""

    registry: Registry

    @property
    def model_name(self) -> str:
        return self.registry.name

    def newest_generation(self) -> int:
        return self.registry.log.newest_generation()

    def load(self, generation: int) -> tuple[Champion, Evaluation]:
        entry = self.registry.log.entry(generation)
        versions = self.registry.versions
        manifest = versions.champion_manifest(entry)
        evaluation = evaluation_of(self.registry, entry)
        return Champion(entry, manifest, versions.load(manifest)), evaluation


@dataclass(frozen=True)
class FolderSource:
    """A folder that `pull` wrote, and may write again while the service runs."""

    folder: Path
    keyring: Keyring
    model_name: str

    def newest_generation(self) -> int:
        return read_entry(self.folder, self.keyring).generation

    def load(self, generation: int) -> tuple[Champion, Evaluation]:  # noqa: ARG002 - the only one
        champion = load_pulled(self.folder, self.keyring)
        return champion, pulled_evaluation(self.folder, champion.entry, self.keyring)
