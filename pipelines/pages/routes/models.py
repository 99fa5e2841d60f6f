"""*Models*: the champion of each model, and the last verdict of its gate."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from pipelines.core import config, links
from pipelines.core.parallel import in_parallel
from pipelines.pages import read
from pipelines.pages.site import Site, Viewer, respond
from pipelines.pages.views import decisions
from pipelines.registry.registry import Registry


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/models", dependencies=[site.may_read(links.RETRAIN)])
    def every_model(request: Request, viewer: Viewer = site.viewer) -> HTMLResponse:
        settings, bucket = config.load(), site.stores().models
        readable = [
            name for name in settings.model_names
            if viewer.may_read(links.of_model(links.RETRAIN, settings.of(name).dags))
        ]  # fmt: skip
        lines = list(in_parallel(lambda name: _line(Registry(bucket, name)), readable))
        return respond(
            request, "models.html.jinja", title="Models", section="models", lines=lines,
            hidden=len(settings.model_names) - len(readable),
        )  # fmt: skip

    return routes


def _line(registry: Registry) -> decisions.ModelLine:
    reign, stored = read.or_none(read.reigning, registry), read.decisions(registry)
    newest = read.or_none(registry.decisions.decision, stored[0].key) if stored else None
    return decisions.model_line(registry.name, reign, newest, has_decisions=bool(stored))
