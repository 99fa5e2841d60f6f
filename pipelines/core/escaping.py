"""Make foreign text harmless: for a line of text, for Markdown, for a chat message."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup


def visible(text: str) -> str:
    """The text with line ends, control and bidi characters spelled out as in Python."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def shown(value: Any) -> Any:
    """A filled-in value, made visible: for ``finalize`` of Jinja2. Markup is ours."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


_MARKUP = re.compile(r"[\\`*_\[\]<>|~&$#]")
# What some readers turn into links or mentions without any markup.
_LINKED = re.compile(r"(?i)(?<=[a-z]:)(?=//)|(?<=@)|(?<=www)(?=\.)")
_PLAIN_CODE = re.compile(r"[\w .:/=+,'()-]+", re.ASCII)


class Markdown(str):
    """Text that is Markdown already and is not escaped again."""

    __slots__ = ()


def escaped(value: object) -> Markdown:
    """A value as plain text on one line; Markdown passes through.

    Line ends and terminal control characters are spelled out.
    """
    if isinstance(value, Markdown):
        return value
    text = _MARKUP.sub(lambda match: f"\\{match[0]}", visible(str(value)))
    return Markdown(_LINKED.sub("\N{WORD JOINER}", text))


def code(value: object) -> Markdown:
    """A name or digest in a code span; what does not fit there becomes plain text."""
    text = str(value)
    return Markdown(f"`{text}`") if _PLAIN_CODE.fullmatch(text) else escaped(text)


def table(
    headers: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[int] = ()
) -> Markdown:
    """A table with its cells escaped; ``right`` are the columns of numbers, from 0."""
    numbers = set(right)
    rule = [Markdown("---:" if column in numbers else "---") for column in range(len(headers))]
    lines = [_line(headers), _line(rule), *(_line(row) for row in rows)]
    return Markdown("\n".join(lines))


def _line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(escaped(cell) for cell in cells)} |"


def plain(text: str, *, most: int) -> str:
    """One line without control and bidi characters, cut to so many characters."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(shown.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
