"""Remember the newest generation of the champion log in Airflow, to detect a log that was cut back.

Anyone who can write to the buckets could restore all of them to an older state, and nothing in
them would show it. Airflow's own database is separate: it knows which generation was seen last.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset

from pipelines.steps import context, promote

CHAMPION = Asset(name="sentiment_champion", uri="s3://models/sentiment/log")


def check_and_remember(states: Any) -> None:
    """Check that the log still has every generation that was ever seen, and remember the newest.

    Parameters
    ----------
    states : AssetStateStoreAccessors
        Airflow's ``asset_state_store`` of a task that has `CHAMPION` among its inlets.

    Raises
    ------
    TrustError
        If the log was cut back.
    """
    seen, name = states[CHAMPION], context.log_name()
    before = int(seen.get(name, default=0))
    newest = context.check_log(at_least=before)
    if newest > before:
        seen.set(name, newest)


def confirm(entry_uri: str | None, asset_state_store: Any = None) -> int:
    """After a change of champion: remember it, and check what consumers get."""
    check_and_remember(asset_state_store)
    return promote.confirm(entry_uri)
