"""The demo's last nights: nothing retrains by itself, and the monitor asks for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.services.airflow_api import AirflowApi

if TYPE_CHECKING:
    from ops.services.stack import LocalStack

MONITOR, RETRAIN = "sentiment_monitor", "sentiment_retrain"
ACCEPTED = "reviews_accepted"


@dataclass(frozen=True)
class Watch:
    """What the monitor found on a night, and whether it asked for a retraining.

    ``decision`` is the decision's URI; ``asked_by`` is the trigger, empty if it did not ask.
    """

    run: str
    verdict: str
    why: str
    decision: str
    asked_by: str
    why_asked: str


def only_when_asked(
    stack: LocalStack, api: AirflowApi, *, timeout_seconds: float, on_poll: Callable[[], None]
) -> None:
    """Switch off the retraining of every night, and have Airflow read that; start the monitor.

    Raises
    ------
    TimeoutError
        If Airflow has not read it in time.
    """
    with stack.config.open("a", encoding="utf-8") as config:
        config.write("\n[triggers]\non_new_reviews = false\n")
    api.read_again(RETRAIN)
    deadline = time.monotonic() + timeout_seconds
    while RETRAIN in api.started_by(ACCEPTED):
        on_poll()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{RETRAIN} still starts with every night's reviews")
        time.sleep(0.3)
    api.wait_for_dags([MONITOR], timeout_seconds=timeout_seconds, on_poll=on_poll)
    api.unpause(MONITOR)


def watch_of(api: AirflowApi, run: str) -> Watch:
    """What a finished run of the monitor found; empty where a task of it failed."""
    from pipelines.steps import monitor

    judged = monitor.windows(api.xcom(MONITOR, run, "watch") or [])
    decision_uri = api.xcom(MONITOR, run, "decide_trigger")
    decision = monitor.read_decision(decision_uri) if decision_uri else None
    return Watch(
        run=run,
        verdict=judged[-1].verdict if judged else "",
        why=judged[-1].why if judged else "",
        decision=decision_uri or "",
        asked_by=decision.trigger or "" if decision and decision.is_started else "",
        why_asked=decision.why if decision else "",
    )
