"""Store the rows of a delivery: those that count, and those that do not with their reasons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.core.store.bucket import Bucket
from pipelines.features import signatures
from pipelines.intake.files.reading import POSITIVE
from pipelines.intake.files.rows import Rows
from pipelines.intake.files.spooled_rows import SpooledRows
from pipelines.intake.partitions import ACCEPTED_SCHEMA, QUARANTINE_SCHEMA, write_partition
from pipelines.records.data import Partition
from pipelines.records.deliveries import Delivery
from pipelines.validation.measurements import Measured

MOST_PARTITION_CHARS = 64 * 1024 * 1024  # of the texts of one partition

Positions = NDArray[np.intp]


def store_rows(
    reviews: Bucket,
    delivery: Delivery,
    rows: SpooledRows,
    measured: Measured,
    *,
    good: Positions,
    quarantined: dict[int, list[str]],
    partition_rows: int,
) -> dict[str, Any]:
    """Store rows partition by partition; returns them as the fields of `records.data.WithRows`.

    Parameters
    ----------
    reviews : Bucket
        Where they go.
    delivery : Delivery
        Whose rows they are.
    rows, measured : SpooledRows, Measured
        All rows of the delivery.
    good : ndarray of shape (n_good_rows,)
        Positions of the rows that count, ascending.
    quarantined : dict of int to list of str
        Positions of those that do not, with their reason codes.
    partition_rows : int
        How many a partition has at most.
    """
    night = delivery.night
    accepted, sketches, rejected = [], [], []
    for positions, part in _parts(rows, good.tolist(), partition_rows):
        ids = measured.text_ids[positions]
        table = _accepted_table(part, ids, delivery.source)
        sketch = signatures.as_table(signatures.text_keys(ids), measured.signatures[positions])
        accepted.append(write_partition(reviews, f"accepted/date={night}", table))
        sketches.append(write_partition(reviews, f"sketches/date={night}", sketch))
    for positions, part in _parts(rows, sorted(quarantined), partition_rows):
        table = _quarantine_table(part, positions, quarantined)
        rejected.append(write_partition(reviews, f"quarantine/date={night}", table))
    return {
        **_fields("accepted", "further_accepted", accepted),
        **_fields("sketch", "further_sketches", sketches),
        **_fields("quarantined", "further_quarantined", rejected),
    }


def _fields(first: str, further: str, parts: list[Partition]) -> dict[str, Any]:
    return {first: parts[0] if parts else None, further: tuple(parts[1:])}


def _parts(
    rows: SpooledRows, positions: list[int], most_rows: int
) -> Iterator[tuple[list[int], Rows]]:
    """Positions of the rows of each partition, and these rows."""
    for start in range(0, len(positions), most_rows):
        numbers: list[int] = []
        part, chars = Rows(), 0
        for chosen, block in rows.select(positions[start : start + most_rows]):
            numbers += chosen
            part.extend(block)
            chars += sum(len(text or "") for text in block.text)
            if chars >= MOST_PARTITION_CHARS:
                yield numbers, part
                numbers, part, chars = [], Rows(), 0
        if numbers:
            yield numbers, part


def _accepted_table(part: Rows, text_ids: NDArray[np.uint8], source: str) -> pa.Table:
    return pa.table(
        {
            "text_id": text_ids.tobytes().hex(" ", 32).split(),
            "review_id": part.review_id,
            "movie_id": part.movie_id,
            "text": part.text,
            "label": [int(label == POSITIVE) for label in part.label],
            "rating": part.rating,
            "written_on": part.written_on,
            "source": [source] * len(part),
        },
        schema=ACCEPTED_SCHEMA,
    )


def _quarantine_table(part: Rows, positions: list[int], reasons: dict[int, list[str]]) -> pa.Table:
    return pa.table(
        {
            "row": positions,
            "reasons": [reasons[row] for row in positions],
            "review_id": part.review_id,
            "movie_id": part.movie_id,
            "text": part.text,
            "label": part.label,
            "rating": part.rating,
            "written_on": part.written_on,
        },
        schema=QUARANTINE_SCHEMA,
    )
