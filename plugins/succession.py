"""Remember the newest generation of the champion log in Airflow, to detect a log that was cut back.

Anyone who can write to the buckets could restore all of them to an older state, and nothing in
them would show it. Airflow's own database is separate: it knows which generation was seen last.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset

from pipelines.steps import context, promote


def champion_of(model: str | None = None) -> Asset:
    """What remembers the champion log of a model."""
    dags = context.settings_of(model).dags
    return Asset(name=f"{dags}_champion", uri=f"s3://models/{dags}/log")


def check_and_remember(states: Any, model: str | None = None) -> None:
    """Check that the log still has every generation that was ever seen, and remember the newest.

    Parameters
    ----------
    states : AssetStateStoreAccessors
        Airflow's ``asset_state_store`` of a task that has `champion_of` the model among its inlets.
    model : str, optional
        Whose log.

    Raises
    ------
    TrustError
        If the log was cut back.
    """
    seen, name = states[champion_of(model)], context.log_name(model)
    before = int(seen.get(name, default=0))
    newest = context.check_log(before, model)
    if newest > before:
        seen.set(name, newest)


def confirm(entry_uri: str | None, model: str | None = None, asset_state_store: Any = None) -> int:
    """After a change of champion: remember it, and check what consumers get."""
    check_and_remember(asset_state_store, model)
    return promote.confirm(entry_uri, model)
