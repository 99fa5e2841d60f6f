"""All routes in one app, to be mounted under `links.ROOT`."""

from __future__ import annotations

from fastapi import FastAPI

from pipelines.pages import routes
from pipelines.pages.faults import answer_faults
from pipelines.pages.site import Site


def build(site: Site) -> FastAPI:
    """The app. It describes itself to nobody: no schema, no interactive documentation."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.include_router(routes.router(site))
    answer_faults(app)
    return app
