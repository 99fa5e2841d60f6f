"""Where an alert points to: the run, its report, the runbook, and pages of the loop."""

from __future__ import annotations

from pipelines.alerts.alert import Link, Run
from pipelines.alerts.kinds import KINDS
from pipelines.core.links import address, report_of_run_link, run_link, runbook_link
from pipelines.core.settings.operation import AlertName


def links(run: Run | None, airflow_url: str, kind: AlertName | None = None) -> tuple[Link, ...]:
    """The pages of the run, its report and the kind's runbook, if Airflow's address is known."""
    pages: list[Link] = []
    if run is not None and run.run_id:
        pages += page(airflow_url, "run page", run_link(run.dag_id, run.run_id))
        pages += page(airflow_url, "run report", report_of_run_link(run.dag_id, run.run_id))
    if kind is not None:
        pages += page(airflow_url, "runbook", runbook_link(KINDS[kind].runbook))
    return tuple(pages)


def page(airflow_url: str, name: str, link: str) -> tuple[Link, ...]:
    """A page below Airflow's address, if that is known."""
    url = address(airflow_url, link) if link else ""
    return (Link(name=name, url=url),) if url else ()
