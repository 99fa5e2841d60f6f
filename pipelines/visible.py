"""Hostile text made visible: nothing in it can hide, turn lines round or steer a terminal."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup


def visible(text: str) -> str:
    """The text with line ends, control and bidi characters spelled out as in Python."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def shown(value: Any) -> Any:
    """What a template fills in, made visible: for ``finalize`` of Jinja2. Markup is ours."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
