"""Charts over nights, as SVG: accuracy and drift against their limits, with what was done.

They are drawn from at most a thousand points, without a script. A colour never says anything that
a shape or a line does not say, too.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from pipelines.core import templating
from pipelines.gate.card.svg import Axis, Words, are_numbers, around
from pipelines.pages.views.monitoring import WORST, Point, drift_of

WIDTH, LEFT, RIGHT = 960, 60, 916  # pixels
TOP, BOTTOM, HEIGHT = 56, 250, 292
MOST_MARKS = 130  # nights that each get a symbol; of more only those that are not quiet
MOST_TICKS = 9


@dataclass(frozen=True)
class Curve:
    """A line through nights, broken where a value is missing."""

    kind: str
    name: str
    pieces: tuple[str, ...]


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    kind: str
    text: str


@dataclass(frozen=True)
class Event:
    """A vertical line: a promotion, or a retraining that was asked for."""

    x: float
    kind: str
    text: str


def accuracy(points: Sequence[Point], starts: Sequence[str], part: str) -> Markup | None:
    """Accuracy, its estimate, what is usual, and where FADING begins; None without a number."""
    scored = [(each, each.parts.get(part)) for each in points]
    measured = [(each.night, one.accuracy) for each, one in scored if one]
    usual = [(each.night, one.usual) for each, one in scored if one and one.usual is not None]
    limit = [
        (each.night, one.usual - one.limit)
        for each, one in scored
        if one and one.usual is not None and one.limit is not None
    ]
    estimate = [(each.night, each.estimate) for each in points
                if part == "all" and each.estimate is not None]  # fmt: skip
    if not measured:
        return None
    values = [value for line in (measured, usual, limit, estimate) for _, value in line]
    low, high = around(values, at_least=0.005)
    down = Axis(100 * low, 100 * high, BOTTOM, TOP)
    across = _across(points)
    lines = [
        _curve("zero", "usual", usual, across, down, 100.0),
        _curve("limit", "FADING below", limit, across, down, 100.0),
        _curve("one", "estimate without labels", estimate, across, down, 100.0),
        _curve("other", "right on new reviews", measured, across, down, 100.0),
    ]
    dots = [
        Dot(across(each.night), down.at(100 * one.accuracy), _tone(each),
            f"{each.night}: {one.accuracy:.1%} of {one.rows:,}, {each.verdict}")
        for each, one in scored
        if one and (len(points) <= MOST_MARKS or each.verdict in {"DRIFT", "FADING"})
    ]  # fmt: skip
    return _draw("Accuracy on new reviews, %", part, points, starts, (lines, dots, down))


def drift(points: Sequence[Point], starts: Sequence[str], test: str) -> Markup | None:
    """A test's value as a multiple of its limit: 1 is the limit. None without a number."""
    valued = [(each, value) for each in points if (value := drift_of(each, test)) is not None]
    if not valued:
        return None
    top = max(1.5, *(value for _, value in valued))
    down, across = Axis(0.0, 1.05 * top, BOTTOM, TOP), _across(points)
    limit = [(points[0].night, 1.0), (points[-1].night, 1.0)]
    named = "the worst of seven" if test == WORST else test.replace("_", " ")
    lines = [
        _curve("limit", "DRIFT above", limit, across, down, 1.0),
        _curve("other", named, [(each.night, value) for each, value in valued], across, down, 1.0),
    ]
    dots = [
        Dot(across(each.night), down.at(value), "fault" if value > 1 else "other",
            f"{each.night}: {value:.2f} of the limit, {each.verdict}")
        for each, value in valued
        if len(points) <= MOST_MARKS or value > 1
    ]  # fmt: skip
    return _draw("Drift as a multiple of its limit", named, points, starts, (lines, dots, down))


def _tone(at: Point) -> str:
    return "fault" if at.verdict in {"DRIFT", "FADING"} else "other"


def _across(points: Sequence[Point]) -> Any:
    first, last = _day(points[0].night), _day(points[-1].night)
    axis = Axis(first - 0.5, last + 0.5, LEFT, RIGHT)
    return lambda night: axis.at(_day(night))


def _day(night: str) -> int:
    return date.fromisoformat(night).toordinal()


def _curve(
    kind: str, name: str, values: Sequence[tuple[str, float]], across: Any, down: Axis,
    factor: float,
) -> Curve:  # fmt: skip
    places = [f"{across(night)},{down.at(factor * value)}" for night, value in values
              if are_numbers(value)]  # fmt: skip
    return Curve(kind, name, (" ".join(places),) if len(places) > 1 else ())


def _draw(
    title: str,
    about: str,
    points: Sequence[Point],
    starts: Sequence[str],
    drawn: tuple[list[Curve], list[Dot], Axis],
) -> Markup:
    curves, dots, down = drawn
    across = _across(points)
    shown = [curve for curve in curves if curve.pieces]
    events = [*_promotions(points, across), *_asked(points, starts, across)]
    svg = _environment().get_template("nights.svg.jinja").render(
        name=title.split(maxsplit=1)[0].lower(), title=f"{title}: {about}", width=WIDTH,
        height=HEIGHT, left=LEFT, right=RIGHT, top=TOP, bottom=BOTTOM, curves=shown, dots=dots,
        events=events, down=down.ticks(5), across=_nights(points, across),
        legend=_legend(shown, events),
        about=f"{len(points)} nights from {points[0].night} to {points[-1].night}.",
    )  # fmt: skip
    return Markup(svg)  # noqa: S704 - its template escapes what is filled in


def _promotions(points: Sequence[Point], across: Any) -> Iterator[Event]:
    for before, after in pairwise(points):
        if after.generation > before.generation and len(points) <= MOST_MARKS:
            text = f"{after.night}: judged by champion generation {after.generation}"
            yield Event(across(after.night), "promotion", text)


def _asked(points: Sequence[Point], starts: Sequence[str], across: Any) -> Iterator[Event]:
    first, last = points[0].night, points[-1].night
    for day in starts:
        if first <= day <= last:
            yield Event(across(day), "asked", f"{day}: a retraining was asked for")


def _legend(curves: Sequence[Curve], events: Sequence[Event]) -> list[dict[str, Any]]:
    """Words with the symbol of each line, from left to right."""
    entries = [(curve.kind, curve.name) for curve in curves]
    kinds = {event.kind for event in events}
    entries += [("promotion", "another champion")] if "promotion" in kinds else []
    entries += [("asked", "retraining asked for")] if "asked" in kinds else []
    placed, x = [], float(LEFT)
    for kind, words in entries:
        placed.append({"kind": kind, "words": words, "x": x})
        x += 40 + 6.8 * len(words)
    return placed


def _nights(points: Sequence[Point], across: Any) -> list[Words]:
    every = max(1, -(-len(points) // MOST_TICKS))
    return [Words(across(each.night), each.night) for each in [*points][::-1][::every]][::-1]


@functools.cache
def _environment() -> Environment:
    return templating.markup("pipelines.pages", trim_blocks=True, lstrip_blocks=True)
