"""All Jinja2 environments are made here, so that every filled-in value is made harmless."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.core.escaping import escaped, shown


def markup(package: str, **options: Any) -> Environment:
    """HTML and SVG in the folder ``templates`` of a package: values are escaped and visible."""
    return _environment(package, autoescape=True, finalize=shown, **options)


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
