"""Where an alert points to: the run, its report, the runbook, and pages of the loop."""

from __future__ import annotations

from pipelines.alerts import run_errors
from pipelines.alerts.alert import Link, Run
from pipelines.alerts.kinds import KINDS
from pipelines.core.links import (
    address,
    error_runbook,
    report_of_run_link,
    run_link,
    runbook_link,
)
from pipelines.core.settings.operation import AlertName

_ABOUT_ERRORS: tuple[AlertName, ...] = ("ingest_incomplete", "retrain_failed")


def links(run: Run | None, airflow_url: str, kind: AlertName) -> tuple[Link, ...]:
    """The pages of the run, its report and the kind's runbook, if Airflow's address is known."""
    pages: list[Link] = []
    if run is not None and run.run_id:
        pages += page(airflow_url, "run page", run_link(run.dag_id, run.run_id))
        pages += page(airflow_url, "run report", report_of_run_link(run.dag_id, run.run_id))
    pages += page(airflow_url, "runbook", runbook_link(KINDS[kind].runbook))
    if run is not None and kind in _ABOUT_ERRORS and (error := run_errors.first(run)):
        pages += page(airflow_url, "runbook on the error", runbook_link(error_runbook(error)))
    return tuple(pages)


def page(airflow_url: str, name: str, link: str) -> tuple[Link, ...]:
    """A page below Airflow's address, if that is known."""
    url = address(airflow_url, link) if link else ""
    return (Link(name=name, url=url),) if url else ()
