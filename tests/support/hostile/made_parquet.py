"""Parquet made byte by byte: footer, page headers and pages can each say another thing."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from tests.support.hostile.thrift import I64, struct, varint

BYTE_ARRAY, UTF8 = 6, 0
PLAIN, RLE_DICTIONARY, DELTA_BYTE_ARRAY = 0, 8, 7
CODECS = {None: 0, "snappy": 1, "gzip": 2, "brotli": 4, "zstd": 6, "lz4_raw": 7}
NAMES = ("review_id", "text", "label", "written_on")


@dataclass(frozen=True)
class Column:
    """One column of one row group; what it claims is what it holds, unless a claim is set.

    ``value`` stands once in the dictionary and ``rows`` times in the data page. ``claims``
    replaces fields of the column's metadata, the other claims those of page headers.
    """

    value: bytes
    rows: int
    codec: str | None = None
    claims: dict[int, Any] = field(default_factory=dict)
    data_claims: dict[int, Any] = field(default_factory=dict)
    dictionary_claims: dict[int, Any] = field(default_factory=dict)
    copies: int = 1  # of the value in the dictionary
    data_pages: int = 1


def packed(data: bytes, codec: str | None) -> bytes:
    if codec is None:
        return data
    if codec == "gzip":
        return zlib.compress(data, 9, wbits=31)
    return pa.Codec(codec).compress(data).to_pybytes()


def page(kind: int, body: bytes, details: dict[int, Any], codec: str | None, claims: Any) -> bytes:
    """A page with its header; ``claims`` replaces fields of the header."""
    data = packed(body, codec)
    holder = {0: 5, 2: 7, 3: 8}.get(kind, 5)
    header = {1: kind, 2: len(body), 3: len(data), holder: details} | claims
    return struct(header) + data


def chunk(column: Column) -> tuple[bytes, int]:
    """The bytes of a column, and where its data pages begin in them."""
    plain = (len(column.value).to_bytes(4, "little") + column.value) * column.copies
    first = page(2, plain, {1: column.copies, 2: PLAIN}, column.codec, column.dictionary_claims)
    runs = b"\1" + varint(column.rows << 1) + b"\0"
    details = {1: column.rows, 2: RLE_DICTIONARY, 3: 3, 4: 3}
    data = page(0, runs, details, column.codec, column.data_claims)
    return first + data * column.data_pages, len(first)


def schema(names: tuple[str, ...] = NAMES) -> list[dict[int, Any]]:
    columns = [{1: BYTE_ARRAY, 3: 0, 4: name.encode(), 6: UTF8} for name in names]
    return [{4: b"schema", 5: len(names)}, *columns]


def file_of(
    groups: list[dict[str, Column]],
    *,
    footer_claims: dict[int, Any] | None = None,
    group_claims: dict[int, Any] | None = None,
) -> bytes:
    """A whole file of row groups of the four required columns."""
    body, described = b"PAR1", []
    for group in groups:
        columns = []
        for name in NAMES:
            column = group[name]
            data, data_start = chunk(column)
            meta = {
                1: BYTE_ARRAY, 2: [PLAIN, RLE_DICTIONARY], 3: [name.encode()],
                4: CODECS[column.codec], 5: I64(column.rows * column.data_pages),
                6: I64(len(data)), 7: I64(len(data)), 9: I64(len(body) + data_start),
                11: I64(len(body)),
            }  # fmt: skip
            columns.append({2: I64(len(body)), 3: meta | column.claims})
            body += data
        rows = group["text"].rows * group["text"].data_pages
        described.append({1: columns, 2: I64(1), 3: I64(rows)} | (group_claims or {}))
    total = sum(group["text"].rows * group["text"].data_pages for group in groups)
    footer = {1: 1, 2: schema(), 3: I64(total), 4: described} | (footer_claims or {})
    return closed(body, struct(footer))


def closed(body: bytes, footer: bytes) -> bytes:
    return body + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def group_of(rows: int, text: bytes = b"a film", **changes: Any) -> dict[str, Column]:
    """Four columns of one value each; ``changes`` are those of the column ``text``."""
    values = {"review_id": b"r", "label": b"positive", "written_on": b"2026-01-05"}
    usual = {name: Column(value, rows) for name, value in values.items()}
    return usual | {"text": replace(Column(text, rows), **changes)}
