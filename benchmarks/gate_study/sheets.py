"""Tables of the gate's benchmark, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.gate_study.erosion import Erosion
from benchmarks.gate_study.resampling import Outcome
from benchmarks.gate_study.rivals import RIVALS
from benchmarks.gate_study.simulation import ORACLE, Tally
from pipelines.records.decisions import PROMOTABLE, Verdict

VERDICTS: tuple[Verdict, ...] = ("PROMOTE", "REFRESH", "HOLD", "REJECT", "INCONCLUSIVE")
SHOWN_RIVALS = [name for name in RIVALS if name != "always"]


@dataclass(frozen=True)
class Sheet:
    """One table: the first column names, the others are figures."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    note: str = ""

    def rich(self) -> Table:
        table = Table(title=self.title, caption=self.note or None, title_justify="left")
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="right" if number else "left", no_wrap=not number)
        for line in self.lines:
            table.add_row(*line)
        return table

    def markdown(self) -> str:
        header = f"| {' | '.join(self.columns)} |"
        rule = "|" + "|".join(["---", *["---:"] * (len(self.columns) - 1)]) + "|"
        body = [f"| {' | '.join(line)} |" for line in self.lines]
        note = [f"\n{self.note}"] if self.note else []
        return "\n".join([f"## {self.title}\n", header, rule, *body, *note, ""])


def of_models(outcomes: Iterable[Outcome], size: int, refresh_after: int) -> Sheet:
    """Table 2 for one size; models made alike share a line."""
    alike: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.size == size:
            alike.setdefault(outcome.name, []).append(outcome)
    repeats = max((each.repeats for group in alike.values() for each in group), default=0)
    return Sheet(
        title=f"Real models, holdouts of {size:,} reviews: % of {repeats} resamples",
        columns=(
            "challenger", "models", "truly, pt", *SHOWN_RIVALS,
            *(verdict for verdict in VERDICTS if verdict != "REFRESH"),
            f"after {refresh_after} nights", "stopped by",
        ),
        lines=tuple(_model_line(name, group) for name, group in alike.items()),
        note="truly: accuracy on all held out reviews, against the champion. The next three: how "
        "often another gate lets it in. Verdicts: ours, against a champion of yesterday; then how "
        "often ours lets it in against an old one, and the rule that stops it most often.",
    )  # fmt: skip


def _model_line(name: str, group: Sequence[Outcome]) -> tuple[str, ...]:
    total = sum(each.repeats for each in group)

    def percent(count: int) -> str:
        return _percent(count / total)

    changes = sorted({f"{100 * each.true_change:+.2f}" for each in group}, key=float)
    rules = sum((each.rules for each in group), type(group[0].rules)())
    fresh = [sum(each.fresh[verdict] for each in group) for verdict in VERDICTS]
    return (
        name,
        str(len(group)),
        changes[0] if len(changes) == 1 else f"{changes[0]} ... {changes[-1]}",
        *(percent(sum(each.rivals[rival] for each in group)) for rival in SHOWN_RIVALS),
        *(percent(count) for count, name in zip(fresh, VERDICTS, strict=True) if name != "REFRESH"),
        percent(sum(each.stale[verdict] for each in group for verdict in PROMOTABLE)),
        ", ".join(rule for rule, _ in rules.most_common(1)),
    )


def of_erosion(erosions: Iterable[Erosion], nights: int, size: int) -> Sheet:
    """When each gate first stops a slow decline, and what was lost."""
    by_gate: dict[str, list[Erosion]] = {}
    for erosion in erosions:
        by_gate.setdefault(erosion.gate, []).append(erosion)
    return Sheet(
        title=f"Erosion: 0.5 % more label noise every night for {nights} nights, {size:,} reviews",
        columns=(
            "gate", "first stop, night: median", "latest", "never stops, %",
            "lost by then, pt: mean", "worst", "lost at the end, pt: mean", "worst",
        ),
        lines=tuple(_erosion_line(gate, group, nights) for gate, group in by_gate.items()),
        note="lost: true accuracy of the champion of that night, against the first champion.",
    )  # fmt: skip


def _erosion_line(gate: str, group: Sequence[Erosion], nights: int) -> tuple[str, ...]:
    stops = [each.first_stop if each.first_stop else nights + 1 for each in group]
    then = [each.lost_by_then for each in group]
    end = [each.lost_at_end for each in group]
    return (
        gate,
        f"{np.median(stops):.0f}" if np.median(stops) <= nights else "never",
        str(max(stops)) if max(stops) <= nights else "never",
        _percent(float(np.mean([stop > nights for stop in stops]))),
        *(_points(each) for each in (_mean(then), max(then), _mean(end), max(end))),
    )


def of_simulation(years: Sequence[Mapping[str, Tally]], nights: int, size: int) -> Sheet:
    """Table 1: one line per gate, means over the simulated years."""
    oracle = mean_accuracy(years, ORACLE)
    return Sheet(
        title=f"Simulation: {len(years)} x {nights} nights, holdouts of {size:,} reviews",
        columns=(
            "gate", "promotions a year", "truly worse", "worse by > 0.5 pt, in two years",
            "mean accuracy, %", "lost to the oracle, pt",
        ),
        lines=tuple(
            (
                gate,
                f"{per_year(years, gate, 'promotions', nights):.1f}",
                f"{per_year(years, gate, 'worse', nights):.1f}",
                f"{2 * per_year(years, gate, 'far_worse', nights):.2f}",
                f"{100 * mean_accuracy(years, gate):.3f}",
                f"{100 * (oracle - mean_accuracy(years, gate)):.3f}",
            )
            for gate in years[0]
        ),
    )  # fmt: skip


def per_year(years: Sequence[Mapping[str, Tally]], gate: str, what: str, nights: int) -> float:
    """Mean count in 365 nights."""
    return float(np.mean([getattr(year[gate], what) for year in years])) * 365 / nights


def mean_accuracy(years: Sequence[Mapping[str, Tally]], gate: str) -> float:
    return float(np.mean([year[gate].mean_accuracy for year in years]))


def of_facts(facts: Mapping[str, Any]) -> Sheet:
    """What the figures depend on besides the code."""
    lines = tuple((name, str(value)) for name, value in facts.items())
    return Sheet("Run and machine", ("fact", "value"), lines)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _points(share: float) -> str:
    return f"{round(100 * share, 2) + 0.0:.2f}"  # adding 0.0 turns -0.0 into 0.0


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if 0 < share < 0.1 or 0.9 < share < 1 else f"{100 * share:.0f}"
