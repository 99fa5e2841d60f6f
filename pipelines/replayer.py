"""Replay a source as nightly deliveries: the files an upstream site would drop into ``landing/``.

A delivery can be damaged on purpose, in whole (`Fault`) or in part (``dirty_share``), so that what
comes after can be shown and tested on known damage.
"""

import dataclasses
import gzip
import io
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pipelines.errors import SourceError

logger = logging.getLogger(__name__)

Format = Literal["csv", "csv.gz", "jsonl", "jsonl.gz", "parquet", "parquet.gz"]
Fault = Literal["schema_changed", "truncated"]
DamageKind = Literal[
    "empty_text",
    "null_text",
    "unknown_label",
    "contradicting_label",
    "html",
    "mojibake",
    "duplicate_text",
    "future_date",
]
Row = dict[str, Any]

DELIVERED_SCHEMA: Final = pa.schema(
    [
        pa.field("review_id", pa.string()),
        pa.field("movie_id", pa.string()),
        pa.field("text", pa.string()),
        pa.field("label", pa.string()),
        pa.field("rating", pa.int8()),
        pa.field("written_on", pa.string()),
    ]
)
SHARE_LEFT_WHEN_TRUNCATED: Final = 0.6
FUTURE_DATE: Final = "2999-01-01"
ACCENTED_SENTENCE: Final = " It’s the café scene, “naïve” and a little déjà vu."  # noqa: RUF001


@dataclass(frozen=True)
class DeliveryPlan:
    """One file to deliver: how many rows, in which format, and what is wrong with it."""

    source: str
    rows: int
    file_format: Format
    fault: Fault | None = None
    dirty_share: float = 0.0  # of the rows, in [0, 1]


@dataclass(frozen=True)
class NightPlan:
    night: date
    deliveries: tuple[DeliveryPlan, ...]


@dataclass(frozen=True)
class Delivery:
    """The bytes of one file and the key they belong under; ``rows`` is its count before faults."""

    key: str
    body: bytes
    rows: int
    night: date


def replay(table: pa.Table, nights: Sequence[NightPlan], *, seed: int) -> Iterator[Delivery]:
    """Deal reviews (``REVIEW_SCHEMA``) out to the planned deliveries, each at most once.

    Rows are shuffled once, so the same table and seed give the same order whatever the plan.
    Bodies are made one at a time, when asked for.

    Raises
    ------
    SourceError
        At once, if the plan needs more rows than the table has.
    """
    planned = sum(plan.rows for night in nights for plan in night.deliveries)
    if planned > table.num_rows:
        raise SourceError(
            f"the {len(nights)} planned nights need {planned:,} reviews, the source has "
            f"{table.num_rows:,}. Plan fewer rows, or use a larger source."
        )
    return _deal(table, nights, seed)


def _deal(table: pa.Table, nights: Sequence[NightPlan], seed: int) -> Iterator[Delivery]:
    order = np.random.default_rng(seed).permutation(table.num_rows)
    files: Counter[tuple[str, date]] = Counter()
    dealt = 0
    for night, plan in ((each.night, plan) for each in nights for plan in each.deliveries):
        files[plan.source, night] += 1
        name = f"reviews-{files[plan.source, night]}.{plan.file_format}"
        reviews = table.take(pa.array(order[dealt : dealt + plan.rows]))
        rows = _as_delivered(reviews, source=plan.source, night=night, first_number=dealt + 1)
        # Seeded per delivery: what happens to one does not depend on those before it.
        body = _body(rows, plan, np.random.default_rng([seed, dealt]))
        dealt += plan.rows
        key = f"landing/{plan.source}/{night.isoformat()}/{name}"
        logger.info("delivery=%s rows=%d bytes=%d fault=%s", key, plan.rows, len(body), plan.fault)
        yield Delivery(key=key, body=body, rows=plan.rows, night=night)


def _as_delivered(reviews: pa.Table, *, source: str, night: date, first_number: int) -> pa.Table:
    numbers = range(first_number, first_number + reviews.num_rows)
    day = night.isoformat()
    columns = {
        "review_id": pa.array([f"{source}-{day}-{number:06d}" for number in numbers], pa.string()),
        **{name: reviews[name] for name in ("movie_id", "text", "label", "rating")},
        "written_on": pa.array([day] * reviews.num_rows, pa.string()),
    }
    return pa.table(columns, schema=DELIVERED_SCHEMA)


def _body(rows: pa.Table, plan: DeliveryPlan, rng: np.random.Generator) -> bytes:
    damaged, _ = damage(rows, share=plan.dirty_share, rng=rng)
    if plan.fault == "schema_changed":
        damaged = _with_changed_schema(damaged)
    body = encode(damaged, plan.file_format)
    if plan.fault == "truncated":
        body = body[: int(len(body) * SHARE_LEFT_WHEN_TRUNCATED)]
    return body


def _with_changed_schema(rows: pa.Table) -> pa.Table:
    """``text`` is called ``body``, and labels are the integers 0 and 1."""
    labels = pc.equal(rows["label"], "positive").cast(pa.int8())
    changed = rows.set_column(rows.column_names.index("label"), "label", labels)
    return changed.rename_columns({"text": "body"})


# ── Formats ──────────────────────────────────────────────────────────────────────────────────


def encode(rows: pa.Table, file_format: Format) -> bytes:
    """The rows as a file; the same rows always give the same bytes.

    CSV is UTF-8 with a header row, every text quoted (RFC 4180) and null as an empty field without
    quotes. JSON Lines keeps null and non-ASCII characters as they are. Parquet is packed with zstd.
    """
    encoders: dict[str, Callable[[pa.Table], bytes]] = {
        "csv": _as_csv,
        "jsonl": _as_jsonl,
        "parquet": _as_parquet,
    }
    name, _, packing = file_format.partition(".")
    body = encoders[name](rows)
    return gzip.compress(body, compresslevel=6, mtime=0) if packing else body


def _as_csv(rows: pa.Table) -> bytes:
    file = io.BytesIO()
    pa_csv.write_csv(rows, file)
    return file.getvalue()


def _as_jsonl(rows: pa.Table) -> bytes:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows.to_pylist()]
    return "".join(lines).encode()


def _as_parquet(rows: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(rows, file, compression="zstd")
    return file.getvalue()


# ── Damage ───────────────────────────────────────────────────────────────────────────────────


def damage(
    rows: pa.Table, *, share: float, rng: np.random.Generator
) -> tuple[pa.Table, list[tuple[int, str]]]:
    """Spoil a share, in [0, 1], of the rows, each in one way, going round all kinds of damage.

    The first row always stays whole, so that a repeated text has an earlier one to repeat.

    Returns
    -------
    damaged : Table of ``DELIVERED_SCHEMA``
    what : list of (int, str)
        Index and `DamageKind` of each damaged row, by index.
    """
    count = min(round(share * rows.num_rows), max(rows.num_rows - 1, 0))
    if count == 0:
        return rows, []
    places = np.sort(rng.choice(np.arange(1, rows.num_rows), size=count, replace=False)).tolist()
    kinds = get_args(DamageKind)
    what = [(place, kinds[turn % len(kinds)]) for turn, place in enumerate(places)]
    whole = rows.to_pylist()
    spoiled = list(whole)
    untouched = sorted(set(range(rows.num_rows)) - set(places))
    for place, kind in what:
        earlier = untouched[int(rng.integers(np.searchsorted(untouched, place)))]
        spoiled[place] = {**whole[place], **_DAMAGES[kind](whole[place], whole[earlier])}
    return pa.Table.from_pylist(spoiled, schema=DELIVERED_SCHEMA), what


def _sent_twice(_row: Row, earlier: Row) -> Row:
    return {name: earlier[name] for name in ("movie_id", "text", "label", "rating")}


def _mojibake(row: Row, _earlier: Row) -> Row:
    """UTF-8 read as Windows-1252, with a sentence added in which that shows."""
    accented = f"{row['text']}{ACCENTED_SENTENCE}"
    return {"text": accented.encode().decode("cp1252", errors="replace")}


# What each kind changes in a row; the second row is a whole one delivered earlier.
_DAMAGES: Final[dict[str, Callable[[Row, Row], Row]]] = {
    "empty_text": lambda _row, _earlier: {"text": ""},
    "null_text": lambda _row, _earlier: {"text": None},
    "unknown_label": lambda _row, _earlier: {"label": "maybe"},
    "contradicting_label": lambda _row, _earlier: {"label": "positive", "rating": 1},
    "html": lambda row, _earlier: {
        "text": f'<div class="x"><script>alert(1)</script>{row["text"]}</div>'
    },
    "mojibake": _mojibake,
    "duplicate_text": _sent_twice,
    "future_date": lambda _row, _earlier: {"written_on": FUTURE_DATE},
}


# ── Plans ────────────────────────────────────────────────────────────────────────────────────

FEWEST_DEMO_ROWS: Final = 200  # per delivery: fewer could not be told from a broken delivery
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
    (),
)


def demo_nights(available_rows: int, *, first_night: date) -> tuple[NightPlan, ...]:
    """Five nights to show the loop with: a start, more, dirty rows, broken files, and nothing.

    They take 35,000 reviews. With fewer available, what each delivery has above 200 rows shrinks
    in proportion.

    Raises
    ------
    SourceError
        With fewer than 200 rows for each of the eight deliveries.
    """
    full = [plan.rows for plans in _DEMO for plan in plans]
    fewest = FEWEST_DEMO_ROWS * len(full)
    if available_rows < fewest:
        raise SourceError(
            f"the demo makes {len(full)} deliveries of at least {FEWEST_DEMO_ROWS} reviews "
            f"({fewest:,}), the source has {available_rows:,}. Use a larger source."
        )
    scale = min(1.0, (available_rows - fewest) / (sum(full) - fewest))
    return tuple(
        NightPlan(first_night + timedelta(days=day), tuple(_shrunk(plan, scale) for plan in plans))
        for day, plans in enumerate(_DEMO)
    )


def _shrunk(plan: DeliveryPlan, scale: float) -> DeliveryPlan:
    rows = FEWEST_DEMO_ROWS + int((plan.rows - FEWEST_DEMO_ROWS) * scale)
    return dataclasses.replace(plan, rows=rows)


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
        raise SourceError(f"{nights:,} nights from {first_night} on go beyond the calendar")
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
