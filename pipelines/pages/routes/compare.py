"""*Compare*: two decided versions side by side."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from pipelines.core import keys, links
from pipelines.gate.card.sentences import Judged
from pipelines.pages import read
from pipelines.pages.error_pages import no_such
from pipelines.pages.site import Site, respond
from pipelines.pages.views import compare
from pipelines.registry.registry import Registry

MOST_CHOICES = 50

Choice = Annotated[str, Query(pattern=r"^(|[0-9a-f]{20}/[0-9]{8}-[0-9a-f]{16})$")]


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/compare", dependencies=[site.may_read(links.RETRAIN)])
    def compare_page(request: Request, one: Choice = "", other: Choice = "") -> HTMLResponse:
        registry = site.about(request).registry()
        newest = [_choice(info.key) for info in read.decisions(registry)[:MOST_CHOICES]]
        champion = _of_champion(registry)
        one = one or champion or next(iter(newest), "")
        others = [choice for choice in (champion, *newest) if choice and choice != one]
        other = other or next(iter(others), "")
        pair = [_judged(registry, choice) for choice in (one, other) if choice]
        lines = compare.compared(pair[0], pair[1]) if len(pair) == 2 else []
        return respond(
            request, "compare.html.jinja", title="Compare two versions", section="decisions",
            model=registry.name,
            way=[("Decisions", links.decisions_link(registry.name))],
            lines=lines, one=one, other=other,
            choices=list(dict.fromkeys([*filter(None, (one, other)), *newest])),
            champion=champion, page_link=links.compare_link(), pages=links.decisions_link(),
        )  # fmt: skip

    return routes


def _choice(decision_key: str) -> str:
    return links.choice_of(decision_key)


def _of_champion(registry: Registry) -> str:
    champion = read.or_none(lambda _: registry.log.champion(), None)
    return _choice(champion.decision_key) if champion else ""


def _judged(registry: Registry, choice: str) -> Judged:
    version, _, folder = choice.partition("/")
    key = f"{keys.gates_folder(registry.name, version)}{folder}/decision.json"
    if registry.models.find(key) is None:
        raise no_such(f"This decision on version {version} does not exist.")
    return read.judged(registry, key)
