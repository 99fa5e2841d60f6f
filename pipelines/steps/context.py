"""What the steps share: stores and registry by the configuration, records by their URI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.core import config

if TYPE_CHECKING:
    from pipelines.core.grants import Role
    from pipelines.core.store.stores import Stores
    from pipelines.records.decisions import Decision
    from pipelines.records.versions import Plan
    from pipelines.registry.registry import Registry


def log_name() -> str:
    """Which champion log this is: bucket and model."""
    settings = config.load()
    return f"{settings.store.models_bucket}/{settings.model.name}"


def check_log(at_least: int) -> int:
    """Check that nothing was cut off the champion log; returns its newest generation.

    Parameters
    ----------
    at_least : int
        A generation that was seen before; 0 when none was.

    Raises
    ------
    TrustError
        If it, or one that a record proves, is not there any more.
    """
    return registry_in(stores_as()).check_nothing_cut(at_least)


def read_decision(decision_uri: str) -> Decision:
    stores = stores_as()
    _, key = stores.resolve(decision_uri)
    return registry_in(stores).decisions.decision(key)


def stores_as(role: Role | None = "retrain") -> Stores:
    """Open both buckets with the credentials of a role; None for the caller's own."""
    from pipelines.core.store.stores import open_stores

    return open_stores(config.load(), role)


def registry_in(stores: Stores) -> Registry:
    from pipelines.registry.registry import Registry

    return Registry(stores.models, config.load().model.name)


def read_plan(stores: Stores, plan_uri: str) -> tuple[Plan, Registry]:
    registry = registry_in(stores)
    _, key = stores.resolve(plan_uri)
    return registry.versions.plan(key), registry
