"""Tables and facts for people: what somebody may copy is neither cut nor broken over two lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from pipelines.core.escaping import visible

out, err = Console(), Console(stderr=True)

_NARROWEST_SENTENCE = 30  # columns; a sentence in fewer is hard to read


def room() -> int:
    """How many columns there are to print in: those of the terminal; any number in a pipe."""
    return out.width if out.is_terminal else 100_000


def print_whole(table: Table) -> None:
    """Print a table as wide as `room` allows."""
    Console(file=sys.stdout, width=room(), force_terminal=out.is_terminal).print(table)


def print_table(
    title: str, headers: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, if_empty: str
) -> None:
    """Print rows as a table, or one below the other where a table would have to break something.

    Parameters
    ----------
    title : str
        Printed above.
    headers : tuple of str
        One per column. Only the last column may hold sentences, which are broken between words.
    rows : sequence of tuples of str
        A cell per column in each.
    if_empty : str
        A sentence that is printed instead of an empty table.
    """
    if not rows:
        out.print(Text(if_empty), soft_wrap=True)
        return
    cells = [tuple(visible(cell) for cell in row) for row in rows]
    table = _table(title, headers, cells)
    if _fits(table, cells):
        print_whole(table)
        return
    out.print(Text(title, "italic"), soft_wrap=True)
    for row in cells:
        out.print()
        _print_lines(list(zip(headers, row, strict=True)))


def _table(title: str, headers: tuple[str, ...], cells: Sequence[tuple[str, ...]]) -> Table:
    table = Table(title=Text(title), title_justify="left")
    for header in headers[:-1]:
        table.add_column(header, no_wrap=True)
    table.add_column(headers[-1], overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    return table


def _fits(table: Table, cells: Sequence[tuple[str, ...]]) -> bool:
    """Whether the table fits without breaking anything but sentences between their words."""
    wide = Console(width=100_000)
    needed = Measurement.get(wide, wide.options, table).maximum
    if needed <= room():
        return True
    sentences = [row[-1] for row in cells]
    longest_word = max(len(word) for text in sentences for word in [*text.split(), ""])
    left = room() - needed + max(map(len, [*sentences, str(table.columns[-1].header)]))
    return left >= max(longest_word, _NARROWEST_SENTENCE)


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print each fact in a line of its own; of a list each item."""
    lines = []
    for name, value in facts.items():
        values = value if isinstance(value, list | tuple) and value else [value]
        for place, single in enumerate(values):
            lines.append((name.replace("_", " ") if place == 0 else "", _shown(single)))
    _print_lines(lines)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return visible(json.dumps(value, ensure_ascii=False))
    return "-" if value is None or value in ((), []) else visible(str(value))


def _print_lines(lines: Sequence[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        # A terminal breaks a long line itself, and gives it back unbroken when it is copied.
        out.print(Text.assemble((f"{name:<{width}}  ", "dim"), value), soft_wrap=True)
