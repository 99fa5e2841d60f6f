"""The champion's scores over its generations, as a plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipelines.gate.card.svg import RIGHT, Axis, Mark, Words, are_numbers, around, draw, points
from pipelines.records.evaluations import Evaluation
from pipelines.records.succession import LogEntry

MOST_GENERATIONS = 60


# History


def history(evaluation: Evaluation, entries: Sequence[LogEntry]) -> str:
    """Scores of the champions by generation, and this challenger's after them.

    Parameters
    ----------
    evaluation : Evaluation
        Of the challenger.
    entries : sequence of LogEntry
        The champion log up to the generation that it was compared with, oldest first.
    """
    left, bottom = 78, 422
    shown = entries[-MOST_GENERATIONS:]
    mine = evaluation.champion_generation + 1
    first = shown[0].generation if shown else mine
    across = Axis(first - 0.5, mine + 0.5, left, RIGHT)
    panels = _panels(across, shown, bottom, now=evaluation)
    return draw(
        "history",
        evaluation.version,
        about=evaluation.model_name,
        title="Holdout scores, "
        + (f"generations {first} to {mine}" if first < mine else f"generation {mine}"),
        legend=_history_legend(evaluation, shown),
        height=bottom + 74,
        left=left, right=RIGHT, bottom=bottom, panels=panels,
        along="generation of the champion log",
        across=_generation_ticks(across, first, mine),
        caption="Each was scored on the holdout of its day, which grows: "
        "compare only within one column.",
    )  # fmt: skip


def succession(entries: Sequence[LogEntry]) -> str:
    """Holdout scores of the newest champions by generation; ``entries`` are oldest first.

    Raises
    ------
    ValueError
        If ``entries`` is empty.
    """
    if not entries:
        raise ValueError("no generation to draw: the champion log is empty")
    left, bottom = 78, 422
    shown = entries[-MOST_GENERATIONS:]
    first, last = shown[0].generation, shown[-1].generation
    across = Axis(first - 0.5, last + 0.5, left, RIGHT)
    legend = [(Mark("square", "other"), "champion")]
    if any(entry.kind == "rollback" for entry in shown):
        legend.append((Mark("triangle", "other"), "put back by a rollback"))
    return draw(
        "history",
        "succession",
        about=shown[-1].model_name,
        title="Holdout scores, "
        + (f"generations {first} to {last}" if first < last else f"generation {last}"),
        legend=legend,
        height=bottom + 74,
        left=left, right=RIGHT, bottom=bottom, panels=_panels(across, shown, bottom),
        along="generation of the champion log",
        across=_generation_ticks(across, first, last),
        caption="Each was scored on the holdout of its day, which grows.",
    )  # fmt: skip


def _generation_ticks(across: Axis, first: int, last: int) -> list[Words]:
    every = max(1, math.ceil((last - first + 1) / 12))
    ticks = range(last, first - 1, -every)
    return [Words(across.at(generation), str(generation)) for generation in ticks][::-1]


def _history_legend(evaluation: Evaluation, shown: Sequence[LogEntry]) -> list[tuple[Mark, str]]:
    legend = [(Mark("circle", "one"), f"challenger {evaluation.version[:8]}")]
    if shown:
        legend.append((Mark("square", "other"), "champion, then"))
        legend.append((Mark("diamond", "other"), "champion, on the challenger's reviews"))
    if any(entry.kind == "rollback" for entry in shown):
        legend.append((Mark("triangle", "other"), "put back by a rollback"))
    return legend


def _panels(
    across: Axis, shown: Sequence[LogEntry], bottom: float, now: Evaluation | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    return (
        _panel("accuracy, %", 100.0, "accuracy", (100, 240), across, shown, now, 0.2),
        _panel("log loss, nats per review", 1.0, "log_loss", (282, bottom), across, shown, now,
               0.004),
    )  # fmt: skip


def _panel(
    words: str, factor: float, name: str, rows: tuple[float, float], across: Axis,
    shown: Sequence[LogEntry], compared: Evaluation | None, at_least: float,
) -> dict[str, Any]:  # fmt: skip
    then = [(entry, factor * getattr(entry, f"holdout_{name}")) for entry in shown]
    then = [(entry, value) for entry, value in then if are_numbers(value)]
    now = _scored_now(compared, name, factor)
    values = [*(value for _, value in then), *(line[2] for line in now)]
    down = Axis(*around(values, at_least=at_least), rows[1], rows[0])
    past = [_entry_mark(entry, value, words, across, down) for entry, value in then]
    present = [
        replace(mark, x=across.at(at), y=down.at(value), text=f"{model}: {words} {value:.4g}")
        for mark, model, value, at in now
    ]
    return {"words": words, "top": rows[0], "down": down.ticks(5) if values else [],
            "marks": [*past, *present], "points": points(past)}  # fmt: skip


def _scored_now(
    evaluation: Evaluation | None, name: str, factor: float
) -> list[tuple[Mark, str, float, int]]:
    """Champion and challenger on the same reviews, as far as their scores are numbers."""
    if evaluation is None:
        return []
    generation = evaluation.champion_generation + 1  # that the challenger would be
    models = (
        (Mark("diamond", "other"), "champion", evaluation.holdout.champion),
        (Mark("circle", "one"), "challenger", evaluation.holdout.challenger),
    )
    return [
        (mark, model, factor * getattr(metrics, name), generation)
        for mark, model, metrics in models
        if metrics is not None and are_numbers(getattr(metrics, name))
    ]


def _entry_mark(entry: LogEntry, value: float, words: str, across: Axis, down: Axis) -> Mark:
    return Mark(
        "triangle" if entry.kind == "rollback" else "square",
        "other",
        across.at(entry.generation),
        down.at(value),
        f"generation {entry.generation}, {entry.kind} of {entry.version[:8]}: {words} {value:.4g}",
    )
