"""Our own Markdown, such as a model card, as part of a page. HTML in it stays text."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
_PART = re.compile(r"(<h2[^>]*>.*?</h2>)", re.DOTALL)
_ATTRIBUTES = (  # a page allows no style of an element's own
    ("<th>", '<th scope="col">'),
    ('<th style="text-align:right">', '<th scope="col" class="number">'),
    ('<td style="text-align:right">', '<td class="number">'),
)
_IMAGE = re.compile(r'<img src="([^"]*)"[^>]*>')


def html(text: str, plots: dict[str, Markup] | None = None) -> Markup:
    """The text as HTML; pictures named in ``plots`` are put in place, others are left out.

    Links stay text: a card has none, so one could only come from foreign text.
    """
    return _dressed(_parser().render(text), plots or {})


def folded(page: Markup) -> Markup:
    """A page whose parts below its first heading are folded, each under its own heading."""
    first, *parts = _PART.split(str(page))
    shown = [
        f"<details><summary>{heading}</summary>\n{body}</details>\n"
        for heading, body in zip(parts[::2], parts[1::2], strict=True)
    ]
    return Markup("".join([first, *shown]))  # noqa: S704 - put together from what was escaped


def own_page(
    text: str, link_of: Callable[[str], str | None], name_of: Callable[[str], str]
) -> Markup:
    """A page of this project as HTML, with its headings to link to.

    ``link_of`` gives the address of a link's target, or None to leave its words as text, followed
    by what ``name_of`` calls the target.
    """
    parser = _own_parser()
    tokens = parser.parse(text)
    for token, inline in itertools.pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", _slug(inline.content))
    for token in tokens:
        if token.children:
            token.children = list(_linked(token.children, link_of, name_of))
    return _dressed(parser.renderer.render(tokens, parser.options, {}), {})


def _linked(
    tokens: Sequence[Token], link_of: Callable[[str], str | None], name_of: Callable[[str], str]
) -> Iterator[Token]:
    unlinked = None
    for token in tokens:
        if token.type == "link_open":
            written = str(token.attrGet("href") or "")
            target = link_of(written)
            unlinked = written if target is None else None
            if target is None:
                continue
            token.attrSet("href", target)
        if token.type == "link_close" and unlinked is not None:
            yield _text(f" ({name_of(unlinked)})")
            continue
        if token.type != "image":  # those show pages that the reader is in already
            yield token


def _text(content: str) -> Token:
    from markdown_it.token import Token

    return Token("text", "", 0, content=content)


def _slug(heading: str) -> str:
    """The name of a heading in a link, as GitHub makes it."""
    words = re.sub(r"[^\w\- ]", "", heading.lower())
    return words.replace(" ", "-")


def _dressed(markup: str, drawn: dict[str, Markup]) -> Markup:
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

    return MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "autolink"])


@functools.cache
def _own_parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("autolink")
