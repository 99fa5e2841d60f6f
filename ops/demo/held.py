"""What the demo shows of a held delivery: why, of which source, and how a person lets it count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from ops.services.airflow_api import AirflowApi
from ops.services.processes import StackError
from pipelines.core.store.bucket import Bucket

REPLAY = "reviews_replay"


@dataclass(frozen=True)
class Alarm:
    """A delivery that is held, as the night's receipt says."""

    source: str
    landing_key: str
    delivery: str
    why: str


@dataclass(frozen=True)
class ReplayResult:
    """The ledger's entry of a replay: who did what and why, and what counts since."""

    action: str
    delivery: str
    record: str
    actor: str
    reason: str
    accepted_rows: int
    quarantined_rows: int
    held_rows: int


def alarms(reviews: Bucket, night: date) -> list[Alarm]:
    """What is held of a night's deliveries, by landing key."""
    from pipelines.intake import nights
    from pipelines.intake.landing import parse_name

    return [
        Alarm(
            parse_name(receipt.landing_key).source,
            receipt.landing_key,
            receipt.delivery,
            receipt.why,
        )
        for receipt in nights.summarize(reviews, night.isoformat()).receipts
        if receipt.verdict == "HELD"
    ]


def release(
    api: AirflowApi, alarm: Alarm, reason: str, *, wait: Callable[[str, str], str]
) -> tuple[str, ReplayResult]:
    """Release a held delivery through `reviews_replay`, as its form does.

    Parameters
    ----------
    api : AirflowApi
        Of the Airflow to ask.
    alarm : Alarm
        Whose delivery to release.
    reason : str
        Kept in the delivery's ledger.
    wait : callable
        Waits until the run of a DAG has ended; returns its state.

    Returns
    -------
    run_id, result : str, ReplayResult
        The run that did it, and what the ledger says of it.

    Raises
    ------
    StackError
        If the replay did not succeed.
    """
    from pipelines.steps import replay

    run_id = api.trigger(
        REPLAY,
        logical_date=None,
        conf={
            "delivery": alarm.delivery,
            "action": "release",
            "reason": reason,
            "dry_run": False,
        },
    )
    state = wait(REPLAY, run_id)
    uri = api.xcom(REPLAY, run_id, "apply_replay")
    if state != "success" or uri is None:
        raise StackError(f"{REPLAY} {run_id} ended as {state}: read its log in Airflow")
    done = replay.read_replay(uri)
    return run_id, ReplayResult(
        action=done.action,
        delivery=done.delivery,
        record=uri,
        actor=done.actor,
        reason=done.reason,
        accepted_rows=done.accepted_rows,
        quarantined_rows=done.quarantined_rows,
        held_rows=done.held_rows,
    )
