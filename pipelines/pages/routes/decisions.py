"""*Decisions*, one decision, and its model card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse

from pipelines.core import keys, links
from pipelines.core.errors import ObjectMissingError, concerns_one_record, sentence
from pipelines.gate.card import card, history_plot, plots
from pipelines.pages import read
from pipelines.pages.error_pages import no_such
from pipelines.pages.frame import plot
from pipelines.pages.markdown_page import html
from pipelines.pages.read import Name, Value
from pipelines.pages.routes.champion import Page
from pipelines.pages.site import Site, respond
from pipelines.pages.views import decisions
from pipelines.registry.registry import Registry

Version = Annotated[str, Path(pattern=r"^[0-9a-f]{20}$")]
Folder = Annotated[str, Path(pattern=r"^\d{8}-[0-9a-f]{16}$")]


def router(site: Site) -> APIRouter:
    routes = APIRouter(dependencies=[site.may_read(links.RETRAIN)])
    _add_list(routes, site)
    _add_decision(routes, site)
    _add_card(routes, site)
    return routes


def _add_list(routes: APIRouter, site: Site) -> None:
    @routes.get("/decisions")
    def every(request: Request, page: Page = 1) -> HTMLResponse:
        registry = site.registry()
        stored = read.decisions(registry)
        pages = max(1, -(-len(stored) // decisions.PAGE_SIZE))
        if page > pages:
            raise no_such(f"The decisions have no page {page}.")
        shown = stored[(page - 1) * decisions.PAGE_SIZE : page * decisions.PAGE_SIZE]
        lines = read.by_name(lambda info: _line(registry, info.key, info.stored_at), shown)
        return respond(
            request, "decisions.html.jinja", title="Decisions", section="decisions",
            lines=list(lines.values()), page=page, pages=pages, entries=len(stored),
            page_link=links.decisions_link(),
        )  # fmt: skip


def _line(registry: Registry, key: str, stored_at: str) -> decisions.Line:
    decision = read.or_none(registry.decisions.decision, key)
    if decision is None:
        return decisions.line(key, stored_at, None, None, None)
    approval = read.or_none(registry.decisions.find_approval, decision)
    entry = read.or_none(registry.log.find_entry, decision.champion_generation + 1)
    return decisions.line(key, stored_at, decision, approval, entry)


def _key(registry: Registry, version: str, folder: str) -> str:
    return f"{keys.gates_folder(registry.name, version)}{folder}/decision.json"


def _add_decision(routes: APIRouter, site: Site) -> None:
    @routes.get("/decisions/{version}/{folder}")
    def decision_page(request: Request, version: Version, folder: Folder) -> HTMLResponse:
        registry = site.registry()
        key = _key(registry, version, folder)
        if registry.models.find(key) is None:
            raise no_such(f"This decision on version {version} does not exist.")
        judged = read.judged(registry, key)
        decision, problems = judged.decision, Problems()
        approval = problems.or_none(registry.decisions.find_approval, decision)
        entry = problems.or_none(registry.log.find_entry, decision.champion_generation + 1)
        is_promotion = entry is not None and entry.decision_key == key
        return respond(
            request, "decision.html.jinja", title=f"Decision on {version}", section="decisions",
            problems=problems.sentences, decision=decision, tone=decisions.TONES[decision.verdict],
            standing=decisions.standing(judged), digest=decision.digest(),
            signed_by=registry.models.signed_by(key),
            followed=decisions.followed(decision, key, approval, entry),
            answer=decisions.answer(approval), card=links.card_link(key),
            promoted_by=links.actor(entry.actor) if entry and is_promotion else None,
            groups=decisions.grouped(decision.rules),
            drawings=decisions.drawings(judged), tables=decisions.tables(judged),
        )  # fmt: skip


@dataclass
class Problems:
    """What could not be read besides the decision: it is named, and the rest is shown."""

    sentences: list[str] = field(default_factory=list)

    def or_none(self, read: Callable[[Name], Value], name: Name) -> Value | None:
        try:
            return read(name)
        except Exception as error:
            if not concerns_one_record(error):
                raise
            self.sentences.append(sentence(error))
            return None


def _add_card(routes: APIRouter, site: Site) -> None:
    @routes.get("/decisions/{version}/{folder}/card")
    def model_card(request: Request, version: Version, folder: Folder) -> HTMLResponse:
        registry, reviews = site.registry(), site.stores().reviews
        key = _key(registry, version, folder)
        try:
            evidence = card.gather(reviews, registry, key)
        except ObjectMissingError as error:
            raise no_such(f"This model card of version {version} is missing: {error}") from error
        text = card.read(reviews, registry, evidence.decision)[card.CARD].decode("utf-8", "replace")
        evaluation = evidence.evaluation
        drawn = {
            "calibration.svg": plot(plots.calibration(evaluation)),
            "slices.svg": plot(plots.slices(evaluation, evidence.decision)),
            "history.svg": plot(history_plot.history(evaluation, evidence.history)),
        }
        return respond(
            request, "card.html.jinja", title=f"Model card of {version}", section="decisions",
            decision=links.decision_link(key), card=html(_without_title(text), drawn),
        )  # fmt: skip


def _without_title(text: str) -> str:
    first, _, rest = text.partition("\n")
    return rest if first.startswith("# ") else text
