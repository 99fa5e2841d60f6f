"""*Champion*: who answers, since when and why.

Plain functions, here and in the other routes: reading S3 blocks, so FastAPI runs them in threads.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from markupsafe import Markup

from pipelines.core import links
from pipelines.core.store import clock
from pipelines.gate.card import history_plot
from pipelines.pages import export, read
from pipelines.pages.error_pages import no_such
from pipelines.pages.frame import plot
from pipelines.pages.site import Site, Viewer, respond
from pipelines.pages.views.champion import (
    Answering,
    Evidence,
    answering,
    exported,
    newest_first,
    pages_of,
    succession,
)
from pipelines.records.succession import LogEntry
from pipelines.registry.registry import Registry

Page = Annotated[int, Query(ge=1, le=100_000)]


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/champion", dependencies=[site.may_read(links.RETRAIN)])
    def champion(
        request: Request, viewer: Viewer = site.viewer, page: Page = 1, at: str = "",
        file: Annotated[str, Query(alias="format", pattern="^(|csv|json)$")] = "",
    ) -> Response:  # fmt: skip
        chosen = site.about(request)
        registry, viewer = chosen.registry(), replace(viewer, dags=chosen.settings.dags)
        history, broken = read.history(registry)
        if page > pages_of(len(history)):
            raise no_such(f"Page {page} of the succession does not exist.")
        evidence = _evidence(registry, history, page)
        if file:
            shown = succession(evidence, viewer, page)
            return export.file([exported(line) for line in shown.lines], "champion", file)
        answered, problem = _answer(registry, history, at)
        return respond(
            request, "champion.html.jinja", title="Champion", section="champion",
            model=registry.name, status=400 if problem else 200,
            shown=succession(evidence, viewer, page),
            plot=_plot(history) if page == 1 else None, broken=broken,
            page_link=links.champion_link(), compare=links.compare_link(),
            asked=at, answered=answered, problem=problem,
        )  # fmt: skip

    return routes


def _plot(history: list[LogEntry]) -> Markup | None:
    drawn = read.or_none(history_plot.succession, history) if history else None
    return None if drawn is None else plot(drawn)


def _evidence(registry: Registry, history: list[LogEntry], page: int) -> Evidence:
    shown = [*newest_first(history, page), *history[-1:]]
    manifest = read.champion_manifest(registry, history)
    return Evidence(
        history=history,
        judged=read.by_name(
            lambda key: read.judged(registry, key), (entry.decision_key for entry in shown)
        ),
        manifest=manifest,
        fault=read.champion_fault(registry, manifest) if history else "",
    )


def _answer(registry: Registry, history: list[LogEntry], at: str) -> tuple[Answering | None, str]:
    if not at:
        return None, ""
    try:
        return answering(history, at, clock.now(registry.models)), ""
    except (ValueError, OverflowError):
        return None, f"{at[:40]!r} is not a time. Write it like 2026-01-05T03:00, in UTC."
