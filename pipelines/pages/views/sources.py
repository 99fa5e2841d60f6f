"""How a source did over time: its rows, what breaks a row rule, and who agrees with its labels.

Only the newest nights are read, so a page costs the same however long the history is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.core.keys import RECEIPTS, folder_of, outcome_key
from pipelines.core.store.bucket import Bucket
from pipelines.gate.card.svg import RIGHT, Axis, Mark, Words, around, draw, points
from pipelines.intake.landing import is_night, parse_name
from pipelines.pages.read import readable
from pipelines.records.deliveries import Outcome, Receipt
from pipelines.records.validations import Validation

NIGHTS = 60  # on a page
MOST_RECEIPTS = 600
_LEFT, _TICKS = 78, 8


@dataclass(frozen=True)
class Point:
    """One delivery of a source."""

    night: str
    delivery: str
    landing_key: str
    verdict: str
    delivered_rows: int
    quarantined_share: float | None  # of its rows; None while none could be read
    agreement: float | None  # share of its labels that the champion agrees with


@dataclass(frozen=True)
class Source:
    """A source in the newest nights."""

    name: str
    deliveries: int
    held: int
    delivered_rows: int
    newest: str  # night


@dataclass(frozen=True)
class Nights:
    """The newest nights, and the receipts that could be read."""

    nights: tuple[str, ...]
    receipts: tuple[Receipt, ...]
    unreadable: int


def newest_nights(reviews: Bucket) -> Nights:
    """The receipts of the newest nights, as many as one page reads."""
    keys: dict[str, list[str]] = {}
    for info in reviews.list(RECEIPTS):
        if is_night(night := folder_of(info.key)):
            keys.setdefault(night, []).append(info.key)
    shown: list[str] = []
    wanted: list[str] = []
    for night in sorted(keys, reverse=True)[:NIGHTS]:
        if shown and len(wanted) + len(keys[night]) > MOST_RECEIPTS:
            break
        shown.append(night)
        wanted += keys[night]
    receipts, torn = readable(reviews, wanted, Receipt)
    return Nights(tuple(sorted(shown)), tuple(receipts), len(torn))


def every_source(found: Nights) -> list[Source]:
    """All sources that delivered in these nights, by name."""
    by_name: dict[str, list[Receipt]] = {}
    for receipt in found.receipts:
        if receipt.verdict != "DUPLICATE":
            by_name.setdefault(parse_name(receipt.landing_key).source, []).append(receipt)
    return [
        Source(
            name, len(receipts), sum(receipt.verdict == "HELD" for receipt in receipts),
            sum(receipt.delivered_rows for receipt in receipts),
            max(receipt.night for receipt in receipts),
        )
        for name, receipts in sorted(by_name.items())
    ]  # fmt: skip


def points_of(reviews: Bucket, found: Nights, source: str) -> list[Point]:
    """The deliveries of a source in these nights, oldest first."""
    receipts = [
        receipt
        for receipt in found.receipts
        if receipt.verdict != "DUPLICATE" and parse_name(receipt.landing_key).source == source
    ]
    outcomes, _ = readable(reviews, (outcome_key(one.delivery) for one in receipts), Outcome)
    validations, _ = readable(reviews, (one.validation_key for one in outcomes), Validation)
    agreements = {
        one.delivery: one.agreement.agreeing_rows / one.agreement.rows
        for one in validations
        if one.agreement is not None and one.agreement.rows
    }
    shares = {one.delivery: _bad_share(one) for one in validations}
    return sorted(
        (
            Point(
                receipt.night, receipt.delivery, receipt.landing_key, receipt.verdict,
                receipt.delivered_rows, shares.get(receipt.delivery),
                agreements.get(receipt.delivery),
            )
            for receipt in receipts
        ),
        key=lambda point: (point.night, point.landing_key),
    )  # fmt: skip


def _bad_share(validation: Validation) -> float | None:
    """The share of rows that break a row rule, held or not."""
    if validation.profile is None or not validation.delivered_rows:
        return None
    return 1 - validation.profile.rows / validation.delivered_rows


def chart(source: str, line: Sequence[Point]) -> str:
    """Three panels over the deliveries of a source, oldest on the left.

    Raises
    ------
    ValueError
        If there is no delivery to draw.
    """
    if not line:
        raise ValueError(f"no delivery of {source} to draw")
    across = Axis(-0.5, len(line) - 0.5, _LEFT, RIGHT)
    panels = [
        _panel("rows delivered", (80, 170), across, line,
               [float(point.delivered_rows) for point in line], 1.0),
        _panel("rows that break a row rule, %", (212, 302), across, line,
               [_percent(point.quarantined_share) for point in line], 0.2),
        _panel("labels that the champion agrees with, %", (344, 434), across, line,
               [_percent(point.agreement) for point in line], 0.2),
    ]  # fmt: skip
    return draw(
        "history",
        f"source-{source}",
        about=source,
        title=f"Source {source}, {line[0].night} to {line[-1].night}",
        legend=[(Mark("square", "other"), "counts"), (Mark("triangle", "fault"), "held")],
        height=508,
        left=_LEFT, right=RIGHT, bottom=434, panels=panels,
        along="night",
        across=_night_ticks(across, line),
        caption="One mark per delivery, as it was first validated.",
    )  # fmt: skip


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _night_ticks(across: Axis, line: Sequence[Point]) -> list[Words]:
    every = max(1, -(-len(line) // _TICKS))
    places = range(len(line) - 1, -1, -every)
    return [Words(across.at(place), line[place].night[5:]) for place in places][::-1]


def _panel(
    words: str, rows: tuple[float, float], across: Axis, line: Sequence[Point],
    values: Iterable[float | None], at_least: float,
) -> dict[str, Any]:  # fmt: skip
    known = [(place, value) for place, value in enumerate(values) if value is not None]
    low, high = around((value for _, value in known), at_least=at_least)
    most = 100.0 if words.endswith("%") else high
    down = Axis(max(low, 0.0) if known else low, min(high, most), rows[1], rows[0])
    marks = [
        Mark(
            "triangle" if line[place].verdict == "HELD" else "square",
            "fault" if line[place].verdict == "HELD" else "other",
            across.at(place), down.at(value),
            f"{line[place].night}, {line[place].verdict}: {words} {value:,.4g}",
        )
        for place, value in known
    ]  # fmt: skip
    words = words if known else f"{words}: none known"
    return {"words": words, "top": rows[0] - 4, "down": down.ticks(3) if known else [],
            "marks": marks, "points": points(marks)}  # fmt: skip
