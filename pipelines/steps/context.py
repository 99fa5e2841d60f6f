"""What the steps share: the settings, read once per step, and the stores, opened for a role.

A step that is about a model takes its name; None is the first model of the configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.core import config
from pipelines.core.settings.settings import Settings

if TYPE_CHECKING:
    from pipelines.core.grants import Role
    from pipelines.core.store.bucket import Bucket
    from pipelines.core.store.stores import Stores
    from pipelines.intake.standings import Standing
    from pipelines.records.data import Snapshot
    from pipelines.records.decisions import Decision
    from pipelines.records.succession import LogEntry
    from pipelines.records.versions import Plan
    from pipelines.registry.registry import Registry


@dataclass(frozen=True)
class Loop:
    """What a step works with: the settings of a model, the two buckets, and its registry."""

    settings: Settings
    stores: Stores

    @property
    def reviews(self) -> Bucket:
        return self.stores.reviews

    @property
    def models(self) -> Bucket:
        return self.stores.models

    @property
    def registry(self) -> Registry:
        from pipelines.registry.registry import Registry

        return Registry(self.models, self.settings.model.name)

    def registries(self) -> list[Registry]:
        """Of all models of the configuration, where these are the settings of the first."""
        from pipelines.registry.registry import Registry

        return [Registry(self.models, name) for name in self.settings.model_names]

    def ledger(self) -> list[Standing]:
        """Every delivery of the sources that the model learns from."""
        from pipelines.intake import standings

        return standings.of_sources(standings.every(self.reviews), self.settings.model.sources)

    def key(self, uri: str) -> str:
        """The object key of a URI of one of the two buckets."""
        return self.stores.resolve(uri)[1]

    def plan(self, uri: str) -> Plan:
        return self.registry.versions.plan(self.key(uri))

    def learned(self) -> Snapshot | None:
        """What the champion was trained on; None when there is no champion."""
        return self.learned_by(self.registry.log.champion())

    def learned_by(self, champion: LogEntry | None) -> Snapshot | None:
        """As `learned`, by the newest entry of the log, if that was read before."""
        from pipelines.intake import snapshot

        if champion is None:
            return None
        manifest = self.registry.versions.champion_manifest(champion)
        return snapshot.pinned(self.reviews, manifest.plan)


def settings_of(model: str | None = None) -> Settings:
    """The settings of a model.

    Raises
    ------
    ConfigError
        If the configuration has no such model.
    """
    settings = config.load()
    return settings if model is None else settings.of(model)


def one_of_several(model: str) -> str:
    """Words after "the champion" that name its model; empty if it is the only one."""
    return f" of {model}" if config.load().models else ""


def open_loop(role: Role | None = "retrain", model: str | None = None) -> Loop:
    """Open both buckets with the credentials of a role; None for the caller's own."""
    from pipelines.core.store.stores import open_stores

    settings = settings_of(model)
    return Loop(settings, open_stores(settings, role))


def log_name(model: str | None = None) -> str:
    """Which champion log this is: bucket and model."""
    settings = settings_of(model)
    return f"{settings.store.models_bucket}/{settings.model.name}"


def check_log(at_least: int, model: str | None = None) -> int:
    """Check that nothing was cut off the champion log; returns its newest generation.

    Parameters
    ----------
    at_least : int
        A generation that was seen before; 0 for none.
    model : str, optional
        Whose log.

    Raises
    ------
    TrustError
        If that generation, or one that a record proves, is missing.
    """
    return open_loop(model=model).registry.check_nothing_cut(at_least)


def read_decision(decision_uri: str, model: str | None = None) -> Decision:
    loop = open_loop(model=model)
    return loop.registry.decisions.decision(loop.key(decision_uri))
