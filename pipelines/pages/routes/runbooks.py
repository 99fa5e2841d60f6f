"""The runbooks of docs/: an incident's page must not send its reader to another site."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse

from pipelines.core import config, links
from pipelines.pages.error_pages import no_such
from pipelines.pages.markdown_page import html
from pipelines.pages.site import Site, respond

FOLDER = config.CONFIG_FOLDER.parent / "docs" / "runbooks"
_PICTURE = re.compile(r"!\[[^\]]*\]\([^)]*\)")  # of pages that the reader is in already

Name = Annotated[str, Path(pattern=r"^[a-z][a-z-]{0,40}$")]


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/runbooks/{name}", dependencies=[site.may_read(links.INGEST)])
    def runbook_page(request: Request, name: Name) -> HTMLResponse:
        try:
            text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise no_such(f"docs/runbooks/{name}.md is not installed here.") from error
        title, _, body = text.partition("\n")
        return respond(
            request,
            "runbook.html.jinja",
            title=title.lstrip("# "),
            text=html(_PICTURE.sub("", body)),
        )

    return routes
