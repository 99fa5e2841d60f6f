"""Incidents: what is wrong with deliveries, and one of them for a person woken at 3 a.m."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import AfterValidator

from pipelines.core import links
from pipelines.core.errors import DataError
from pipelines.intake.landing import checked_night
from pipelines.pages import export
from pipelines.pages.error_pages import no_such
from pipelines.pages.frame import Button
from pipelines.pages.site import Site, Viewer, respond
from pipelines.pages.views import incident as views_incident
from pipelines.pages.views import incidents
from pipelines.pages.views.incident import Look
from pipelines.pages.views.listing import RULES, STATES, Asked, Incident, Listing


def _night(text: str) -> str:
    try:
        checked_night(text)
    except DataError as error:
        raise ValueError(str(error)) from error
    return text


Night = Annotated[str, AfterValidator(_night)]
NightInPath = Annotated[Night, Path()]
Source = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Delivery = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Line:
    """An incident in the list, and the link to its own page; empty if it has none."""

    incident: Incident
    link: str


@dataclass(frozen=True)
class RunOfIt:
    """A run of the ingest that was going on when the delivery was entered in the ledger."""

    run_id: str
    run: str  # link in Airflow
    report: str  # link


@dataclass(frozen=True)
class Remedy:
    """A button, and what would follow from it."""

    button: Button
    effect: str


def router(site: Site) -> APIRouter:
    routes = APIRouter(dependencies=[site.may_read(links.INGEST)])
    _add_list(routes, site)
    _add_missing(routes, site)
    _add_delivery(routes, site)
    return routes


def _add_list(routes: APIRouter, site: Site) -> None:
    @routes.get("/incidents")
    def incidents_page(
        request: Request,
        asked: Asked = Depends(_asked),  # noqa: B008 - FastAPI's own convention
        until: Annotated[Night | None, Query()] = None,
        file: Annotated[str, Query(alias="format", pattern="^(|csv|json)$")] = "",
        viewer: Viewer = site.viewer,
    ) -> Response:
        listing = incidents.recent(site.stores().reviews, until=until, asked=asked)
        if file:
            return export.file([_exported(one) for one in listing.incidents], "incidents", file)
        return respond(
            request, "incidents.html.jinja", title="Incidents", section="incidents",
            groups=groups(listing), nights=listing.nights, is_newest=until is None, asked=asked,
            older=asked.link(until=listing.older) if listing.older else "",
            newest=asked.link(), files=[(name, asked.link(until=until or "", format_=name))
                                        for name in export.FORMATS],
            rules=RULES, states=STATES, page_link=links.incidents_link(),
            sources=sorted({one.source for one in listing.incidents if one.source}),
            can_release=not any(
                one.can_be_chosen and one.is_of_unknown_size for one in listing.incidents
            ),
            is_bulk=viewer.may_start(links.REPLAY), bulk_link=links.form_link(links.REPLAY),
        )  # fmt: skip


def _asked(
    source: Annotated[str, Query(max_length=64)] = "",
    rule: Annotated[str, Query(max_length=64)] = "",
    state: Annotated[str, Query(max_length=16)] = "",
    q: Annotated[str, Query(max_length=100)] = "",
) -> Asked:
    return Asked(source=source, rule=rule, state=state, text=q.strip())


def _exported(incident: Incident) -> dict[str, object]:
    """An incident as a line of a file."""
    now = incident.standing.newest if incident.standing else None
    return {
        "state": incident.state,
        "kind": incident.kind,
        "subject": incident.subject,
        "file": incident.title,
        "source": incident.source,
        "nights": " ".join(incident.nights),
        "why": incident.sentence,
        "delivered_rows": now.delivered_rows if now else None,
        "accepted_rows": incident.standing.accepted_rows if incident.standing else None,
        "quarantined_rows": now.quarantined_rows if now else None,
        "held_rows": now.held_rows if now else None,
    }


def groups(listing: Listing) -> list[tuple[str, str, list[Line]]]:
    """State, heading and lines of each non-empty part of the list."""
    return [
        (state, heading, [Line(incident, link_to(incident)) for incident in listing.of(state)])
        for state, heading in STATES.items()
        if listing.of(state)
    ]


def link_to(incident: Incident) -> str:
    """The incident's own page."""
    if incident.kind == "MISSING_DELIVERY":
        return links.missing_link(incident.nights[-1], incident.source)
    return links.incidents_link(incident.path) if incident.path else ""


def _add_delivery(routes: APIRouter, site: Site) -> None:
    def looked_at(delivery: Delivery) -> Look:
        look = views_incident.look(site.stores().reviews, site.registry(), delivery)
        if look is None:
            raise no_such(f"Delivery {delivery} is not in the ledger.")
        return look

    found = Depends(looked_at)

    async def runs_of_it(request: Request, look: Look = found) -> list[RunOfIt]:
        if not look.stored_at:
            return []
        then = {"start_date_lte": look.stored_at, "end_date_gte": look.stored_at, "limit": "3"}
        reply = await site.ask(request, "GET", f"/dags/{links.INGEST}/dagRuns?{urlencode(then)}",
                               None)  # fmt: skip
        return list(_runs(reply.body)) if reply.status == 200 else []

    its_runs = Depends(runs_of_it)

    @routes.get("/incidents/{delivery}")
    def incident_page(
        request: Request,
        viewer: Viewer = site.viewer,
        look: Look = found,
        runs: list[RunOfIt] = its_runs,
    ) -> HTMLResponse:
        return respond(
            request, "incident.html.jinja", title=title_of(look), section="incidents", look=look,
            way=[("Incidents", links.incidents_link())], runs=runs,
            remedies=remedies(look, viewer), corrected=corrected(look, viewer),
            folder=folder_of(look), pages=links.incidents_link,
            source_page=links.source_link,
            report=links.report_link(look.standing.validation_key) if look.standing else "",
            runbook=links.runbook_link(look.runbook),
            conflict=links.incidents_link(look.conflict) if look.conflict else "",
            champion=links.champion_link(), actor=links.actor,
        )  # fmt: skip


def _runs(body: Any) -> Iterator[RunOfIt]:
    listed = body.get("dag_runs") if isinstance(body, dict) else None
    for run in listed if isinstance(listed, list) else ():
        if isinstance(run, dict) and isinstance(run_id := run.get("dag_run_id"), str):
            yield RunOfIt(
                run_id,
                links.run_link(links.INGEST, run_id),
                links.report_of_run_link(links.INGEST, run_id),
            )


def title_of(look: Look) -> str:
    """What happened to which file."""
    verdict = look.standing.verdict if look.standing else "UNREADABLE"
    return f"{verdict}: {look.delivery.landing_key if look.delivery else look.sha256}"


def remedies(look: Look, viewer: Viewer) -> list[Remedy]:
    """The forms that a person may open, filled in except for the reason."""
    return [
        Remedy(
            viewer.button(
                remedy.label,
                links.REPLAY,
                {"delivery": look.sha256, "action": remedy.action, "dry_run": True},
                remedy.tone,
            ),
            remedy.effect,
        )
        for remedy in look.remedies.offered
    ]


def corrected(look: Look, viewer: Viewer) -> Button | None:
    """The form that takes up a corrected file; None if no file is held."""
    if not (night := look.remedies.corrected_night):
        return None
    return viewer.button("Ingest a corrected file", links.INGEST, {"night": night})


def folder_of(look: Look) -> str:
    """The folder that the file was delivered to."""
    key = look.standing.outcome.landing_key if look.standing else ""
    return "".join(key.rpartition("/")[:2])


def _add_missing(routes: APIRouter, site: Site) -> None:
    @routes.get("/incidents/missing/{night}/{source}")
    def missing_page(
        request: Request, night: NightInPath, source: Source, viewer: Viewer = site.viewer
    ) -> HTMLResponse:
        look = views_incident.look_at_missing(site.stores().reviews, site.registry(), night, source)
        if look is None:
            raise no_such(f"{source} is not recorded as overdue on {night}.")
        return respond(
            request, "missing.html.jinja", title=f"MISSING_DELIVERY: {source}, {night}",
            section="incidents", look=look, way=[("Incidents", links.incidents_link())],
            pages=links.incidents_link, source_page=links.source_link,
            button=viewer.button("Ingest this night again", links.INGEST, {"night": night}),
            runbook=links.runbook_link(look.runbook), champion=links.champion_link(),
        )  # fmt: skip
