"""The runbooks of docs/: an incident's page must not send its reader to another site."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse

from pipelines.core import config, links
from pipelines.pages.error_pages import no_such
from pipelines.pages.markdown_page import own_page
from pipelines.pages.site import Site, base_of, respond

FOLDER = config.CONFIG_FOLDER.parent / "docs" / "runbooks"
_RUNBOOK = re.compile(r"([a-z][a-z-]{0,40}|README)\.md(#[\w-]+)?")
_HEADING = re.compile(r"#[\w-]+")

Name = Annotated[str, Path(pattern=r"^[a-z][a-z-]{0,40}$")]


def router(site: Site) -> APIRouter:
    routes = APIRouter()
    may_read = site.may_read(links.INGEST)

    @routes.get("/runbooks", dependencies=[may_read])
    def every_runbook(request: Request) -> HTMLResponse:
        return _page(request, "README")

    @routes.get("/runbooks/{name}", dependencies=[may_read])
    def runbook_page(request: Request, name: Name) -> HTMLResponse:
        return _page(request, name)

    return routes


def _page(request: Request, name: str) -> HTMLResponse:
    try:
        text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise no_such(f"docs/runbooks/{name}.md is not installed here.") from error
    title, _, body = text.partition("\n")
    return respond(
        request, "runbook.html.jinja", title=title.lstrip("# "), section="runbooks",
        way=[] if name == "README" else [("Runbooks", links.runbooks_link())],
        text=own_page(body, link_under(base_of(request)), name_of),
    )  # fmt: skip


def link_under(base: str) -> Callable[[str], str | None]:
    """Where the links of a runbook lead here: to other runbooks and to headings of its own.

    Other pages of docs/ are not installed: the words of a link to them are shown without it, and
    with the file's name.
    """

    def link_of(target: str) -> str | None:
        if _HEADING.fullmatch(target):
            return target
        match = _RUNBOOK.fullmatch(target)
        if match is None:
            return None
        name, heading = match[1], match[2] or ""
        page = links.runbooks_link() if name == "README" else links.runbook_link(f"{name}.md")
        return f"{base}{page}{heading}"

    return link_of


def name_of(target: str) -> str:
    """The file in this project that a link of a runbook leads to."""
    return posixpath.normpath(f"docs/runbooks/{target.partition('#')[0]}")
