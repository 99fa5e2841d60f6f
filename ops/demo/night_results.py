"""What a night of the demo came to, as a record, a sentence and a line of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ops.demo.held import Alarm, ReplayResult
from ops.demo.watched import Watch
from pipelines.core.escaping import plain


@dataclass(frozen=True)
class NightResult:
    """What one night of the demo came to.

    Row counts are of that night alone, after the replay if there was one; the alarms are of before.
    ``watch`` is None while every night retrains.
    Requests are those of the visitors during the night, and ``answered_by`` the generations that
    answered them.
    """

    night: str
    story: str
    delivered: int
    accepted: int
    quarantined: int
    held: int
    held_deliveries: int
    alarms: tuple[Alarm, ...]
    replay: ReplayResult | None
    watch: Watch | None
    ingest_state: str
    retrain_state: str | None
    verdict: str
    why: str
    champion: str | None
    generation: int | None
    holdout_accuracy: float | None
    put_back: str
    requests: int
    failed_requests: int
    answered_by: tuple[int, ...]
    seconds: float


def sentence(result: NightResult) -> str:
    parts = [f"ingest {result.ingest_state}"]
    if result.replay:
        parts.append("replay success")
    if result.watch:
        parts.append(f"monitor {result.watch.verdict or 'failed'}")
    if result.retrain_state:
        parts.append(f"retrain {result.retrain_state}")
    parts.append(f"{result.verdict} {result.why}".strip())
    if result.put_back:
        parts.append(f"PUT BACK {plain(result.put_back, most=120)}")
    return f"{', '.join(parts)}  ({result.seconds:.0f} s)"


def table_of(results: list[NightResult], console: Console) -> Table:
    """One line per night, with as many columns as fit without breaking a word."""
    names, unlimited = list(_COLUMNS), console.options.update(width=10_000)
    for spare in (*_SPARE, ""):
        table = _table(results, names)
        if Measurement.get(console, unlimited, table).minimum <= console.width or not spare:
            break
        names.remove(spare)
    return table


def _table(results: list[NightResult], names: list[str]) -> Table:
    table = Table(title="Nights of the retraining loop", title_justify="left")
    for name in names:
        words = _SEVERAL_WORDS.get(name)
        table.add_column(
            name,
            justify="right" if name in _NUMBERS else "left",
            no_wrap=words is None,
            min_width=words,
        )
    for result in results:
        table.add_row(*(_COLUMNS[name](result) for name in names))
    return table


def _held(result: NightResult) -> str:
    if result.replay:
        return f"{result.replay.action}d"
    if not result.held_deliveries:
        return "-"
    files = "1 file" if result.held_deliveries == 1 else f"{result.held_deliveries} files"
    return f"{files}, {result.held:,} rows"


def _watched(result: NightResult) -> str:
    if result.watch is None:
        return "-"
    return result.watch.verdict + (", asks" if result.watch.asked_by else "")


def _champion(result: NightResult) -> str:
    return f"{result.generation}: {result.champion[:8]}" if result.champion else "none"


def _ingest(result: NightResult) -> Text:
    return Text(result.ingest_state, style="red" if result.ingest_state == "failed" else "green")


_COLUMNS: dict[str, Callable[[NightResult], str | Text]] = {
    "night": lambda result: result.night,
    "delivered": lambda result: f"{result.delivered:,}",
    "accepted": lambda result: f"{result.accepted:,}",
    "quarantined": lambda result: f"{result.quarantined:,}",
    "held": _held,
    "ingest": _ingest,
    "watched": _watched,
    "verdict": lambda result: f"{result.verdict}, put back" if result.put_back else result.verdict,
    "champion": _champion,
    "holdout accuracy": lambda result: (
        f"{result.holdout_accuracy:.4f}" if result.holdout_accuracy else "-"
    ),
    "answered by": lambda result: ", ".join(map(str, result.answered_by)) or "-",
    "failed requests": lambda result: f"{result.failed_requests:,} of {result.requests:,}",
    "seconds": lambda result: f"{result.seconds:.0f}",
}
_NUMBERS = {
    "delivered", "accepted", "quarantined", "holdout accuracy", "failed requests", "seconds",
}  # fmt: skip
# These may be broken between words, of at most so many characters each.
_SEVERAL_WORDS = {
    "held": 8, "watched": 6, "verdict": 11, "champion": 8, "holdout accuracy": 8, "answered by": 8,
    "failed requests": 8,
}  # fmt: skip
# The first to go on a narrow screen.
_SPARE = (
    "seconds", "delivered", "champion", "failed requests", "quarantined", "answered by", "watched",
)  # fmt: skip
