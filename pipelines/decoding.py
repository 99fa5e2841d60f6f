"""Bytes of a delivery to rows, within bounds: nothing is expanded before its size is known to fit.

A fault of the whole file (truncated, not the format, columns missing) raises
`UnreadableDeliveryError`. A fault of one row becomes a reason code on that row, so that the row
is quarantined and the others count.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.config import IntakeSettings
from pipelines.errors import UnreadableDeliveryError
from pipelines.records import FileFormat

REQUIRED_COLUMNS = ("review_id", "text", "label", "written_on")
OPTIONAL_COLUMNS = ("movie_id", "rating")
COLUMNS = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)

MALFORMED_ROW = "malformed_row"
INVALID_UTF8 = "invalid_utf8"
RATING_INVALID = "rating_invalid"
DATE_INVALID = "date_invalid"

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.,+Z-]{1,30})?")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_CHUNK_BYTES = 1024 * 1024
_PARQUET_BATCH_ROWS = 8192
_PARQUET_MARK = b"PAR1"  # both ends of a whole file


@dataclass
class Rows:
    """Decoded rows, one list per column, all of the same length.

    ``review_id``, ``text``, ``label`` and ``movie_id`` hold ``str | None``; ``rating`` holds
    ``int | None`` (1 ... 10), ``written_on`` ``date | None``. ``faults`` holds per row the reason
    codes found while decoding.
    """

    review_id: list[str | None] = field(default_factory=list)
    text: list[str | None] = field(default_factory=list)
    label: list[str | None] = field(default_factory=list)
    movie_id: list[str | None] = field(default_factory=list)
    rating: list[int | None] = field(default_factory=list)
    written_on: list[date | None] = field(default_factory=list)
    faults: list[tuple[str, ...]] = field(default_factory=list)
    extra_columns: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.faults)

    def append(self, values: dict[str, Any], fault: str | None = None) -> None:
        """Add one row as it was read; values of a wrong kind become None with a reason."""
        faults = [] if fault is None else [fault]
        for name in ("review_id", "text", "label"):
            getattr(self, name).append(_as_text(values.get(name), faults))
        self.movie_id.append(_as_film(values.get("movie_id"), faults))
        self.rating.append(_as_rating(values.get("rating"), faults))
        self.written_on.append(_as_date(values.get("written_on"), faults))
        self.faults.append(tuple(dict.fromkeys(faults)))


def decode(
    data: bytes, file_format: FileFormat, *, is_gzipped: bool, intake: IntakeSettings
) -> Rows:
    """The rows of a delivered file.

    Raises
    ------
    UnreadableDeliveryError
        With one of the reasons ``unknown_format``, ``empty_file``, ``truncated``,
        ``not_gzip``, ``too_large``, ``too_many_rows``, ``too_many_columns``, ``wrong_columns``,
        ``malformed_csv``, ``not_jsonl``, ``not_parquet``, ``wrong_encoding``.
    """
    if not data:
        raise UnreadableDeliveryError("empty_file", "the file has 0 bytes.")
    if is_gzipped:
        data = _gunzip(data, intake)
    elif len(data) > intake.max_decoded_bytes:
        raise _too_large(intake)
    rows = _decoder(file_format)(data, intake)
    if rows.extra_columns:
        rows.extra_columns = tuple(sorted(rows.extra_columns))
    return rows


def _decoder(file_format: FileFormat) -> Callable[[bytes, IntakeSettings], Rows]:
    decoders = {"csv": _decode_csv, "jsonl": _decode_jsonl, "parquet": _decode_parquet}
    if file_format not in decoders:
        raise UnreadableDeliveryError(
            "unknown_format",
            "the file's name ends in none of .csv, .jsonl, .parquet (each also with .gz).",
        )
    return decoders[file_format]


def _gunzip(data: bytes, intake: IntakeSettings) -> bytes:
    plain, size = io.BytesIO(), 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
            while chunk := packed.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > intake.max_decoded_bytes:
                    raise _too_large(intake)
                plain.write(chunk)
    except EOFError as error:
        raise UnreadableDeliveryError(
            "truncated", f"the gzip file of {len(data):,} bytes ends before its content does."
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UnreadableDeliveryError(
            "not_gzip", f"the file is not valid gzip ({error})."
        ) from error
    return plain.getvalue()


def _too_large(intake: IntakeSettings) -> UnreadableDeliveryError:
    return UnreadableDeliveryError(
        "too_large",
        f"the content is larger than intake.max_decoded_bytes={intake.max_decoded_bytes:,}.",
    )


def _check_row_count(rows: int, intake: IntakeSettings) -> None:
    if rows > intake.max_rows:
        raise UnreadableDeliveryError(
            "too_many_rows", f"the file has more rows than intake.max_rows={intake.max_rows:,}."
        )


def _check_columns(
    found: Sequence[str], count_rows: Callable[[], int], intake: IntakeSettings
) -> tuple[str, ...]:
    """The columns beyond the expected ones; raises when a required one is missing or doubled."""
    if len(found) > intake.max_columns:
        raise UnreadableDeliveryError(
            "too_many_columns",
            f"the file has more columns than intake.max_columns={intake.max_columns}.",
            rows=count_rows(),
        )
    missing = [name for name in REQUIRED_COLUMNS if name not in found]
    doubled = sorted(name for name, times in Counter(found).items() if times > 1)
    if missing or doubled:
        shown = [name[:40] for name in found[:20]]
        raise UnreadableDeliveryError(
            "wrong_columns",
            f"missing columns {missing}, doubled columns {doubled[:20]}; found {shown}, "
            f"expected {list(COLUMNS)}.",
            rows=count_rows(),
        )
    return tuple(name for name in found if name not in COLUMNS)


# ── CSV ──────────────────────────────────────────────────────────────────────────────────────


def _decode_csv(data: bytes, intake: IntakeSettings) -> Rows:
    csv.field_size_limit(intake.max_field_bytes)
    lines = csv.reader(io.StringIO(_as_unicode(data), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(lines, [])]
        rows = Rows(extra_columns=_check_columns(header, lambda: sum(1 for _ in lines), intake))
        for fields in lines:
            _check_row_count(len(rows) + 1, intake)
            _append_csv_row(rows, header, fields)
    except csv.Error as error:
        raise UnreadableDeliveryError(
            "malformed_csv", f"line {lines.line_num:,} is not valid CSV ({error})."
        ) from error
    return rows


def _append_csv_row(rows: Rows, header: list[str], fields: list[str]) -> None:
    if not fields:
        return  # a blank line is no row
    values = {name: value or None for name, value in zip(header, fields, strict=False)}
    rows.append(values, None if len(fields) == len(header) else MALFORMED_ROW)


def _as_unicode(data: bytes) -> str:
    """Text with undecodable bytes kept as lone surrogates, to be found again per field."""
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise UnreadableDeliveryError("wrong_encoding", "the file is UTF-16; UTF-8 is expected.")
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


# ── JSON Lines ───────────────────────────────────────────────────────────────────────────────


def _decode_jsonl(data: bytes, intake: IntakeSettings) -> Rows:
    rows = Rows()
    names: dict[str, None] = {}
    well_formed = 0
    for line in _json_lines(data):
        _check_row_count(len(rows) + 1, intake)
        values = _json_object(line, intake)
        rows.append(values or {}, MALFORMED_ROW if values is None else None)
        if len(names) <= intake.max_columns:
            names.update(dict.fromkeys(values or ()))
        well_formed += values is not None
    if well_formed:
        rows.extra_columns = _check_columns(list(names), lambda: len(rows), intake)
    elif len(rows):
        raise UnreadableDeliveryError(
            "not_jsonl",
            f"none of the {len(rows):,} lines is a whole JSON object.",
            rows=len(rows),
        )
    return rows


def _json_lines(data: bytes) -> Iterator[str]:
    for line in _as_unicode(data).split("\n"):
        if line.strip():
            yield line


def _json_object(line: str, intake: IntakeSettings) -> dict[str, Any] | None:
    if len(line) > intake.max_field_bytes:
        return None
    try:
        value = json.loads(line, object_pairs_hook=_named_once)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name is given twice: which value is meant?")
    return values


# ── Parquet ──────────────────────────────────────────────────────────────────────────────────


def _decode_parquet(data: bytes, intake: IntakeSettings) -> Rows:
    try:
        return _read_parquet(pq.ParquetFile(pa.BufferReader(data)), intake)
    # ValueError: names or values that are not UTF-8; LookupError: a time zone nobody knows.
    except (pa.ArrowException, OSError, OverflowError, ValueError, LookupError) as error:
        is_cut = data.startswith(_PARQUET_MARK) and not data.endswith(_PARQUET_MARK)
        reason = "truncated" if is_cut else "not_parquet"
        first_line = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UnreadableDeliveryError(
            reason, f"the file cannot be read as Parquet ({first_line})."
        ) from error


def _read_parquet(file: pq.ParquetFile, intake: IntakeSettings) -> Rows:
    _check_row_count(file.metadata.num_rows, intake)
    groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
    if sum(group.total_byte_size for group in groups) > intake.max_decoded_bytes:
        raise _too_large(intake)
    found = file.schema_arrow.names
    rows = Rows(extra_columns=_check_columns(found, lambda: int(file.metadata.num_rows), intake))
    present = [name for name in COLUMNS if name in file.schema_arrow.names]
    size = 0
    # A value stored once can stand in every row: so few rows at a time that even that fits.
    largest = max((group.total_byte_size for group in groups), default=1)
    batch_rows = max(1, min(_PARQUET_BATCH_ROWS, intake.max_decoded_bytes // max(largest, 1)))
    for batch in file.iter_batches(batch_size=batch_rows, columns=present):
        size += batch.nbytes
        if size > intake.max_decoded_bytes:
            raise _too_large(intake)
        _check_row_count(len(rows) + batch.num_rows, intake)
        _append_batch(rows, batch)
    return rows


def _append_batch(rows: Rows, batch: pa.RecordBatch) -> None:
    columns = {name: _python_values(batch.column(name)) for name in batch.schema.names}
    for index in range(batch.num_rows):
        rows.append({name: values[index] for name, values in columns.items()})


def _python_values(column: pa.Array) -> list[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        wide = column.cast(pa.large_string()).cast(pa.large_binary())
        return [
            None if value is None else value.decode("utf-8", "surrogateescape")
            for value in wide.to_pylist()
        ]
    values: list[Any] = column.to_pylist()
    return values


# ── Values ───────────────────────────────────────────────────────────────────────────────────


def _as_text(value: Any, faults: list[str]) -> str | None:
    if value is None:
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if not isinstance(value, str):
        value = str(value) if isinstance(value, int | float) else _not_a_scalar(faults)
    if _LONE_SURROGATE.search(value):
        faults.append(INVALID_UTF8)
        return _visible_bytes(value)
    text: str = value
    return text


def _as_film(value: Any, faults: list[str]) -> str | None:
    """A film's id, the same however it is spelled: else one film is on both sides of the split."""
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None  # a column of numbers with gaps
    film = _as_text(value, faults)
    return (film.strip().casefold() or None) if film else None


def _visible_bytes(value: str) -> str:
    """The text with each undecodable byte written out as a backslash escape."""
    try:
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a lone surrogate that JSON spelled out
        return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _not_a_scalar(faults: list[str]) -> str:
    faults.append(MALFORMED_ROW)
    return ""


def _as_rating(value: Any, faults: list[str]) -> int | None:
    if value is None or value == "" or value != value:  # noqa: PLR0124 - NaN stands for null
        return None
    try:
        number = float(value)
        if number == int(number) and 1 <= number <= 10 and not isinstance(value, bool):
            return int(number)
    except (TypeError, ValueError, OverflowError):
        pass
    faults.append(RATING_INVALID)
    return None


def _as_date(value: Any, faults: list[str]) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        if _DAY.fullmatch(str(value)):
            return date.fromisoformat(str(value)[:10])
    except ValueError:
        pass  # such as 2026-02-30
    faults.append(DATE_INVALID)
    return None
