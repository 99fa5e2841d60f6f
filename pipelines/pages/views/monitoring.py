"""*Monitoring*: how the champion does night by night, and what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from pipelines.core import links
from pipelines.monitoring.drift_tests import MEANINGS, meaning
from pipelines.pages.frame import View
from pipelines.pages.views.champion import clock
from pipelines.records.monitoring import AnsweredDay, DriftTest, TriggerDecision, Window

SPANS: Final = (30, 90, 365, 1000)  # nights that a page can show
LINES = 60  # nights that the table lists; the charts show all
NOTHING = "-"
TONES: Final[Mapping[str, str]] = {
    "QUIET": "settled", "DRIFT": "warn", "FADING": "bad", "TOO_FEW": "look",
}  # fmt: skip
EVERYTHING, WORST = "all", "worst"


class Scored(NamedTuple):
    """An accuracy with its interval, what is usual, and the largest loss that is not FADING."""

    rows: int
    accuracy: float
    low: float
    high: float
    usual: float | None
    limit: float | None


class Point(NamedTuple):
    """One window, as much of it as the charts and the table show."""

    night: str
    verdict: str
    why: str
    is_provisional: bool
    generation: int
    rows: int
    coverage: float
    parts: Mapping[str, Scored]  # `EVERYTHING`, and each source and slice
    estimate: float | None
    drift: Mapping[str, float]  # value as a multiple of the limit, by test


def point(window: Window) -> Point:
    parts = {
        group.name: Scored(
            group.rows, group.accuracy, group.low, group.high, group.usual, group.limit
        )
        for group in window.groups
    }
    if (measured := window.measured) is not None:
        parts[EVERYTHING] = Scored(
            measured.rows, measured.accuracy, measured.low, measured.high, measured.usual,
            measured.limit,
        )  # fmt: skip
    return Point(
        night=window.night, verdict=window.verdict, why=window.why,
        is_provisional=window.is_provisional, generation=window.champion_generation,
        rows=window.rows, coverage=window.coverage, parts=parts,
        estimate=window.estimate.accuracy if window.estimate else None,
        drift={test.name: _multiple(test) for test in window.drift},
    )  # fmt: skip


def _multiple(test: DriftTest) -> float:
    return test.value / test.limit if test.limit > 0 else 0.0


def drift_of(at: Point, test: str) -> float | None:
    """A test's value as a multiple of its limit; of the worst test, if asked for."""
    if test == WORST:
        return max(at.drift.values(), default=None)
    return at.drift.get(test)


class Line(View):
    """One night of the table."""

    night: str
    link: str
    verdict: str
    tone: str
    reviews: str
    accuracy: str
    interval: str
    estimate: str
    drift: str
    generation: int
    why: str
    is_provisional: bool


def lines(points: Sequence[Point], part: str) -> tuple[Line, ...]:
    """The newest nights first."""
    return tuple(_line(each, part) for each in [*points][::-1][:LINES])


def _line(at: Point, part: str) -> Line:
    scored = at.parts.get(part)
    worst = max(at.drift, key=lambda name: at.drift[name], default="")
    return Line(
        night=at.night,
        link=links.monitoring_link(at.night),
        verdict=at.verdict,
        tone=TONES.get(at.verdict, "look"),
        reviews=f"{scored.rows if scored else at.rows:,}",
        accuracy=f"{scored.accuracy:.1%}" if scored else NOTHING,
        interval=f"{scored.low:.1%} to {scored.high:.1%}" if scored else "",
        estimate=NOTHING if at.estimate is None else f"{at.estimate:.1%}",
        drift=_of_its_limit(worst, at.drift[worst]) if worst else NOTHING,
        generation=at.generation,
        why=at.why,
        is_provisional=at.is_provisional,
    )


class Answered(View):
    """One day of what the services were asked."""

    day: str
    verdict: str
    tone: str
    texts: str
    estimate: str
    interval: str
    drift: str
    generation: int
    why: str


def answered(days: Sequence[AnsweredDay]) -> tuple[Answered, ...]:
    return tuple(_answered(day) for day in days)


def _answered(day: AnsweredDay) -> Answered:
    estimate = day.estimate
    worst = max(day.drift, key=_multiple, default=None)
    return Answered(
        day=day.day,
        verdict=day.verdict,
        tone=TONES.get(day.verdict, "look"),
        texts=f"{day.texts:,}",
        estimate=NOTHING if estimate is None else f"{estimate.accuracy:.1%}",
        interval="" if estimate is None else f"{estimate.low:.1%} to {estimate.high:.1%}",
        drift=NOTHING if worst is None else _of_its_limit(worst.name, _multiple(worst)),
        generation=day.champion_generation,
        why=day.why,
    )


def _of_its_limit(test: str, multiple: float) -> str:
    return f"{test.replace('_', ' ')}: {multiple:.2f} of its limit"


class Asked(View):
    """One decision on a retraining."""

    at: str
    is_started: bool
    trigger: str
    why: str
    run: str | None
    who: str


def asked(decisions: Sequence[TriggerDecision]) -> tuple[Asked, ...]:
    return tuple(_asked(decision) for decision in decisions)


def _asked(decision: TriggerDecision) -> Asked:
    actor = links.actor(decision.actor)
    return Asked(
        at=clock(decision.at), is_started=decision.is_started, trigger=decision.trigger or NOTHING,
        why=decision.why, run=actor.run, who=actor.words,
    )  # fmt: skip


def part_names(points: Sequence[Point]) -> list[str]:
    """What the nights can be filtered by: all, then sources, then slices."""
    names = {name for each in points for name in each.parts} - {EVERYTHING}
    return [EVERYTHING, *sorted(names, key=lambda name: (not name.startswith("source="), name))]


def test_names() -> list[str]:
    return [WORST, *MEANINGS]


# One night


class Row(View):
    """A line of one of the night's tables."""

    name: str
    cells: tuple[str, ...]
    is_bad: bool = False
    link: str = ""


class Night(View):
    """One window in full."""

    night: str
    verdict: str
    tone: str
    why: str
    facts: tuple[tuple[str, str], ...]
    drift: tuple[Row, ...]
    groups: tuple[Row, ...]
    sources: tuple[Row, ...]
    words: tuple[Row, ...]
    earlier: int
    is_provisional: bool


def night(window: Window, *, earlier: int) -> Night:
    """The page of a night; ``earlier`` windows judged fewer of its rows."""
    return Night(
        night=window.night,
        verdict=window.verdict,
        tone=TONES.get(window.verdict, "look"),
        why=window.why,
        facts=tuple(_facts(window)),
        drift=tuple(
            Row(name=meaning(test.name), is_bad=test.is_beyond, cells=(
                f"{test.value:.4f}", f"{test.limit:.4f}", f"{test.p_value:.2g}", test.sentence,
            ))
            for test in window.drift
        ),
        groups=tuple(
            Row(name=group.name, is_bad=group.is_beyond, cells=(
                f"{group.rows:,}", f"{group.accuracy:.1%}", f"{group.low:.1%} to {group.high:.1%}",
                NOTHING if group.usual is None else f"{group.usual:.1%}",
            ))
            for group in window.groups
        ),
        sources=tuple(
            Row(name=source.source, link=links.source_link(source.source), cells=(
                f"{source.delivered_rows:,}", f"{source.accepted_rows:,}",
                f"{source.quarantined_rows:,}", f"{source.held_rows:,}",
            ))
            for source in window.sources
        ),
        words=tuple(
            Row(name=moved.word, cells=(f"{moved.usual:.1%}", f"{moved.share:.1%}"))
            for moved in window.words
        ),
        earlier=earlier,
        is_provisional=window.is_provisional,
    )  # fmt: skip


def _facts(window: Window) -> Iterator[tuple[str, str]]:
    nights = window.night if window.first_night == window.night else (
        f"{window.first_night} to {window.night}"
    )  # fmt: skip
    yield "nights", nights
    yield "reviews", f"{window.rows:,}, {window.coverage:.1%} of what was delivered"
    late = "1 night" if window.late_nights == 1 else f"{window.late_nights} nights"
    yield "the last rows counted", f"{late} after the night"
    yield "champion", f"generation {window.champion_generation}, {window.champion_version}"
    if (measured := window.measured) is not None:
        yield (
            "accuracy",
            (
                f"{measured.accuracy:.2%} (95 % interval {measured.low:.1%} to "
                f"{measured.high:.1%}), "
                f"{measured.usual:.2%} is usual on {measured.usual_rows:,} reviews"
            ),
        )
        yield (
            "loss",
            (f"{100 * measured.loss:.2f} points, the limit is {100 * measured.limit:.2f} points"),
        )
        yield "log loss", f"{measured.log_loss:.4f} nats per review"
    if (estimate := window.estimate) is not None:
        yield (
            "estimate without labels",
            (
                f"{estimate.accuracy:.2%} (95 % interval {estimate.low:.1%} to "
                f"{estimate.high:.1%}), "
                f"second opinion {estimate.second_opinion:.2%}"
                + (": they disagree, ask for labels" if estimate.asks_for_labels else "")
            ),
        )
