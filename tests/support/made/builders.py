"""Deliveries for tests: well-formed rows, the files they make, and the key they land under."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError

from pipelines.core.store.bucket import Bucket
from pipelines.core.store.stores import Stores
from pipelines.intake.files.rows import Rows
from pipelines.intake.files.spooled_rows import SpooledRows
from pipelines.simulation.damage import DELIVERED_SCHEMA
from pipelines.simulation.film_site import encode
from pipelines.simulation.plans import Format

NIGHT = "2026-01-05"
Row = dict[str, Any]

_PRAISE, _BLAME = ("superb", 9), ("dreadful", 2)


def some_rows(count: int, *, first: int = 0, night: str = NIGHT) -> list[Row]:
    """Rows that break no rule: every second one positive, each text and film told by its number.

    ``first`` is the number of the first row; rows of other numbers are other reviews.
    """
    return [_row(number, night) for number in range(first, first + count)]


def _row(number: int, night: str) -> Row:
    word, rating = _PRAISE if number % 2 else _BLAME
    return {
        "review_id": f"review-{number:06d}",
        "movie_id": f"tt{number // 3:07d}",
        "text": f"Review {number} calls film {number // 3} a {word} evening at the cinema.",
        "label": "positive" if number % 2 else "negative",
        "rating": rating,
        "written_on": night,
    }


def as_file(rows: list[Row], file_format: Format) -> bytes:
    """The rows in one of the formats upstream delivers; values must fit the agreed columns."""
    return encode(pa.Table.from_pylist(rows, schema=DELIVERED_SCHEMA), file_format)


def as_csv(rows: list[Row]) -> bytes:
    return as_file(rows, "csv")


def as_jsonl(rows: list[Row]) -> bytes:
    return as_file(rows, "jsonl")


def as_parquet(rows: list[Row]) -> bytes:
    return as_file(rows, "parquet")


def in_memory(spooled: SpooledRows) -> Rows:
    """The rows of a delivery, as lists."""
    rows = Rows(extra_columns=spooled.extra_columns, found=spooled.found)
    for block in spooled.blocks():
        rows.extend(block)
    return rows


def landing_key(file_name: str, *, source: str = "web", night: str = NIGHT) -> str:
    return f"landing/{source}/{night}/{file_name}"


def deliver(stores: Stores, key: str, body: bytes) -> str:
    """Drop a file as upstream does: under any name S3 takes, over whatever is there.

    Returns the URI, as `steps.ingest.find_deliveries` would. Skips the test when the server
    refuses the name: some keep objects as files, and upstream cannot use such a name there either.
    """
    bucket = stores.reviews
    try:
        bucket._client.put_object(Bucket=bucket.name, Key=key, Body=body)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 400:
            raise
        pytest.skip(f"this server does not take the name {key[:60]!r}: {error}")
    return bucket.uri(key)


def listing(bucket: Bucket) -> dict[str, str]:
    """Every object of a bucket: key to ETag."""
    return {info.key: info.version_tag for info in bucket.list("")}
