"""Bytes of a delivery to rows, within bounds: whatever is counted is counted before it is made.

A fault of the whole file (truncated, not the format, columns missing, larger than a limit) raises
`UnreadableDeliveryError`. A fault of one row becomes a reason code on that row, so that the row
is quarantined and the others count.

Deliveries are decoded by `pipelines.decoder`, in a process that has nothing else. So this module
imports next to nothing; what Parquet needs is imported when a Parquet file comes.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import re
import sys
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO

from pipelines.errors import UnreadableDeliveryError

if TYPE_CHECKING:
    from pipelines.config import IntakeSettings
    from pipelines.records import FileFormat

REQUIRED_COLUMNS = ("review_id", "text", "label", "written_on")
OPTIONAL_COLUMNS = ("movie_id", "rating")
COLUMNS = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
TEXT_COLUMNS = ("review_id", "text", "label", "movie_id")

MALFORMED_ROW = "malformed_row"
INVALID_UTF8 = "invalid_utf8"
RATING_INVALID = "rating_invalid"
DATE_INVALID = "date_invalid"
FAULTS = (MALFORMED_ROW, INVALID_UTF8, RATING_INVALID, DATE_INVALID)

MOST_MEMBERS = 10_000  # of a gzip file; block compression makes one per 64 KiB
MOST_NAME_CHARS = 200  # of a column that nobody agreed on
LONGEST_MARKS = 30  # combining characters in a row, as in Unicode's stream-safe text format

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.,+Z-]{1,30})?")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_LIGATURE = "\ufdfa"  # one character that normalization makes eighteen of
_READ_BYTES = 64 * 1024
BLOCK_ROWS, BLOCK_BYTES = 4096, 1024 * 1024


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
        self.review_id.append(_as_text(values.get("review_id"), faults))
        self.text.append(_as_review(values.get("text"), faults))
        self.label.append(_as_text(values.get("label"), faults))
        self.movie_id.append(_as_film(values.get("movie_id"), faults))
        self.rating.append(_as_rating(values.get("rating"), faults))
        self.written_on.append(_as_date(values.get("written_on"), faults))
        self.faults.append(tuple(code for code in FAULTS if code in faults) if faults else ())

    def extend(self, block: Rows) -> None:
        """Add the rows of a block, in order."""
        for name in (*COLUMNS, "faults"):
            getattr(self, name).extend(getattr(block, name))


OnBlock = Callable[[Rows], None]


class Sheet:
    """Takes rows as they are read, counts them, and hands them on in blocks of about 1 MiB.

    Parameters
    ----------
    intake : IntakeSettings
        The limits.
    on_block : callable
        Is given each block of rows.
    """

    def __init__(self, intake: IntakeSettings, on_block: OnBlock) -> None:
        self.intake, self._on_block = intake, on_block
        self.rows, self._value_bytes = 0, 0
        self._block, self._block_bytes = Rows(), 0

    def append(self, values: dict[str, Any], fault: str | None = None) -> None:
        """As `Rows.append`; raises `UnreadableDeliveryError` beyond a limit."""
        self.rows += 1
        check_row_count(self.rows, self.intake)
        self._block.append(values, fault)
        size = last_row_bytes(self._block)
        self._value_bytes += size
        check_value_bytes(self._value_bytes, self.intake)
        self._block_bytes += size
        if self._block_bytes >= BLOCK_BYTES or len(self._block) >= BLOCK_ROWS:
            self.finish()

    def finish(self) -> None:
        """Hand on what is left."""
        block, self._block, self._block_bytes = self._block, Rows(), 0
        if len(block):
            self._on_block(block)


def last_row_bytes(rows: Rows) -> int:
    """Memory that the texts of the last row take, in bytes."""
    texts = rows.review_id[-1], rows.text[-1], rows.label[-1], rows.movie_id[-1]
    return sum(map(sys.getsizeof, texts))


def decode(
    data: bytes, file_format: FileFormat, *, is_gzipped: bool, intake: IntakeSettings
) -> Rows:
    """The rows of a delivered file, decoded by this very process.

    Raises
    ------
    UnreadableDeliveryError
        As `decode_file` does.
    """
    rows = Rows()
    rows.extra_columns = decode_file(
        io.BytesIO(data), file_format, is_gzipped=is_gzipped, intake=intake, on_block=rows.extend
    )
    return rows


def decode_file(
    file: BinaryIO,
    file_format: FileFormat,
    *,
    is_gzipped: bool,
    intake: IntakeSettings,
    on_block: OnBlock,
) -> tuple[str, ...]:
    """Decode a delivered file block by block; whatever was handed on counts only if this returns.

    Parameters
    ----------
    file : binary file
        That can be sought in.
    file_format : FileFormat
        As its name says.
    is_gzipped : bool
        As its name says.
    intake : IntakeSettings
        The limits.
    on_block : callable
        Is given each block of rows.

    Returns
    -------
    extra_columns : tuple of str
        Names of the columns beyond the agreed ones, sorted.

    Raises
    ------
    UnreadableDeliveryError
        With one of the reasons ``unknown_format``, ``empty_file``, ``truncated``,
        ``not_gzip``, ``too_large``, ``too_many_rows``, ``too_many_columns``, ``too_many_parts``,
        ``wrong_columns``, ``malformed_csv``, ``not_jsonl``, ``not_parquet``, ``wrong_encoding``.
    """
    read = _reader(file_format)
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if not size:
        raise UnreadableDeliveryError("empty_file", "the file has 0 bytes.")
    if not is_gzipped and size > intake.max_decoded_bytes:
        raise too_large(intake)
    sheet = Sheet(intake, on_block)
    extra_columns = read(file, sheet, is_gzipped)
    sheet.finish()
    return tuple(sorted(name[:MOST_NAME_CHARS] for name in extra_columns))


_Reader = Callable[[BinaryIO, Sheet, bool], tuple[str, ...]]


def _reader(file_format: FileFormat) -> _Reader:
    readers: dict[str, _Reader] = {
        "csv": _read_csv, "jsonl": _read_jsonl, "parquet": _read_parquet,
    }  # fmt: skip
    if file_format not in readers:
        raise UnreadableDeliveryError(
            "unknown_format",
            "the file's name ends in none of .csv, .jsonl, .parquet (each also with .gz).",
        )
    return readers[file_format]


# ── Bounds ───────────────────────────────────────────────────────────────────────────────────


def too_large(intake: IntakeSettings) -> UnreadableDeliveryError:
    return UnreadableDeliveryError(
        "too_large",
        f"the content is larger than intake.max_decoded_bytes={intake.max_decoded_bytes:,}.",
    )


def check_row_count(rows: int, intake: IntakeSettings) -> None:
    if rows > intake.max_rows:
        raise UnreadableDeliveryError(
            "too_many_rows", f"the file has more rows than intake.max_rows={intake.max_rows:,}."
        )


def check_value_bytes(size: int, intake: IntakeSettings) -> None:
    if size > intake.max_value_bytes:
        raise UnreadableDeliveryError(
            "too_large",
            f"its values take more memory than intake.max_value_bytes={intake.max_value_bytes:,}.",
        )


def check_columns(
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
            f"missing columns {missing}, doubled columns {[name[:40] for name in doubled[:20]]}; "
            f"found {shown}, expected {list(COLUMNS)}.",
            rows=count_rows(),
        )
    return tuple(name for name in found if name not in COLUMNS)


# ── Content ──────────────────────────────────────────────────────────────────────────────────


def content(file: BinaryIO, intake: IntakeSettings, *, is_gzipped: bool) -> Iterator[bytes]:
    """The file's content in pieces, unpacked where it is packed, and never beyond the limit."""
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
    """The content of every gzip member, a bounded piece at a time; zeros may lie between them."""
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
    """Text with undecodable bytes kept as lone surrogates, to be found again per field."""
    start = b""
    while len(start) < 2 and (piece := next(pieces, b"")):
        start += piece
    if start[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise UnreadableDeliveryError("wrong_encoding", "the file is UTF-16; UTF-8 is expected.")
    stream = io.BufferedReader(_Stream(chain([start] if start else [], pieces)), _READ_BYTES)
    return io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline=newline)


# ── CSV ──────────────────────────────────────────────────────────────────────────────────────


def _read_csv(file: BinaryIO, sheet: Sheet, is_gzipped: bool) -> tuple[str, ...]:
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
    """Rows of fields, counted as they come: lines without any field and all fields, too."""

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
            if self._fields > self._intake.max_rows * self._intake.max_columns:
                raise UnreadableDeliveryError(
                    "too_many_columns",
                    "the file has more fields than intake.max_rows x intake.max_columns.",
                )
            if fields:
                rows += 1
                check_row_count(rows, self._intake)
                yield fields
            else:  # a blank line is no row
                self._blank_lines += 1
                check_blank_lines(self._blank_lines, self._intake)

    def _lines(self) -> Iterator[str]:
        most = self._intake.max_row_chars
        while line := self._text.readline(most + 3):
            self._chars += len(line)
            if self._chars > most + 2:  # a quote that is never closed, for one
                raise csv.Error(f"a row of more than intake.max_row_chars={most:,}")
            yield line


def check_blank_lines(lines: int, intake: IntakeSettings) -> None:
    if lines > intake.max_rows:
        raise UnreadableDeliveryError(
            "too_many_rows",
            f"the file has more blank lines than intake.max_rows={intake.max_rows:,}.",
        )


# ── JSON Lines ───────────────────────────────────────────────────────────────────────────────


def _read_jsonl(file: BinaryIO, sheet: Sheet, is_gzipped: bool) -> tuple[str, ...]:
    intake = sheet.intake
    names: dict[str, None] = {}
    well_formed = 0
    for line in _json_lines(content(file, intake, is_gzipped=is_gzipped), intake):
        values = None if line is None else _json_object(line)
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
            f"none of the {sheet.rows:,} lines is a whole JSON object.",
            rows=sheet.rows,
        )
    return ()


def _json_lines(pieces: Iterator[bytes], intake: IntakeSettings) -> Iterator[str | None]:
    """Each line that is not blank; None for one longer than a row may be."""
    text, most, blank_lines = _as_unicode(pieces, newline="\n"), intake.max_row_chars, 0
    while line := text.readline(most + 1):
        if len(line) > most and not line.endswith("\n"):
            while (rest := text.readline(_READ_BYTES)) and not rest.endswith("\n"):
                pass
            yield None
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
        raise ValueError("a name is given twice: which value is meant?")
    return values


# ── Parquet ──────────────────────────────────────────────────────────────────────────────────


def _read_parquet(file: BinaryIO, sheet: Sheet, is_gzipped: bool) -> tuple[str, ...]:
    from pipelines.parquet_rows import read_parquet

    if is_gzipped:
        file = io.BytesIO(b"".join(content(file, sheet.intake, is_gzipped=True)))
    return read_parquet(file, sheet)


# ── Values ───────────────────────────────────────────────────────────────────────────────────


def _as_text(value: Any, faults: list[str]) -> str | None:
    if value is None:
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if not isinstance(value, str):
        value = str(value) if isinstance(value, int | float) else _not_a_text(faults)
    text: str = value
    if not text.isascii() and _LONE_SURROGATE.search(text):
        faults.append(INVALID_UTF8)
        return _visible_bytes(text)
    return text


def _as_review(value: Any, faults: list[str]) -> str | None:
    """A text, unless it is built to take minutes to normalize."""
    text = _as_text(value, faults)
    if not text or text.isascii():
        return text
    if text.count(_LONGEST_LIGATURE) > LONGEST_MARKS or _too_many_marks().search(text):
        return _not_a_text(faults)
    return text


@functools.cache
def _too_many_marks() -> re.Pattern[str]:
    """More combining characters in a row than any script needs; sorting them takes their square."""
    marks = (chr(code) for code in range(0x300, 0x1F000) if unicodedata.combining(chr(code)))
    return re.compile(f"[{''.join(marks)}]{{{LONGEST_MARKS + 1}}}")


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


def _not_a_text(faults: list[str]) -> str:
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
        if isinstance(value, str) and _DAY.fullmatch(value):
            return date.fromisoformat(value[:10])
    except ValueError:
        pass  # such as 2026-02-30
    faults.append(DATE_INVALID)
    return None
