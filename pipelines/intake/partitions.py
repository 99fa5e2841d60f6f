"""Accepted and quarantined rows as immutable Parquet, named by the hash of their bytes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.errors import DigestMismatchError, TrustError
from pipelines.core.record import sha256_of
from pipelines.core.store.bucket import Bucket
from pipelines.records.data import Partition

ACCEPTED_SCHEMA = pa.schema(
    [
        pa.field("text_id", pa.string(), nullable=False),
        pa.field("review_id", pa.string()),
        pa.field("movie_id", pa.string()),
        pa.field("text", pa.string(), nullable=False),
        pa.field("label", pa.int8(), nullable=False),  # 1 positive, 0 negative
        pa.field("rating", pa.int8()),
        pa.field("written_on", pa.date32(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
    ]
)
QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),  # position in the delivery, from 0
        pa.field("reasons", pa.list_(pa.string()), nullable=False),
        pa.field("review_id", pa.string()),
        pa.field("movie_id", pa.string()),
        pa.field("text", pa.string()),
        pa.field("label", pa.string()),
        pa.field("rating", pa.int8()),
        pa.field("written_on", pa.date32()),
    ]
)


def write_partition(reviews: Bucket, folder: str, table: pa.Table) -> Partition:
    """Store a table below ``folder/`` under its own hash; the same rows give the same object."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", compression_level=3)
    data = buffer.getvalue()
    sha256 = sha256_of(data)
    key = f"{folder}/{sha256}.parquet"
    reviews.put_once(key, data)
    return Partition(key=key, sha256=sha256, rows=table.num_rows, size_bytes=len(data))


def read_partition(
    reviews: Bucket, partition: Partition, columns: list[str] | None = None
) -> pa.Table:
    """The rows of a partition, after checking that its bytes have the recorded digest.

    Raises
    ------
    DigestMismatchError
        If the object was changed after it was recorded.
    """
    data = reviews.get(partition.key, max_bytes=partition.size_bytes)
    actual = sha256_of(data)
    if actual != partition.sha256:
        raise DigestMismatchError(
            uri=reviews.uri(partition.key), expected=partition.sha256, found=actual
        )
    table = pq.read_table(pa.BufferReader(data), columns=columns)
    if table.num_rows != partition.rows:
        raise TrustError(
            f"{reviews.uri(partition.key)} has {table.num_rows} rows, "
            f"not the recorded {partition.rows}"
        )
    return table


def read_lines(
    reviews: Bucket, partitions: Iterable[Partition], columns: list[str]
) -> Iterator[dict[str, Any]]:
    """The rows of several partitions, of which one at a time is in memory."""
    for partition in partitions:
        yield from read_partition(reviews, partition, columns).to_pylist()
