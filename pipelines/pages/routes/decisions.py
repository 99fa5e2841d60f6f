"""*Decisions*, one decision, and its model card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse

from pipelines.core import keys, links
from pipelines.core.errors import ObjectMissingError, concerns_one_record, sentence
from pipelines.core.settings.settings import command
from pipelines.gate.card import card, history_plot, plots, sentences
from pipelines.pages import export, read
from pipelines.pages.error_pages import no_such
from pipelines.pages.frame import plot
from pipelines.pages.markdown_page import folded, html
from pipelines.pages.read import Name, Value
from pipelines.pages.routes.champion import Page
from pipelines.pages.site import Site, respond
from pipelines.pages.views import decisions
from pipelines.registry.registry import Registry

# Decisions per page. To find those of one verdict, more of them are read, but nothing else of them.
_SIZES = {False: decisions.PAGE_SIZE, True: 200}

VerdictAsked = Annotated[str, Query(pattern=r"^(|PROMOTE|REFRESH|HOLD|INCONCLUSIVE|REJECT)$")]
VersionAsked = Annotated[str, Query(pattern=r"^[0-9a-f]{0,20}$")]
File = Annotated[str, Query(alias="format", pattern="^(|csv|json)$")]
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
    def every(
        request: Request, page: Page = 1, verdict: VerdictAsked = "", q: VersionAsked = "",
        file: File = "",
    ) -> Response:  # fmt: skip
        registry = site.about(request).registry()
        stored = [
            info for info in read.decisions(registry) if keys.version_of(info.key).startswith(q)
        ]
        pages = max(1, -(-len(stored) // _SIZES[bool(verdict)]))
        if page > pages:
            raise no_such(f"The decisions have no page {page}.")
        size = _SIZES[bool(verdict)]
        shown = stored[(page - 1) * size : page * size]
        found = read.by_name(lambda info: _line(registry, info.key, info.stored_at, verdict), shown)
        lines = [line for line in found.values() if line is not None]
        if file:
            return export.file([line.model_dump() for line in lines], "decisions", file)
        return respond(
            request, "decisions.html.jinja", title="Decisions", section="decisions",
            model=registry.name,
            lines=lines, page=page, pages=pages, entries=len(stored), verdict=verdict, q=q,
            verdicts=list(decisions.TONES), page_link=links.decisions_link(),
            here=_asked_link(page, verdict, q), newer=_asked_link(page - 1, verdict, q),
            older=_asked_link(page + 1, verdict, q), compare=links.compare_link(),
        )  # fmt: skip


def _asked_link(page: int, verdict: str, version: str) -> str:
    """A page of the decisions with the same filters; more parameters may follow."""
    asked = {"page": page, "verdict": verdict, "q": version}
    return f"{links.decisions_link()}?{urlencode({n: v for n, v in asked.items() if v})}"


def _line(registry: Registry, key: str, stored_at: str, verdict: str) -> decisions.Line | None:
    """One decision of the list; None if it has another verdict than was asked for."""
    decision = read.or_none(registry.decisions.decision, key)
    if verdict and (decision is None or decision.verdict != verdict):
        return None
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
        registry = site.about(request).registry()
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
            model=registry.name,
            problems=problems.sentences, decision=decision, tone=decisions.TONES[decision.verdict],
            standing=decisions.standing(judged), digest=decision.digest(),
            signed_by=registry.models.signed_by(key),
            followed=decisions.followed(decision, key, approval, entry),
            answer=decisions.answer(approval), card=links.card_link(key),
            promoted_by=links.actor(entry.actor) if entry and is_promotion else None,
            way=[("Decisions", links.decisions_link(registry.name))],
            deciding=decisions.decided_by(decision), passed=sentences.passed_sentence(decision),
            waits=decision.approval == "needed" and approval is None and entry is None,
            runbook=links.runbook_link("docs/runbooks/approval.md"),
            check=command(f"decision verify {version}", decision.model_name),
            compare=links.compare_link(key), groups=decisions.grouped(decision.rules),
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
        registry, reviews = site.about(request).registry(), site.stores().reviews
        key = _key(registry, version, folder)
        try:
            judged = read.judged(registry, key)
            stored = card.read(reviews, registry, judged.decision)
        except ObjectMissingError as error:
            raise no_such(f"This model card of version {version} is missing: {error}") from error
        text, evaluation = stored[card.CARD].decode("utf-8", "replace"), judged.evaluation
        before = judged.decision.champion_generation
        history = [entry for entry in registry.log.history() if entry.generation <= before]
        # The plots are drawn again: only what our own templates make becomes part of a page.
        drawn = {
            "calibration.svg": plot(plots.calibration(evaluation)),
            "slices.svg": plot(plots.slices(evaluation, judged.decision)),
            "history.svg": plot(history_plot.history(evaluation, history)),
        }
        return respond(
            request, "card.html.jinja", title=f"Model card of {version}", section="decisions",
            model=registry.name,
            way=[("Decisions", links.decisions_link(registry.name)),
                 (f"Decision on {version}", links.decision_link(key))],
            card=folded(html(_without_title(text), drawn)),
        )  # fmt: skip


def _without_title(text: str) -> str:
    first, _, rest = text.partition("\n")
    return rest if first.startswith("# ") else text
