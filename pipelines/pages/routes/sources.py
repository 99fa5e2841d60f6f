"""*Sources*: how each did over the newest nights."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from pipelines.core import links
from pipelines.pages import export
from pipelines.pages.error_pages import no_such
from pipelines.pages.frame import plot
from pipelines.pages.site import Site, respond
from pipelines.pages.views import sources

Name = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
File = Annotated[str, Query(alias="format", pattern="^(|csv|json)$")]


def router(site: Site) -> APIRouter:
    routes = APIRouter(dependencies=[site.may_read(links.INGEST)])

    @routes.get("/sources")
    def every_source(request: Request, file: File = "") -> Response:
        found = sources.newest_nights(site.stores().reviews)
        lines = sources.every_source(found)
        if file:
            return export.file([asdict(line) for line in lines], "sources", file)
        return respond(
            request, "sources.html.jinja", title="Sources", section="sources", found=found,
            lines=lines, page_of=links.source_link, page_link=links.sources_link(),
        )  # fmt: skip

    @routes.get("/sources/{source}")
    def one_source(request: Request, source: Name, file: File = "") -> Response:
        reviews = site.stores().reviews
        found = sources.newest_nights(reviews)
        line = sources.points_of(reviews, found, source)
        if not line:
            raise no_such(f"Source {source} delivered nothing in the newest nights.")
        if file:
            return export.file([asdict(point) for point in line], f"source-{source}", file)
        return respond(
            request, "source.html.jinja", title=f"Source {source}", section="sources",
            way=[("Sources", links.sources_link())], found=found, line=line[::-1],
            drawing=plot(sources.chart(source, line)), page_of=links.incidents_link,
            page_link=links.source_link(source),
            incidents=f"{links.incidents_link()}?source={source}",
        )  # fmt: skip

    return routes
