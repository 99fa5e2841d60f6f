"""All Jinja2 environments are made here, so that every filled-in value is made harmless."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipelines.core.escaping import escaped, shown

MOST_UNFOLDED_CHARS, MOST_BEGINNING_CHARS = 240, 200


def markup(package: str, **options: Any) -> Environment:
    """HTML and SVG in the folder ``templates`` of a package: values are escaped and visible."""
    environment = _environment(package, autoescape=True, finalize=shown, **options)
    environment.filters["folded"] = _folded
    return environment


def _folded(text: str) -> str:
    """A long text as its beginning, which a reader can open to see the rest."""
    if len(text) <= MOST_UNFOLDED_CHARS:
        return text
    beginning = text[:MOST_BEGINNING_CHARS].rsplit(" ", 1)[0]
    return Markup(
        '<details><summary>{}<span class="more"> ...</span></summary>{}</details>'
    ).format(shown(beginning), shown(text[len(beginning) :]))


def markdown(package: str, **options: Any) -> Environment:
    """Markdown in the folder ``templates`` of a package: values are plain text on one line."""
    return _environment(package, autoescape=False, finalize=escaped, **options)


def _environment(
    package: str, *, autoescape: bool, finalize: Callable[[Any], Any], **options: Any
) -> Environment:
    return Environment(
        loader=PackageLoader(package), autoescape=autoescape,  # noqa: S701
        finalize=finalize, undefined=StrictUndefined, **options,
    )  # fmt: skip
