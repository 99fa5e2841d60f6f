"""Plots of a judged version, each a pure function from records to one SVG of 640 pixels.

They load nothing and run nothing, so a page may put them inline. Colours follow the reader's light
or dark setting; each also has its own shape for readers who cannot distinguish the colours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipelines.gate.card.svg import (
    RIGHT,
    Axis,
    Mark,
    Shape,
    Words,
    are_numbers,
    around,
    draw,
    points,
)
from pipelines.records.decisions import Decision, GateRule
from pipelines.records.evaluations import (
    AnyMetrics,
    CalibrationBin,
    Evaluation,
    PairedComparison,
    SliceScore,
)

TENTHS = 10
_LONGEST_NAME = 17  # letters of a slice's name that fit next to its plot

# Calibration


def calibration(evaluation: Evaluation) -> str:
    """A reliability diagram: predicted probability and true share on the holdout.

    For more than two classes of the predicted class: how sure it is, and how often it is right.
    """
    left, top, bottom = 78, 72, 372
    across = Axis(0.0, 1.0, left, RIGHT)
    down = Axis(0.0, 1.0, bottom, top)
    scores, names = evaluation.holdout, evaluation.names
    models: list[tuple[str, AnyMetrics | None, Mark]] = [
        (f"challenger {evaluation.version[:8]}", scores.challenger, Mark("circle", "one"))
    ]
    if evaluation.champion_version is not None:
        name = f"champion {evaluation.champion_version[:8]}"
        models.insert(0, (name, scores.champion, Mark("square", "other")))
    legend = [(mark, f"{name}: {_off_by(metrics)}") for name, metrics, mark in models]
    return draw(
        "calibration",
        evaluation.version,
        about=evaluation.model_name,
        title=f"Calibration on the holdout, {scores.rows:,} reviews",
        legend=[*legend, (Mark("dash", "limit"), "perfectly calibrated")],
        height=bottom + 66 + 20 * len(models),
        left=left, right=RIGHT, top=top, bottom=bottom,
        across=_percent_ticks(across), down=_percent_ticks(down),
        second_class=names[1] if len(names) == 2 else "",
        curves=[_curve(name, metrics, mark, across, down) for name, metrics, mark in models],
        counts=[
            _counts(metrics, replace(mark, x=17, y=bottom + 62 + 20 * row), across)
            for row, (_, metrics, mark) in enumerate(models)
        ],
    )  # fmt: skip


def _off_by(metrics: AnyMetrics | None) -> str:
    if metrics is None or not are_numbers(metrics.calibration_error):
        return "no scores"
    return f"off by {metrics.calibration_error:.1%}"


def _percent_ticks(axis: Axis) -> list[Words]:
    return [Words(axis.at(percent / 100), str(percent)) for percent in range(0, 101, 20)]


def _curve(
    name: str, metrics: AnyMetrics | None, mark: Mark, across: Axis, down: Axis
) -> dict[str, Any]:
    marks = [
        replace(
            mark,
            x=across.at(bar.mean_probability),
            y=down.at(bar.positive_share),
            text=f"{name}: {bar.mean_probability:.1%} predicted, {bar.positive_share:.1%} true, "
            f"{bar.rows:,} reviews",
        )
        for bar in _bins(metrics)
    ]
    return {"kind": mark.kind, "marks": marks, "points": points(marks)}


def _bins(metrics: AnyMetrics | None) -> list[CalibrationBin]:
    bars = () if metrics is None else metrics.calibration
    return [bar for bar in bars if are_numbers(bar.mean_probability, bar.positive_share)]


def _counts(metrics: AnyMetrics | None, mark: Mark, across: Axis) -> dict[str, Any]:
    """How many reviews are in each tenth, below the middle of it."""
    rows = dict.fromkeys(range(TENTHS), 0)
    for bar in _bins(metrics):
        rows[min(int(bar.mean_probability * TENTHS), TENTHS - 1)] += bar.rows
    cells = [Words(across.at((tenth + 0.5) / TENTHS), _short(rows[tenth])) for tenth in rows]
    return {"mark": mark, "cells": cells}


def _short(count: int) -> str:
    return f"{count:,}" if count < 100_000 else f"{count / 1000:,.0f}k"


# Slices


def slices(evaluation: Evaluation, decision: Decision) -> str:
    """How accuracy changes in each slice against the champion, with intervals: a forest plot."""
    left, right, top = 196, 452, 88
    compared = [
        (part, part.against_champion)
        for part in evaluation.slices
        if part.against_champion is not None and are_numbers(*_bounds(part.against_champion))
    ]
    rules = {rule.rule: rule for rule in decision.rules if rule.group == "slice"}
    limit = next((rule.limit for rule in rules.values() if rule.limit is not None), None)
    values = [100 * value for _, paired in compared for value in _bounds(paired)]
    ends = around([*values, 0.0, *([] if limit is None else [100 * limit])], at_least=0.1)
    across, bottom = Axis(*ends, left, right), top + 26 * len(compared)
    return draw(
        "slices",
        evaluation.version,
        about=evaluation.model_name,
        title="Accuracy by slice, challenger minus champion",
        legend=_slice_legend(limit) if compared else [],
        height=bottom + 52 if compared else 80,
        left=left, right=right, top=top, bottom=bottom,
        across=across.ticks(7), zero=across.at(0.0),
        limit=None if limit is None else across.at(100 * limit),
        rows=[
            _slice_row(part, paired, rules.get(f"slice {part.name}"), across, top + 13 + 26 * row)
            for row, (part, paired) in enumerate(compared)
        ],
    )  # fmt: skip


def _bounds(paired: PairedComparison) -> tuple[float, float, float]:
    return paired.accuracy_change_low, paired.accuracy_change, paired.accuracy_change_high


def _slice_legend(limit: float | None) -> list[tuple[Mark, str]]:
    marks = [
        (Mark("circle", "one"), "not reliably worse"),
        (Mark("triangle", "fault"), "reliably worse"),
    ]
    if limit is None:
        return marks
    return [*marks, (Mark("dash", "limit"), f"limit of a single slice, {100 * limit:.1f} points")]


def _slice_row(
    part: SliceScore, paired: PairedComparison, rule: GateRule | None, across: Axis, y: float
) -> dict[str, Any]:
    low, change, high = (100 * value for value in _bounds(paired))
    is_fault = rule is not None and not rule.is_passed
    shape: Shape = "triangle" if is_fault else "circle"
    numbers = f"{change:+.2f} [{low:+.2f}, {high:+.2f}]"
    return {
        "name": _fitting(part.name),
        "reviews": _short(part.rows),
        "numbers": numbers,
        "low": across.at(low),
        "high": across.at(high),
        "mark": Mark(
            shape, "fault" if is_fault else "one", across.at(change), y, f"{part.name}: {numbers}"
        ),
    }


def _fitting(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}\u2026"
