"""Our own Markdown, such as a model card, as part of a page. HTML in it stays text."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
_ATTRIBUTES = (  # a page allows no style of an element's own
    ("<th>", '<th scope="col">'),
    ('<th style="text-align:right">', '<th scope="col" class="number">'),
    ('<td style="text-align:right">', '<td class="number">'),
)
_IMAGE = re.compile(r'<img src="([^"]*)"[^>]*>')


def html(text: str, plots: dict[str, Markup] | None = None) -> Markup:
    """The text as HTML; pictures named in ``plots`` are put in place, others are left out."""
    drawn = plots or {}
    markup = _parser().render(text)
    markup = _TABLE.sub(
        lambda match: (
            f'<div class="scroll" role="region" aria-label="A table" tabindex="0">{match[0]}</div>'
        ),
        markup,
    )
    for theirs, ours in _ATTRIBUTES:
        markup = markup.replace(theirs, ours)
    markup = _IMAGE.sub(lambda match: str(drawn.get(match[1], "")), markup)
    return Markup(markup)  # noqa: S704 - the parser escapes, and knows no HTML


@functools.cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    # Links stay text: a card has none, so one could only come from foreign text.
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "autolink"])
