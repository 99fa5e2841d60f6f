"""Incidents: what is wrong with deliveries, and one of them for a person woken at 3 a.m."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import AfterValidator

from pipelines.core import links
from pipelines.core.errors import DataError
from pipelines.intake.landing import checked_night
from pipelines.pages.error_pages import no_such
from pipelines.pages.frame import Button
from pipelines.pages.site import Site, Viewer, respond
from pipelines.pages.views import incident as views_incident
from pipelines.pages.views import incidents
from pipelines.pages.views.incident import Look
from pipelines.pages.views.incidents import Incident, Listing


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
        request: Request, until: Annotated[Night | None, Query()] = None
    ) -> HTMLResponse:
        listing = incidents.recent(site.stores().reviews, until=until)
        return respond(
            request, "incidents.html.jinja", title="Incidents", section="incidents",
            groups=groups(listing), nights=listing.nights, is_newest=until is None,
            older=links.incidents_until_link(listing.older) if listing.older else "",
            newest=links.incidents_link(),
        )  # fmt: skip


def groups(listing: Listing) -> list[tuple[str, str, list[Line]]]:
    """State, heading and lines of each non-empty part of the list."""
    return [
        (state, heading, [Line(incident, link_to(incident)) for incident in listing.of(state)])
        for state, heading in incidents.STATES.items()
        if listing.of(state)
    ]


def link_to(incident: Incident) -> str:
    """The incident's own page."""
    if incident.kind == "MISSING_DELIVERY":
        return links.missing_link(incident.nights[-1], incident.source)
    return links.incidents_link(incident.path) if incident.path else ""


def _add_delivery(routes: APIRouter, site: Site) -> None:
    @routes.get("/incidents/{delivery}")
    def incident_page(
        request: Request, delivery: Delivery, viewer: Viewer = site.viewer
    ) -> HTMLResponse:
        look = views_incident.look(site.stores().reviews, site.registry(), delivery)
        if look is None:
            raise no_such(f"Delivery {delivery} is not in the ledger.")
        return respond(
            request, "incident.html.jinja", title=title_of(look), section="incidents", look=look,
            remedies=remedies(look, viewer),
            report=links.report_link(look.standing.validation_key) if look.standing else "",
            runbook=links.runbook_link(look.runbook),
            conflict=links.incidents_link(look.conflict) if look.conflict else "",
            champion=links.champion_link(), actor=links.actor,
        )  # fmt: skip


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
            ),
            remedy.effect,
        )
        for remedy in look.remedies
    ]


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
            section="incidents", look=look,
            button=viewer.button("Ingest this night again", links.INGEST, {"night": night}),
            runbook=links.runbook_link(look.runbook), champion=links.champion_link(),
        )  # fmt: skip
