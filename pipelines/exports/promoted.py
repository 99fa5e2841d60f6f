"""All about a version that became champion, verified as anybody who reads it would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.intake.snapshot import pinned

if TYPE_CHECKING:
    from pipelines.core.store.stores import Stores
    from pipelines.records.data import Snapshot
    from pipelines.records.decisions import Decision
    from pipelines.records.evaluations import Evaluation
    from pipelines.records.succession import LogEntry
    from pipelines.records.versions import Manifest
    from pipelines.registry.registry import Registry


@dataclass(frozen=True, eq=False)
class Promoted:
    """A champion and the records that it was promoted on.

    Parameters
    ----------
    entry : LogEntry
        The line of the champion log.
    model : bytes
        The model file.
    card : dict of str to bytes
        The model card and its plots, by file name.
    """

    entry: LogEntry
    manifest: Manifest
    decision: Decision
    evaluation: Evaluation
    snapshot: Snapshot
    model: bytes
    card: dict[str, bytes]


def of(stores: Stores, registry: Registry, entry: LogEntry) -> Promoted:
    """Everything about the champion of a line of the log.

    Raises
    ------
    TrustError
        If any of it is not proven.
    """
    from pipelines.gate.card import card

    manifest = registry.versions.champion_manifest(entry)
    decision = registry.decisions.decision_of(entry)
    return Promoted(
        entry=entry,
        manifest=manifest,
        decision=decision,
        evaluation=registry.decisions.evaluation_of(decision),
        snapshot=pinned(stores.reviews, manifest.plan),
        model=registry.versions.model_bytes(manifest),
        card=card.read(stores.reviews, registry, decision),
    )
