"""All routes in one app, to be mounted under `links.ROOT`."""

from __future__ import annotations

from fastapi import FastAPI

from pipelines.pages.error_pages import answer_faults
from pipelines.pages.routes import (
    champion,
    compare,
    decisions,
    forms,
    incidents,
    models,
    monitoring,
    runbooks,
    runs,
    sources,
)
from pipelines.pages.site import Site

_PARTS = (
    champion, decisions, compare, models, incidents, monitoring, sources, runs, forms, runbooks,
)  # fmt: skip


def build(site: Site) -> FastAPI:
    """The app, without a schema or interactive documentation."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    for routes in _PARTS:
        app.include_router(routes.router(site))
    answer_faults(app)
    return app
