"""What plots are made of: symbols, scales, round numbers, legends, and the frame of the picture."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, Literal

from pipelines.core import templating

WIDTH, RIGHT, EDGE = 640, 618, 628  # pixels: of a plot, to the end of its scale, of its texts
_LETTER_WIDTH = 6.6  # pixels of an average letter, for placing what stands next to a text

Shape = Literal["circle", "square", "diamond", "triangle", "dash"]
Kind = Literal["one", "other", "fault", "limit"]
Domain = tuple[float, float]


@dataclass(frozen=True)
class Mark:
    """A symbol at a place, in pixels; ``text`` is what a pointer over it shows."""

    shape: Shape
    kind: Kind
    x: float = 0.0
    y: float = 0.0
    text: str = ""


@dataclass(frozen=True)
class Words:
    at: float
    words: str


@dataclass(frozen=True)
class Axis:
    """A straight scale: the value ``low`` is at pixel ``start``, ``high`` at ``end``."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Pixel of a value, to a tenth."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, most: int) -> list[Words]:
        values = ticks(self.low, self.high, most)
        step = values[1] - values[0] if len(values) > 1 else 1.0
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return [Words(self.at(value), f"{value:.{decimals}f}") for value in values]


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from ``low`` to ``high``, at most ``most`` steps of 1, 2 or 5 times a power."""
    least = (high - low) / most
    power = 10.0 ** math.floor(math.log10(least))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= least * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 9) + 0.0 for number in range(first, last + 1)]


def around(values: Iterable[float], *, at_least: float) -> Domain:
    """A domain that holds all finite values with some air, and is never empty."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    air = max(0.08 * (high - low), at_least)
    return low - air, high + air


def are_numbers(*values: float) -> bool:
    return all(math.isfinite(value) for value in values)


def points(marks: Iterable[Mark]) -> str:
    return " ".join(f"{mark.x},{mark.y}" for mark in marks)


def legend_lines(legend: Sequence[tuple[Mark, str]]) -> list[dict[str, Any]]:
    """Symbols with their words from left to right, on a second line where the first is full."""
    placed: list[dict[str, Any]] = []
    x, y = 20.0, 44.0
    for mark, words in legend:
        width = 13 + _LETTER_WIDTH * len(words) + 20
        if placed and x + width - 20 > EDGE:
            x, y = 20.0, y + 20
        placed.append({"mark": replace(mark, x=round(x, 1), y=y), "words": words})
        x += width
    return placed


def draw(
    plot: str,
    name: str,
    *,
    title: str,
    about: str,
    legend: Sequence[tuple[Mark, str]],
    **parts: Any,
) -> str:
    """The SVG. The legend is also its description, for readers who cannot see it."""
    template = _TEMPLATES.get_template(f"{plot}.svg.jinja")
    described = "; ".join(words for _, words in legend) or "nothing to compare with"
    return template.render(
        name=f"{plot}-{name}",
        title=title,
        edge=EDGE,
        width=WIDTH,
        description=f"{about}: {described}.",
        legend=legend_lines(legend),
        **parts,
    )


def without_style(svg: str) -> str:
    """The plot for a page that holds `plot_style` already."""
    return _STYLE.sub("", svg)


@functools.cache
def plot_style() -> str:
    """The style that each plot carries: the same in all of them, because nothing is filled in."""
    source = (resources.files("pipelines.gate.card") / "templates" / "plot.svg.jinja").read_text()
    return "".join(_STYLE.findall(source))


_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)

_TEMPLATES = templating.markup("pipelines.gate.card", keep_trailing_newline=True)
