"""The frame of every page: one template environment, one style, one set of response headers.

Nothing is loaded from elsewhere. The browser may run one script only, named by its hash: it
follows the theme of the Airflow page around it and lets links to Airflow leave the frame. Without
it everything works, too.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import resources
from typing import Any, Final, Literal

from jinja2 import Environment, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape
from pydantic import BaseModel, ConfigDict

from pipelines.core import links, templating
from pipelines.core.escaping import visible
from pipelines.gate.card.svg import without_style

Way = Sequence[tuple[str, str]]
Section = Literal[
    "champion", "decisions", "models", "incidents", "monitoring", "sources", "runbooks", "run",
    "form", "",
]  # fmt: skip

MOST_MODELS = 12  # that the frame names; of more, the page of all

# The pages that each model has of its own
OF_A_MODEL: Final[Mapping[str, Callable[[str], str]]] = {
    "champion": links.champion_link, "decisions": links.decisions_link,
    "monitoring": partial(links.monitoring_link, ""),
}  # fmt: skip


def navigation(model: str) -> tuple[tuple[str, str, str], ...]:
    """Name, label and link of each entry; those about a model lead to the same one."""
    return (
        ("champion", "Champion", links.champion_link(model)),
        ("decisions", "Decisions", links.decisions_link(model)),
        ("incidents", "Incidents", links.incidents_link()),
        ("sources", "Sources", links.sources_link()),
        ("runbooks", "Runbooks", links.runbooks_link()),
        ("monitoring", "Monitoring", links.monitoring_link("", model)),
    )


def choices(section: Section, models: Sequence[str]) -> list[tuple[str, str]]:
    """The same page of each model, as name and link; none where there are too many to choose."""
    link_of = OF_A_MODEL.get(section, links.champion_link)
    return [(name, link_of(name)) for name in models] if len(models) <= MOST_MODELS else []


class View(BaseModel):
    """What a template shows: made by a pure function, and never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Button(View):
    """A link that opens a form, or the reason why this reader does not get it."""

    label: str
    link: str
    is_allowed: bool
    dag_id: str
    tone: str = ""  # plain, danger


def render(
    template: str,
    *,
    title: str,
    section: Section = "",
    base: str = "",
    way: Way = (),
    refresh_seconds: int = 0,
    model: str = "",
    models: Sequence[str] = (),
    **parts: Any,
) -> str:
    """A whole page.

    Parameters
    ----------
    template : str
        File in ``pipelines/templates`` that extends ``base.html.jinja``.
    title : str
        Of the page and of the browser's tab.
    section : str
        Which entry of the navigation is the present one.
    base : str
        What Airflow's root is called from outside, without a final slash; templates write it before
        each link.
    way : sequence of (str, str)
        The pages above this one, as label and link.
    refresh_seconds : int
        After how many seconds a visible page is loaded again; 0 for never.
    model : str
        Which model the page is about; empty for a page about none.
    models : sequence of str
        All models, where there are several.
    **parts
        What the template asks for; leaving one out is an error.
    """
    return (
        _environment()
        .get_template(template)
        .render(
            title=title,
            section=section,
            base=base,
            way=way,
            refresh_seconds=refresh_seconds,
            navigation=navigation(model),
            model=model,
            models=models,
            models_to_choose=choices(section, models),
            all_models=links.models_link(),
            css=Markup(style()),  # noqa: S704 - a file of ours
            js=Markup(script()),  # noqa: S704 - a file of ours
            **parts,
        )
    )


def plot(svg: str) -> Markup:
    """A plot of ours for use inside a page, whose style it takes."""
    return Markup(without_style(svg))  # noqa: S704 - its template escapes what is filled in


def headers() -> dict[str, str]:
    """The headers of every answer."""
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; style-src {_hash(style())}; script-src {_hash(script())}; "
            "form-action 'self'; frame-ancestors 'self'; base-uri 'none'"
        ),
        **_ALWAYS,
    }


def inert_headers() -> dict[str, str]:
    """Headers for a document that is shown as it is stored: nothing in it runs."""
    policy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"
    return {"Content-Security-Policy": policy, **_ALWAYS}


_ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@functools.cache
def style() -> str:
    from pipelines.gate.card.svg import plot_style

    return f"{_file('page.css')}{plot_style()}"


@functools.cache
def script() -> str:
    return _file("page.js")


def _file(name: str) -> str:
    return (resources.files("pipelines.pages") / "templates" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()
    return f"'sha256-{digest}'"


def _count(value: int) -> str:
    return f"{value:,}"


@functools.cache
def _environment() -> Environment:
    environment = templating.markup("pipelines.pages", trim_blocks=True, lstrip_blocks=True)
    environment.filters["count"] = _count
    environment.filters["moment"] = _moment
    environment.filters["linked"] = _linked
    environment.filters["about"] = _about
    return environment


_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)?(?: UTC|Z|\+00:00)?")


def _moment(at: str) -> Markup | str:
    """A time of ours in UTC, which the page's script also shows in the reader's zone."""
    match = _MOMENT.fullmatch(at)
    if match is None:
        return at
    day, second = match.groups()
    return Markup('<time datetime="{0}T{1}Z">{0} {1} UTC</time>').format(day, second)


@pass_context
def _about(context: Context, link: str) -> str:
    """A page as it is about the model of this page."""
    return links.about(link, context["model"])


@pass_context
def _linked(context: Context, text: str) -> Markup:
    """A text of ours in which the names of runbooks lead to their pages."""
    base = context["base"]
    parts: list[Markup] = []
    end = 0
    for match in links.RUNBOOK.finditer(text):
        link = f"{base}{links.runbook_link(match[0])}"
        parts.append(escape(visible(text[end : match.start()])))
        parts.append(Markup('<a href="{}">{}</a>').format(link, match[0]))
        end = match.end()
    return Markup("").join([*parts, escape(visible(text[end:]))])
