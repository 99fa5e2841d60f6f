"""Years of nights, laid down straight in the form an ingest leaves, and a count of requests."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.core.keys import raw_key, report_key
from pipelines.core.parallel import in_parallel
from pipelines.core.record import NO_BYTES, sha256_of
from pipelines.core.store.answers import digest_of
from pipelines.core.store.bucket import Bucket
from pipelines.features import signatures
from pipelines.features.text_id import text_id
from pipelines.intake.landing import delivery_digest, parse_name
from pipelines.intake.partitions import ACCEPTED_SCHEMA, write_partition
from pipelines.records.data import Partition
from pipelines.records.deliveries import Arrival, Delivery, NameClaim, Outcome, Receipt
from pipelines.records.validations import Basis, Profile, Validation
from pipelines.simulation.damage import DELIVERED_SCHEMA
from pipelines.simulation.film_site import encode
from pipelines.validation.measurements import VOCABULARY_BINS
from pipelines.validation.profiles import LENGTH_EDGES

FIRST_NIGHT = date(2023, 1, 2)
ARCHIVE, _FIRST_OF_ARCHIVE = 0, 50_000_000  # the number of its night, and of its first review


@dataclass(frozen=True)
class Years:
    """So many nights, each with one small delivery per source; every review is another one.

    Before them, an archive may be delivered in one file, so that worlds with more and with fewer
    deliveries hold as many reviews.
    """

    sources: int
    nights: int
    rows: int = 3
    archive_rows: int = 0

    def night(self, number: int) -> str:
        """The day of a night, counted from 1."""
        return (FIRST_NIGHT + timedelta(days=number - 1)).isoformat()

    def rows_of(self, source: int, number: int) -> list[dict[str, Any]]:
        if number == ARCHIVE:
            rows = range(_FIRST_OF_ARCHIVE, _FIRST_OF_ARCHIVE + self.archive_rows)
            return [_row(row, self.night(ARCHIVE)) for row in rows]
        first = (number * self.sources + source) * self.rows
        return [_row(first + row, self.night(number)) for row in range(self.rows)]

    def landing_key(self, source: int, number: int) -> str:
        name = "archive" if number == ARCHIVE else f"source-{source:02d}"
        return f"landing/{name}/{self.night(number)}/reviews.jsonl"

    def file(self, source: int, number: int) -> bytes:
        """What the source delivers for a night."""
        table = pa.Table.from_pylist(self.rows_of(source, number), schema=DELIVERED_SCHEMA)
        return encode(table, "jsonl")

    def deliver(self, reviews: Bucket, number: int) -> None:
        """Drop a night's files, as upstream does."""
        for source in range(self.sources):
            reviews.put(self.landing_key(source, number), self.file(source, number))

    def lay_down(self, reviews: Bucket) -> None:
        """All nights, ingested."""
        every = [
            (source, number)
            for number in range(1, self.nights + 1)
            for source in range(self.sources)
        ]
        if self.archive_rows:
            every.append((0, ARCHIVE))
        for _ in in_parallel(lambda one: self._lay_down(reviews, *one), every):
            pass

    def _lay_down(self, reviews: Bucket, source: int, number: int) -> None:
        night, key, body = self.night(number), self.landing_key(source, number), ""
        data = self.file(source, number)
        named = parse_name(key)
        sha256, tag = delivery_digest(named, data).hexdigest(), digest_of(data)
        reviews.put(key, data)
        reviews.put(raw_key(sha256), data)
        accepted, sketch = self._store_rows(reviews, named.source, source, number)
        validation = _validation(sha256, night, accepted, sketch)
        reviews.put(report_key(validation.object_key), body.encode())
        rows = accepted.rows
        counts: dict[str, Any] = {
            "delivered_rows": rows, "accepted_rows": rows, "quarantined_rows": 0, "held_rows": 0,
        }  # fmt: skip
        arrived: dict[str, Any] = {"landing_key": key, "version_tag": tag}
        for record in (
            Delivery(
                sha256=sha256, source=named.source, landing_key=key, file_format="jsonl",
                is_gzipped=False, size_bytes=len(data), night=night, raw_key=raw_key(sha256),
            ),
            NameClaim(landing_key=key, delivery=sha256),
            Arrival(**arrived, night=night, delivery=sha256),
            validation,
            Outcome(
                **arrived, **counts, delivery=sha256, source=named.source, night=night,
                counted_in=night, verdict="ACCEPTED", why=validation.why, accepted=accepted,
                quarantined=None, sketch=sketch, validation_key=validation.object_key,
            ),
            Receipt(
                **arrived, **counts, night=night, delivery=sha256, verdict="ACCEPTED",
                why=validation.why,
            ),
        ):  # fmt: skip
            reviews.put_first(record)

    def _store_rows(
        self, reviews: Bucket, name: str, source: int, number: int
    ) -> tuple[Partition, Partition]:
        rows, night = self.rows_of(source, number), self.night(number)
        ids = [text_id(row["text"]) for row in rows]
        table = pa.Table.from_pylist(
            [
                {
                    **row,
                    "text_id": ids[place],
                    "label": int(row["label"] == "positive"),
                    "written_on": date.fromisoformat(night),
                    "source": name,
                }
                for place, row in enumerate(rows)
            ],
            schema=ACCEPTED_SCHEMA,
        )
        cells = np.zeros((len(rows), signatures.CELLS), np.uint16)  # too short to compare
        sketch = signatures.as_table(signatures.text_keys(_as_bytes(ids)), cells)
        return (
            write_partition(reviews, f"accepted/date={night}", table),
            write_partition(reviews, f"sketches/date={night}", sketch),
        )


def _as_bytes(text_ids: list[str]) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex("".join(text_ids)), np.uint8).reshape(-1, 32)


def _row(number: int, night: str) -> dict[str, Any]:
    word, rating = ("superb", 9) if number % 2 else ("dreadful", 2)
    return {
        "review_id": f"review-{number:08d}",
        "movie_id": f"tt{number // 3:08d}",
        "text": f"Review {number} calls film {number // 3} a {word} evening at the cinema.",
        "label": "positive" if number % 2 else "negative",
        "rating": rating,
        "written_on": night,
    }


def _validation(sha256: str, night: str, accepted: Partition, sketch: Partition) -> Validation:
    rows = accepted.rows
    chars, ngrams = [0] * len(LENGTH_EDGES), [0] * VOCABULARY_BINS
    chars[1] = ngrams[0] = rows
    return Validation(
        delivery=sha256,
        verdict="ACCEPTED",
        why=f"All {rows:,} rows count.",
        basis=Basis(rules=NO_BYTES, before=night, known=NO_BYTES, trailing=(), champion=None),
        delivered_rows=rows,
        accepted_rows=rows,
        quarantined_rows=0,
        held_rows=0,
        reasons={},
        rules=(),
        profile=Profile(
            rows=rows, positive_rows=rows // 2, chars=tuple(chars), ngrams=tuple(ngrams)
        ),
        accepted=accepted,
        quarantined=None,
        sketch=sketch,
        page_sha256=sha256_of(b""),
    )


@dataclass
class Requests:
    """How many requests were sent, by method and first part of the key, or the listed prefix."""

    counted: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.counted.total()


@contextlib.contextmanager
def counted_requests() -> Iterator[Requests]:
    """Count every request that this process sends to any store meanwhile."""
    from botocore.httpsession import URLLib3Session

    requests, lock, send = Requests(), threading.Lock(), URLLib3Session.send

    def counting(session: Any, request: Any) -> Any:
        with lock:
            requests.counted[_kind_of(request)] += 1
        return send(session, request)

    URLLib3Session.send = counting
    try:
        yield requests
    finally:
        URLLib3Session.send = send


def _kind_of(request: Any) -> str:
    from urllib.parse import parse_qs, unquote, urlsplit

    address = urlsplit(request.url)
    parts = unquote(address.path).split("/")
    if len(parts) <= 2 or not parts[2]:
        prefix = parse_qs(address.query).get("prefix", [""])[0]
        return f"LIST {prefix.partition('/')[0]}"
    return f"{request.method} {parts[2]}"
