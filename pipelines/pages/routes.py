"""Each route: who may read it, and which page it is. What a page says is decided elsewhere.

Plain functions, not ``async``: reading S3 blocks, so FastAPI runs them in threads.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from pipelines.pages import incidents, links, runbooks
from pipelines.pages.site import Site, respond


def router(site: Site) -> APIRouter:
    found = APIRouter(include_in_schema=False)
    _champion(found, site)
    incidents.add(found, site)
    runbooks.add(found, site)
    return found


def _champion(found: APIRouter, site: Site) -> None:
    @found.get("/champion", dependencies=[site.may_read(links.RETRAIN)])
    def champion(request: Request) -> HTMLResponse:
        entry = site.registry().champion()
        what = "There is no champion yet." if entry is None else entry.version
        return respond(
            request, "message.html.jinja", title="Champion", section="champion", what=what, todo=""
        )
