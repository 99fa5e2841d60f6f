"""Links of the pages. They start at Airflow's root; templates put its prefix before them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urlencode

from pipelines.core.record import canonical_json

ROOT = "/retraining"

INGEST, REPLAY = "reviews_ingest", "reviews_replay"
RETRAIN, ROLLBACK = "sentiment_retrain", "sentiment_rollback"
MONITOR = "sentiment_monitor"
DAGS = (INGEST, REPLAY, RETRAIN, ROLLBACK, MONITOR)

VALIDATION_KEY = re.compile(r"reports/([0-9a-f]{64})/([0-9a-f]{16,64})/validation\.json")
_DECISION_KEY = re.compile(
    r"[^/]+/versions/([0-9a-f]{20})/gates/([0-9]{8}-[0-9a-f]{16})/decision\.json"
)

FormValue = str | int | bool | None | list[int] | list[str]


def form_link(dag_id: str, params: Mapping[str, FormValue] | None = None) -> str:
    """The form that starts a run of a DAG, with these fields filled in.

    Airflow 3.3.2 cannot open its own form with values from a link, so the form is one of our pages.
    A text goes into the link as it is, anything else as JSON.
    """
    filled = {
        name: value if isinstance(value, str) else canonical_json(value).decode().strip()
        for name, value in (params or {}).items()
        if value is not None
    }
    return f"{ROOT}/forms/{quote(dag_id, safe='')}" + (f"?{urlencode(filled)}" if filled else "")


def run_link(dag_id: str, run_id: str) -> str:
    """A run in Airflow's own pages."""
    return f"/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def report_of_run_link(dag_id: str, run_id: str) -> str:
    """Our report on what a run did."""
    return f"{ROOT}/runs/{quote(dag_id, safe='')}/{quote(run_id, safe='')}"


class Actor(NamedTuple):
    """Who did something: in words, and the Airflow run in which it was done, if any."""

    words: str
    run: str | None


def actor(recorded: str) -> Actor:
    """The actor that a record names, e.g. ``vera on airflow <dag> <run>``."""
    before, _, run = recorded.partition("airflow ")
    dag_id, _, run_id = run.partition(" ")
    if dag_id not in DAGS or not run_id or " " in run_id:
        return Actor(recorded, None)
    person = before.removesuffix(" on ")
    return Actor(f"{person}, {dag_id}" if person else dag_id, run_link(dag_id, run_id))


def champion_link() -> str:
    return f"{ROOT}/champion"


def decisions_link() -> str:
    return f"{ROOT}/decisions"


def decision_link(decision_key: str) -> str:
    """One decision, by its key ``<model>/versions/<version>/gates/<folder>/decision.json``.

    Empty when it is not such a key: a stored key may hold anything.
    """
    match = _DECISION_KEY.fullmatch(decision_key)
    return f"{ROOT}/decisions/{match[1]}/{match[2]}" if match else ""


def card_link(decision_key: str) -> str:
    """The model card of a decision; empty when the key is not a decision's."""
    link = decision_link(decision_key)
    return f"{link}/card" if link else ""


def report_link(validation_key: str) -> str:
    """A validation report, by the key of its ``validation.json``; empty for any other key."""
    match = VALIDATION_KEY.fullmatch(validation_key)
    return f"{ROOT}/reports/{match[1]}/{match[2]}" if match else ""


def monitoring_link(night: str = "") -> str:
    """All windows, or the newest one of a night."""
    return f"{ROOT}/monitoring" + (f"/{quote(night, safe='')}" if night else "")


def incidents_link(delivery: str = "") -> str:
    return f"{ROOT}/incidents" + (f"/{quote(delivery, safe='')}" if delivery else "")


def incidents_until_link(night: str) -> str:
    """The list of incidents, going back from a night."""
    return f"{incidents_link()}?{urlencode({'until': night})}"


def missing_link(night: str, source: str) -> str:
    """A source that was overdue on a night."""
    return f"{incidents_link()}/missing/{quote(night, safe='')}/{quote(source, safe='')}"


def runbook_link(path: str) -> str:
    """A runbook, by its path in the project: ``docs/runbooks/<name>.md``."""
    name = path.rpartition("/")[2].removesuffix(".md")
    return f"{ROOT}/runbooks/{quote(name, safe='')}"
