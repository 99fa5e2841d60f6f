"""Read rows of CSV and JSON Lines line by line, never more of a line than a row may have.

Compressed content is unpacked piece by piece, and its size is checked before it is parsed.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO

from pipelines.core.errors import UnreadableDeliveryError
from pipelines.intake.files import kinds
from pipelines.intake.files.ids import MOST_DIGITS
from pipelines.intake.files.reading import Reading, located
from pipelines.intake.files.rows import RawRow, RawRows, check_row_count, too_large

if TYPE_CHECKING:
    from pipelines.core.settings.data import IntakeSettings

MOST_JSON_PARTS = 20_000  # commas and brackets in one line; a review of 20,000 characters has fewer
MOST_JSON_SHAPES = 1_000  # different sets of names that are remembered
MOST_MEMBERS = 10_000  # of a gzip file; block compression makes one per 64 KiB
_READ_BYTES = 64 * 1024


# ── Content ──────────────────────────────────────────────────────────────────────────────────


def content(file: BinaryIO, intake: IntakeSettings, *, is_gzipped: bool) -> Iterator[bytes]:
    """The file's content in pieces, unpacked if it is gzip, never beyond the limit."""
    size = 0
    pieces = _unpacked(file) if is_gzipped else iter(lambda: file.read(_READ_BYTES), b"")
    try:
        for piece in pieces:
            size += len(piece)
            if size > intake.max_decoded_bytes:
                raise too_large(intake)
            yield piece
    except zlib.error as error:
        raise UnreadableDeliveryError(
            "not_gzip", f"the file is not valid gzip ({error})."
        ) from error


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    """The content of every gzip member in bounded pieces; zeros between members are skipped."""
    members, packed = 0, file.read(_READ_BYTES)
    while packed:
        members += 1
        if members > MOST_MEMBERS:
            raise UnreadableDeliveryError(
                "too_many_parts", f"the gzip file has more than {MOST_MEMBERS:,} members."
            )
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            piece = member.decompress(packed, _READ_BYTES)
            if piece:
                yield piece
            packed = member.unconsumed_tail or (b"" if member.eof else file.read(_READ_BYTES))
            if not (piece or packed or member.eof):
                raise UnreadableDeliveryError(
                    "truncated", "the gzip file ends before its content does."
                )
        packed = member.unused_data.lstrip(b"\0")
        while not packed and (more := file.read(_READ_BYTES)):
            packed = more.lstrip(b"\0")


class _Stream(io.RawIOBase):
    """Pieces of bytes as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._left = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._left = self._left or next(self._pieces, b"")
        taken = min(len(buffer), len(self._left))
        buffer[:taken] = self._left[:taken]
        self._left = self._left[taken:]
        return taken


def _as_unicode(pieces: Iterator[bytes], newline: str, kind: str) -> io.TextIOWrapper:
    """Text; undecodable bytes stay as lone surrogates, which are later found per field."""
    start = b""
    while len(start) < kinds.HEAD_BYTES and (piece := next(pieces, b"")):
        start += piece
    kinds.check(start, kind)
    stream = io.BufferedReader(_Stream(chain([start] if start else [], pieces)), _READ_BYTES)
    return io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline=newline)


# ── CSV ──────────────────────────────────────────────────────────────────────────────────────


def read_csv(
    file: BinaryIO, intake: IntakeSettings, reading: Reading, *, is_gzipped: bool
) -> RawRows:
    lines = _CsvLines(content(file, intake, is_gzipped=is_gzipped), intake)
    try:
        header = [name.strip() for name in lines.header()]
        places, extra = located(header, lambda: sum(1 for _ in lines.rows()), intake, reading)
        named = _named_columns(header)
        for fields in lines.rows():
            values = {
                column: fields[place] or None
                for column, place in places.items()
                if place < len(fields)
            }
            yield RawRow(values, _misfit(fields, header, named), lines.number)
    except csv.Error as error:
        raise UnreadableDeliveryError(
            "malformed_csv", f"line {lines.number:,} is not valid CSV ({error})."
        ) from error
    return extra


def _named_columns(header: list[str]) -> int:
    """How many columns there are up to the last with a name; spreadsheets leave some without."""
    return max((place + 1 for place, name in enumerate(header) if name), default=0)


def _misfit(fields: list[str], header: list[str], named: int) -> str | None:
    """What is wrong with the width of a row; columns without a name at its end may be missing."""
    if not named <= len(fields) <= len(header):
        return f"{len(fields):,} fields where the header has {len(header):,}"
    if any(field.strip() for field in fields[named:]):
        return "a value in a column without a name"
    return None


class _CsvLines:
    """Rows of fields; blank lines and fields are counted as well and limited."""

    def __init__(self, pieces: Iterator[bytes], intake: IntakeSettings) -> None:
        csv.field_size_limit(intake.max_row_chars)
        self._intake, self._chars, self._blank_lines, self._fields = intake, 0, 0, 0
        self._text = _as_unicode(pieces, newline="", kind="csv")
        self._reader = csv.reader(self._lines(), strict=True)

    @property
    def number(self) -> int:
        return self._reader.line_num

    def header(self) -> list[str]:
        fields = next(self._reader, [])
        self._chars = 0
        return fields

    def rows(self) -> Iterator[list[str]]:
        rows = 0
        for fields in self._reader:
            self._chars = 0
            self._fields += len(fields)
            check_fields(self._fields, self._intake)
            if fields:
                rows += 1
                check_row_count(rows, self._intake)
                yield fields
            else:  # a blank line is not a row
                self._blank_lines += 1
                check_blank_lines(self._blank_lines, self._intake)

    def _lines(self) -> Iterator[str]:
        most = self._intake.max_row_chars
        while line := self._text.readline(most + 3):
            self._chars += len(line)
            if self._chars > most + 2:  # e.g. a quote that is never closed
                raise csv.Error(f"a row of more than intake.max_row_chars={most:,}")
            yield line


def check_fields(fields: int, intake: IntakeSettings) -> None:
    if fields > intake.max_rows * intake.max_columns:
        raise UnreadableDeliveryError(
            "too_many_columns",
            "the file has more fields than intake.max_rows x intake.max_columns.",
        )


def check_blank_lines(lines: int, intake: IntakeSettings) -> None:
    if lines > intake.max_rows:
        raise UnreadableDeliveryError(
            "too_many_rows",
            f"the file has more blank lines than intake.max_rows={intake.max_rows:,}.",
        )


# ── JSON Lines ───────────────────────────────────────────────────────────────────────────────


def read_jsonl(
    file: BinaryIO, intake: IntakeSettings, reading: Reading, *, is_gzipped: bool
) -> RawRows:
    columns = _JsonColumns(intake, reading)
    fields = rows = well_formed = 0
    first_problem = ""
    for number, line in _json_lines(content(file, intake, is_gzipped=is_gzipped), intake):
        parts = sum(map(line.count, ",[{"))
        is_read = bool(line) and parts <= MOST_JSON_PARTS
        fields += parts if is_read else 0
        check_fields(fields, intake)
        row = _json_object(line) if is_read else "a line that is too long"
        rows += 1
        if isinstance(row, str):
            first_problem = first_problem or row
            yield RawRow({}, row, number)
        else:
            ours = columns.ours(row)
            well_formed += 1
            yield RawRow(ours or {}, None if ours is not None else _TWO_MEANINGS, number)
    if rows and not well_formed:
        raise UnreadableDeliveryError(
            "not_jsonl",
            f"none of the {rows:,} lines is a complete JSON object; the first is {first_problem}. "
            "JSON Lines has one object per line, without commas between them.",
            rows=rows,
        )
    return columns.others(rows) if rows else ()


_TWO_MEANINGS = "an object in which two names stand for one column"


class _JsonColumns:
    """Finds our columns among the names of each object, and remembers all names."""

    def __init__(self, intake: IntakeSettings, reading: Reading) -> None:
        self._intake, self._reading = intake, reading
        self._names: dict[str, None] = {}
        self._keys: dict[tuple[str, ...], dict[str, str] | None] = {}
        self._unclear: UnreadableDeliveryError | None = None
        self._optional = dataclasses.replace(reading, needed=())

    def ours(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """Our values of an object; None where two of its names stand for one column."""
        names = tuple(row)
        keys = self._keys[names] if names in self._keys else self._found(names)
        if keys is None or (isinstance(row, _Doubled) and not row.names.isdisjoint(keys.values())):
            return None
        return {column: row[name] for column, name in keys.items()}

    def _found(self, names: tuple[str, ...]) -> dict[str, str] | None:
        most = self._intake.max_columns
        keys: dict[str, str] | None = None
        try:
            places, _ = located(names[:most], lambda: 0, self._intake, self._optional)
            keys = {column: names[place] for column, place in places.items()}
        except UnreadableDeliveryError as error:
            self._unclear = self._unclear or error
        for name in names if keys is not None else ():
            if len(self._names) <= most:
                self._names[name] = None
        if len(self._keys) < MOST_JSON_SHAPES:
            self._keys[names] = keys
        return keys

    def others(self, rows: int) -> tuple[str, ...]:
        """The names beyond ours in the whole file."""
        if self._unclear is not None and not self._names:
            raise self._unclear
        return located(list(self._names), lambda: rows, self._intake, self._reading)[1]


def _json_lines(pieces: Iterator[bytes], intake: IntakeSettings) -> Iterator[tuple[int, str]]:
    """Each line that is not blank, and its number; an empty string if it is too long."""
    text = _as_unicode(pieces, newline="\n", kind="jsonl")
    most, blank_lines, number = intake.max_row_chars, 0, 0
    while line := text.readline(most + 1):
        number += 1
        if len(line) > most and not line.endswith("\n"):
            while (rest := text.readline(_READ_BYTES)) and not rest.endswith("\n"):
                pass
            yield number, ""
        elif line.isspace():
            blank_lines += 1
            check_blank_lines(blank_lines, intake)
        else:
            yield number, line


def _json_object(line: str) -> dict[str, Any] | str:
    """The object, or what the line is instead."""
    try:
        value = json.loads(line, object_pairs_hook=_object, parse_float=_exact)
    except (ValueError, RecursionError):
        return _no_json(line)
    return value if isinstance(value, dict) else f"JSON of type {type(value).__name__}"


def _no_json(line: str) -> str:
    if "".join(line[-100:].split()).endswith("},"):
        return "an object with a comma after it"
    return "no complete JSON"


class _Doubled(dict[str, Any]):
    """An object in which ``names`` stand twice: what they mean depends on who reads it."""

    names: frozenset[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    doubled = _Doubled(values)
    counts = Counter(name for name, _ in pairs)
    doubled.names = frozenset(name for name, count in counts.items() if count > 1)
    return doubled


def _exact(number: str) -> Decimal | str:
    """A number as it is written: a float would make one id of two."""
    try:
        exact = Decimal(number)
    except InvalidOperation:  # its exponent is beyond all bounds
        return number
    return exact if abs(exact.adjusted()) <= MOST_DIGITS else number
