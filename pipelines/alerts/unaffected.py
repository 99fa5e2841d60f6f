"""What an alert says is not affected, for the person who is woken by it."""

from __future__ import annotations

from pipelines.alerts import run_errors
from pipelines.alerts.alert import Run
from pipelines.core.settings.settings import command

_CHAMPION = "the champion, which stays in use."
_PERHAPS_DAMAGED = (
    "The error names a file of a stored version. To see whether the champion is damaged: "
    "python -m pipelines champion fsck"
)


def _is_doubtful(run: Run) -> bool:
    return any(map(run_errors.names_a_version, run.errors))


def champion_stays(run: Run) -> str:
    """That the champion is not affected, unless an error of the run may be about its files."""
    return _PERHAPS_DAMAGED if _is_doubtful(run) else f"Not affected: {_CHAMPION}"


def others_count(run: Run) -> str:
    """That the other deliveries of the night are not affected, and what of the champion."""
    others = "Not affected: the other deliveries of the night"
    if _is_doubtful(run):
        return f"{others}. {_PERHAPS_DAMAGED}"
    return f"{others}, and {_CHAMPION}"


def champion_after(run: Run) -> str:
    """What a failed run left of the champion."""
    if "confirm" in run.failed_tasks:
        return "Consumers may not get the model that was approved: check the champion first."
    if run.failed_tasks or run.dag_id.startswith("reviews_"):
        return champion_stays(run)
    model = run.dag_id.rpartition("_")[0]  # ids of DAGs begin with the model
    return f"To see the champion: {command('champion show', model)}"
