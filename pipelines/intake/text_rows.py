"""Read rows of CSV and JSON Lines line by line, never more of a line than a row may have.

Compressed content is unpacked piece by piece, and its size is checked before it is parsed.
"""

from __future__ import annotations

import csv
import io
import json
import zlib
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO

from pipelines.core.errors import UnreadableDeliveryError
from pipelines.intake.rows import MALFORMED_ROW, Sheet, check_columns, check_row_count, too_large

if TYPE_CHECKING:
    from pipelines.core.settings import IntakeSettings

MOST_JSON_PARTS = 20_000  # commas and brackets in one line; a review of 20,000 characters has fewer
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


def _as_unicode(pieces: Iterator[bytes], newline: str) -> io.TextIOWrapper:
    """Text; undecodable bytes stay as lone surrogates, which are later found per field."""
    start = b""
    while len(start) < 2 and (piece := next(pieces, b"")):
        start += piece
    if start[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise UnreadableDeliveryError("wrong_encoding", "the file is UTF-16; UTF-8 is expected.")
    stream = io.BufferedReader(_Stream(chain([start] if start else [], pieces)), _READ_BYTES)
    return io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline=newline)


# ── CSV ──────────────────────────────────────────────────────────────────────────────────────


def read_csv(file: BinaryIO, sheet: Sheet, is_gzipped: bool) -> tuple[str, ...]:
    intake = sheet.intake
    lines = _CsvLines(content(file, intake, is_gzipped=is_gzipped), intake)
    try:
        header = [name.strip() for name in lines.header()]
        extra = check_columns(header, lambda: sum(1 for _ in lines.rows()), intake)
        for fields in lines.rows():
            values = {name: value or None for name, value in zip(header, fields, strict=False)}
            sheet.append(values, None if len(fields) == len(header) else MALFORMED_ROW)
    except csv.Error as error:
        raise UnreadableDeliveryError(
            "malformed_csv", f"line {lines.number:,} is not valid CSV ({error})."
        ) from error
    return extra


class _CsvLines:
    """Rows of fields; blank lines and fields are counted as well and limited."""

    def __init__(self, pieces: Iterator[bytes], intake: IntakeSettings) -> None:
        csv.field_size_limit(intake.max_row_chars)
        self._intake, self._chars, self._blank_lines, self._fields = intake, 0, 0, 0
        self._text = _as_unicode(pieces, newline="")
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


def read_jsonl(file: BinaryIO, sheet: Sheet, is_gzipped: bool) -> tuple[str, ...]:
    intake = sheet.intake
    names: dict[str, None] = {}
    well_formed = fields = 0
    for line in _json_lines(content(file, intake, is_gzipped=is_gzipped), intake):
        parts = sum(map(line.count, ",[{"))
        is_read = bool(line) and parts <= MOST_JSON_PARTS
        fields += parts if is_read else 0
        check_fields(fields, intake)
        values = _json_object(line) if is_read else None
        sheet.append(values or {}, MALFORMED_ROW if values is None else None)
        for name in values or ():
            if len(names) <= intake.max_columns:
                names[name] = None
        well_formed += values is not None
    if well_formed:
        return check_columns(list(names), lambda: sheet.rows, intake)
    if sheet.rows:
        raise UnreadableDeliveryError(
            "not_jsonl",
            f"none of the {sheet.rows:,} lines is a complete JSON object.",
            rows=sheet.rows,
        )
    return ()


def _json_lines(pieces: Iterator[bytes], intake: IntakeSettings) -> Iterator[str]:
    """Each line that is not blank; an empty string instead of a line that is too long."""
    text, most, blank_lines = _as_unicode(pieces, newline="\n"), intake.max_row_chars, 0
    while line := text.readline(most + 1):
        if len(line) > most and not line.endswith("\n"):
            while (rest := text.readline(_READ_BYTES)) and not rest.endswith("\n"):
                pass
            yield ""
        elif line.isspace():
            blank_lines += 1
            check_blank_lines(blank_lines, intake)
        else:
            yield line


def _json_object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line, object_pairs_hook=_named_once)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name occurs twice")
    return values
