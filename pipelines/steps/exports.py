"""The last steps of DAGs where `[exports]` is configured. Nothing depends on them: they never fail.

`champion` and `night` do the work and may fail; the commands call them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipelines.core.errors import ExportError, sentence
from pipelines.steps.context import open_loop

if TYPE_CHECKING:
    from pipelines.records.succession import LogEntry
    from pipelines.steps.context import Loop

logger = logging.getLogger(__name__)


def export_champion(entry_uri: str | None, model: str | None = None) -> None:
    """Export what was promoted or put back; a failure is a line in the log."""
    if entry_uri is None:
        logger.info("Nothing was promoted, so there is nothing to export.")
        return

    def export() -> list[str]:
        from pipelines.records.succession import LogEntry

        loop = open_loop(model=model)
        return champion(loop, loop.models.get_record(loop.key(entry_uri), LogEntry))

    _try(export)


def export_night(night: str) -> None:
    """Export what became of a night's deliveries; a failure is a line in the log."""
    _try(lambda: night_of(open_loop("ingest"), night))


def champion(loop: Loop, entry: LogEntry) -> list[str]:
    """Export a line of the champion log; returns what was done, one sentence per target.

    Raises
    ------
    ExportError
        If a target cannot be reached or refuses.
    """
    from pipelines.exports import mlflow, openlineage, promoted

    exports, said = loop.settings.exports, []
    all_about = promoted.of(loop.stores, loop.registry, entry)
    if exports.mlflow_url:
        number = mlflow.export(
            all_about, exports.mlflow_url, timeout_seconds=exports.timeout_seconds
        )
        said.append(
            f"MLflow: {entry.version} is version {number} of {entry.model_name}, and champion"
        )
    if exports.openlineage and entry.kind == "promotion":
        events = openlineage.of_champion(
            loop.stores, entry, all_about.manifest, all_about.snapshot,
            job=f"{loop.settings.dags}_retrain",
        )  # fmt: skip
        count = openlineage.send(
            events, exports.openlineage, timeout_seconds=exports.timeout_seconds
        )
        said.append(f"OpenLineage: {count} events")
    return said


def night_of(loop: Loop, night: str) -> list[str]:
    """Export the deliveries that a night processed; returns what was done.

    Raises
    ------
    ExportError
        If the target cannot be reached or refuses.
    """
    from pipelines.core.store import clock
    from pipelines.exports import openlineage
    from pipelines.intake import standings

    exports = loop.settings.exports
    if not exports.openlineage:
        return []
    at = clock.written(clock.now(loop.reviews))
    events = [
        event
        for each in standings.every(loop.reviews)
        if each.outcome.counted_in == night
        for event in openlineage.of_delivery(loop.reviews, each.outcome, at)
    ]
    count = openlineage.send(events, exports.openlineage, timeout_seconds=exports.timeout_seconds)
    return [f"OpenLineage: {count} events"]


def _try(export: Callable[[], list[str]]) -> None:
    """Wait for an export for so long at most, and let nothing that it does be an error."""
    from pipelines.core import config

    seconds = config.load().exports.max_seconds
    thread = threading.Thread(target=_attempt, args=(export,), daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        logger.warning("The export did not end within %g seconds, and is given up.", seconds)


def _attempt(export: Callable[[], list[str]]) -> None:
    try:
        for line in export():
            logger.info("%s", line)
    except Exception as error:
        is_expected = isinstance(error, ExportError)
        logger.warning(
            "The export failed; nothing else is affected: %s", sentence(error),
            exc_info=not is_expected,
        )  # fmt: skip
