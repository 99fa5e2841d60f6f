"""Deliver a source night by night: the files an upstream site would drop into ``landing/``.

A delivery can be damaged on purpose, in whole (`Fault`) or in part (``dirty_share``), or poisoned
(``flipped_share``), so that what comes after can be shown and tested on known damage.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pipelines.core.errors import SourceError
from pipelines.simulation import drift
from pipelines.simulation.damage import DELIVERED_SCHEMA, damage, flip_labels, with_changed_schema
from pipelines.simulation.plans import DeliveryPlan, Format, NightPlan

logger = logging.getLogger(__name__)
SHARE_LEFT_WHEN_TRUNCATED: Final = 0.6
DRIFTED_POSITIVE_SHARE: Final = 0.65


@dataclass(frozen=True)
class DroppedFile:
    """The bytes of one file and the key they belong under; ``rows`` is its count before faults.

    ``night`` is when upstream drops it; the day in its key is the one it is delivered for.
    """

    key: str
    body: bytes
    rows: int
    night: date


def simulate(table: pa.Table, nights: Sequence[NightPlan], *, seed: int) -> Iterator[DroppedFile]:
    """Deal reviews (``REVIEW_SCHEMA``) out to the planned deliveries, each at most once.

    Rows are shuffled once, so the same table and seed give the same order whatever the plan.
    Bodies are made one at a time, on demand.

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


def _deal(table: pa.Table, nights: Sequence[NightPlan], seed: int) -> Iterator[DroppedFile]:
    order = np.random.default_rng(seed).permutation(table.num_rows)
    files: Counter[tuple[str, date]] = Counter()
    whole: dict[tuple[str, date], list[pa.Table]] = {}
    dealt = 0
    plans = ((night_plan.night, plan) for night_plan in nights for plan in night_plan.deliveries)
    for night, plan in plans:
        reviews = table.take(pa.array(order[dealt : dealt + plan.rows]))
        rows = _as_delivered(reviews, source=plan.source, night=night, first_number=dealt + 1)
        if plan.drifted_words:
            strongest = drift.strongest_of(table, plan.drifted_words)
            rows = drift.drifted(
                rows, drift.new_words(strongest), positive_share=DRIFTED_POSITIVE_SHARE,
                rng=np.random.default_rng([seed, dealt, 1]),
            )  # fmt: skip
        whole.setdefault((plan.source, night), []).append(rows)
        rows = pa.concat_tables([rows, *_once_more(plan, night, whole)])
        # Seeded per delivery: what happens to one does not depend on those before it.
        body = _body(rows, plan, np.random.default_rng([seed, dealt]))
        dealt += plan.rows
        day = night - timedelta(days=plan.again[0].nights_ago if plan.again else 0)
        files[plan.source, day] += 1
        name = f"reviews-{files[plan.source, day]}.{plan.file_format}"
        key = f"landing/{plan.source}/{day.isoformat()}/{name}"
        logger.info(
            "delivery=%s rows=%d bytes=%d fault=%s", key, rows.num_rows, len(body), plan.fault
        )
        yield DroppedFile(key=key, body=body, rows=rows.num_rows, night=night)


def _once_more(
    plan: DeliveryPlan, night: date, whole: dict[tuple[str, date], list[pa.Table]]
) -> list[pa.Table]:
    return [
        pa.concat_tables(whole[plan.source, night - timedelta(days=again.nights_ago)])[: again.rows]
        for again in plan.again
    ]


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
    damaged = flip_labels(damaged, share=plan.flipped_share, rng=rng)
    if plan.fault == "schema_changed":
        damaged = with_changed_schema(damaged)
    body = encode(damaged, plan.file_format)
    if plan.fault == "truncated":
        body = body[: int(len(body) * SHARE_LEFT_WHEN_TRUNCATED)]
    return body


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
