"""Which files the simulated film site sends in which night."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal, get_args

from pipelines.core.errors import SourceError

Format = Literal["csv", "csv.gz", "jsonl", "jsonl.gz", "parquet", "parquet.gz"]
Fault = Literal["schema_changed", "truncated"]


@dataclass(frozen=True)
class Again:
    """The first rows a source delivered some nights before, without what was wrong with them."""

    nights_ago: int
    rows: int


@dataclass(frozen=True)
class DeliveryPlan:
    """One file to deliver: how many rows, in which format, and what is wrong with it.

    ``rows`` are new ones. Those of ``again`` come after them; the file is then delivered for the
    day of the first of these nights.
    """

    source: str
    rows: int
    file_format: Format
    fault: Fault | None = None
    dirty_share: float = 0.0  # of the rows, in [0, 1]
    flipped_share: float = 0.0  # of the rows, in [0, 1]; see `flip_labels`
    again: tuple[Again, ...] = ()
    drifted_words: int = 0  # so many words are replaced, and few reviews negative; see `drift`


@dataclass(frozen=True)
class NightPlan:
    night: date
    deliveries: tuple[DeliveryPlan, ...]


# ── Plans ────────────────────────────────────────────────────────────────────────────────────

# Per delivery: with fewer than 200 rows that count, its labels would not be checked.
FEWEST_DEMO_ROWS: Final = 250
_DEMO: Final[tuple[tuple[DeliveryPlan, ...], ...]] = (
    (
        DeliveryPlan("web", 10_000, "csv.gz"),
        DeliveryPlan("app", 6_000, "jsonl.gz"),
        DeliveryPlan("partner", 4_000, "parquet"),
    ),
    (DeliveryPlan("web", 5_000, "csv.gz"),),
    (DeliveryPlan("app", 5_000, "jsonl.gz", dirty_share=0.03),),
    (
        DeliveryPlan("web", 3_000, "csv.gz"),
        DeliveryPlan("app", 1_000, "jsonl.gz", fault="schema_changed"),
        DeliveryPlan("partner", 1_000, "csv.gz", fault="truncated"),
    ),
    (DeliveryPlan("web", 1_000, "csv.gz", flipped_share=0.3),),
    (DeliveryPlan("app", 0, "jsonl.gz", again=(Again(2, 1_000), Again(3, 500))),),
    (),
    *((DeliveryPlan("web", 4_500, "csv.gz", drifted_words=400),),) * 3,
)


def demo_nights(
    available_rows: int, *, first_night: date, drifted_words: int = 400
) -> tuple[NightPlan, ...]:
    """Ten nights that demonstrate the loop.

    A start, more, dirty rows, broken files, labels turned round, a broken file that comes again
    repaired but with old reviews in it, nothing, and three in which people write otherwise. They
    take 49,500 reviews. With fewer available, what each delivery has above 250 rows shrinks in
    proportion. ``drifted_words`` is how many words people replace; made-up reviews have fewer.

    Raises
    ------
    SourceError
        With fewer than 250 rows for each of the twelve deliveries of new reviews.
    """
    full = [plan.rows for plans in _DEMO for plan in plans if plan.rows]
    fewest = FEWEST_DEMO_ROWS * len(full)
    if available_rows < fewest:
        raise SourceError(
            f"the demo makes {len(full)} deliveries of at least {FEWEST_DEMO_ROWS} new reviews "
            f"({fewest:,}), the source has {available_rows:,}. Use a larger source."
        )
    scale = min(1.0, (available_rows - fewest) / (sum(full) - fewest))

    def made(plan: DeliveryPlan) -> DeliveryPlan:
        words = drifted_words if plan.drifted_words else 0
        return dataclasses.replace(_shrunk(plan, scale), drifted_words=words)

    return tuple(
        NightPlan(first_night + timedelta(days=day), tuple(made(plan) for plan in plans))
        for day, plans in enumerate(_DEMO)
    )


def _shrunk(plan: DeliveryPlan, scale: float) -> DeliveryPlan:
    again = tuple(Again(old.nights_ago, _shrunk_rows(old.rows, scale)) for old in plan.again)
    return dataclasses.replace(plan, rows=_shrunk_rows(plan.rows, scale), again=again)


def _shrunk_rows(rows: int, scale: float) -> int:
    return FEWEST_DEMO_ROWS + int((rows - FEWEST_DEMO_ROWS) * scale) if rows else 0


def even_nights(
    available_rows: int, *, nights: int, rows_per_night: int | None, first_night: date
) -> tuple[NightPlan, ...]:
    """One delivery of the source ``web`` per night, going round all formats.

    Without ``rows_per_night`` the available rows are shared out evenly.

    Raises
    ------
    SourceError
        If a night would get no row, or all nights together more than there are.
    """
    rows = available_rows // max(nights, 1) if rows_per_night is None else rows_per_night
    if (date.max - first_night).days < nights:
        raise SourceError(f"{nights:,} nights from {first_night} on exceed the calendar")
    if nights < 1 or rows < 1 or nights * rows > available_rows:
        raise SourceError(
            f"{nights:,} nights of {rows:,} reviews cannot be made from {available_rows:,} "
            "reviews. Ask for fewer nights or rows (at least one of each), or a larger source."
        )
    formats: tuple[Format, ...] = get_args(Format)
    return tuple(
        NightPlan(
            first_night + timedelta(days=day),
            (DeliveryPlan("web", rows, formats[day % len(formats)]),),
        )
        for day in range(nights)
    )
