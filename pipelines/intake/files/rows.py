"""Collect the rows of a delivery, check limits, and convert each value to its type.

This module imports little, because a process is started for each delivery that is decoded.
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.core.errors import UnreadableDeliveryError
from pipelines.intake.files import ids
from pipelines.intake.files.ids import as_written
from pipelines.intake.files.reading import AGREED, COLUMNS, Reading

if TYPE_CHECKING:
    from pipelines.core.settings.data import IntakeSettings

TEXT_COLUMNS = ("review_id", "text", "label", "movie_id")

MALFORMED_ROW = "malformed_row"
INVALID_UTF8 = "invalid_utf8"
RATING_INVALID = "rating_invalid"
DATE_INVALID = "date_invalid"
FAULTS = (MALFORMED_ROW, INVALID_UTF8, RATING_INVALID, DATE_INVALID)
_LISTS = (*COLUMNS, "faults")
LABEL_UNKNOWN = "label_unknown"  # of a label as it is, so no fault of reading
MOST_VALUES, MOST_VALUE_CHARS = 5, 40  # that are named of what a reason code was found for

LONGEST_MARKS = 30  # combining characters in a row, as in Unicode's stream-safe text format
MOST_COSTLY = 500  # characters in one text that normalization expands to several
BLOCK_ROWS, BLOCK_BYTES = 4096, 1024 * 1024

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class RawRow(NamedTuple):
    """One row as a reader of a format gives it.

    Parameters
    ----------
    values : dict
        By our names of columns.
    problem : str or None
        What is wrong with the row as a whole, as half a sentence.
    line : int
        Where it ends in the file, from 1; its number where a file has no lines.
    """

    values: dict[str, Any]
    problem: str | None
    line: int


RawRows = Generator[RawRow, None, tuple[str, ...]]  # returns the columns beyond ours


@dataclass
class Rows:
    """Decoded rows, one list per column, all of the same length.

    ``review_id``, ``text``, ``label`` and ``movie_id`` hold ``str | None``; ``rating`` holds
    ``int | None`` (1 ... 10), ``written_on`` ``date | None``. ``faults`` holds per row the reason
    codes found while decoding. ``found`` holds per reason code the first distinct values that it
    was found for, and in how many rows.
    """

    review_id: list[str | None] = field(default_factory=list)
    text: list[str | None] = field(default_factory=list)
    label: list[str | None] = field(default_factory=list)
    movie_id: list[str | None] = field(default_factory=list)
    rating: list[int | None] = field(default_factory=list)
    written_on: list[date | None] = field(default_factory=list)
    faults: list[tuple[str, ...]] = field(default_factory=list)
    extra_columns: tuple[str, ...] = ()
    found: dict[str, dict[str, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.faults)

    def append(self, raw: RawRow, reading: Reading = AGREED) -> list[tuple[str, str]]:
        """Add one row; a value of a wrong type becomes None, with a reason.

        Returns
        -------
        found : list of (str, str)
            Reason codes, each with the value that it was found for.
        """
        values, found = raw.values, _Found()
        if raw.problem is not None:
            found.append((MALFORMED_ROW, raw.problem))
        self.review_id.append(_as_id(values, "review_id", found))
        self.text.append(as_review(values.get("text"), found))
        self.label.append(_as_label(values.get("label"), found, reading))
        self.movie_id.append(_as_id(values, "movie_id", found))
        self.rating.append(_as_rating(values.get("rating"), found))
        self.written_on.append(_as_date(values.get("written_on"), found, reading))
        codes = {code for code, _ in found}
        self.faults.append(tuple(code for code in FAULTS if code in codes) if codes else ())
        return found

    def extend(self, block: Rows) -> None:
        """Add the rows of a block, in order."""
        for name in _LISTS:
            getattr(self, name).extend(getattr(block, name))

    def pick(self, positions: Sequence[int]) -> Rows:
        """The rows at these positions."""
        chosen = Rows()
        for name in _LISTS:
            values = getattr(self, name)
            getattr(chosen, name).extend(values[row] for row in positions)
        return chosen

    def blocks(self) -> Iterator[Rows]:
        """All rows in order, as many at a time as are in memory."""
        yield self

    def select(self, positions: Sequence[int]) -> Iterator[tuple[list[int], Rows]]:
        """The rows at ascending positions, with their positions, block by block."""
        if len(positions):
            yield list(positions), self.pick(positions)


OnBlock = Callable[[Rows], None]
_Found = list[tuple[str, str]]


class Sheet:
    """Takes rows as they are read, counts them, and passes them on in blocks of about 1 MiB.

    Parameters
    ----------
    intake : IntakeSettings
        The limits.
    on_block : callable
        Called with each block of rows.
    reading : Reading
        What upstream calls things.
    """

    def __init__(self, intake: IntakeSettings, on_block: OnBlock, reading: Reading) -> None:
        self.intake, self._on_block, self._reading = intake, on_block, reading
        self.rows, self._value_bytes = 0, 0
        self._block, self._block_bytes = Rows(), 0
        self._own = {
            column: value
            for column, value in (("review_id", "row-"), ("written_on", reading.day))
            if not reading.columns[column]
        }
        self.found: dict[str, dict[str, int]] = {}

    def append(self, raw: RawRow) -> None:
        """As `Rows.append`; raises `UnreadableDeliveryError` beyond a limit."""
        if self._own:
            self._add_own(raw.values)
        self.rows += 1
        check_row_count(self.rows, self.intake)
        for code, value in dict.fromkeys(self._block.append(raw, self._reading)):
            _count(self.found.setdefault(code, {}), value)
        size = last_row_bytes(self._block)
        self._value_bytes += size
        check_value_bytes(self._value_bytes, self.intake)
        self._block_bytes += size
        if self._block_bytes >= BLOCK_BYTES or len(self._block) >= BLOCK_ROWS:
            self.finish()

    def _add_own(self, values: dict[str, Any]) -> None:
        """A number for the row and the day of the folder, where files have neither."""
        for column, value in self._own.items():
            values[column] = f"{value}{self.rows}" if column == "review_id" else value

    def finish(self) -> None:
        """Pass on the last block."""
        block, self._block, self._block_bytes = self._block, Rows(), 0
        if len(block):
            self._on_block(block)


def _count(counts: dict[str, int], value: str) -> None:
    """Count a value, if it is one of the first few distinct ones."""
    value = value[:MOST_VALUE_CHARS]
    if value in counts or len(counts) < MOST_VALUES:
        counts[value] = counts.get(value, 0) + 1


def last_row_bytes(rows: Rows) -> int:
    """Memory that the texts of the last row take, in bytes."""
    texts = rows.review_id[-1], rows.text[-1], rows.label[-1], rows.movie_id[-1]
    return sum(map(sys.getsizeof, texts))


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


# ── Values ───────────────────────────────────────────────────────────────────────────────────


def _as_text(value: Any, found: _Found, column: str) -> str | None:
    try:
        text = value if isinstance(value, str) else as_written(value)
    except TypeError as error:
        found.append((MALFORMED_ROW, f"a value of type {error} as {column}"))
        return ""
    if text is not None and not text.isascii() and (byte := _LONE_SURROGATE.search(text)):
        found.append((INVALID_UTF8, _visible_bytes(byte[0])))
        return _visible_bytes(text)
    return text


def as_review(value: Any, found: _Found) -> str | None:
    """A text, unless it is made to take minutes to normalize."""
    text = _as_text(value, found, "text")
    if not text or (len(text) <= ids.LONGEST_MISSING and ids.is_missing(text.casefold())):
        return None
    if text.isascii():
        return text
    marks, *costly = _laborious()
    most = MOST_COSTLY + 1  # parts, if there are so many characters between them
    if marks.search(text) or any(len(pattern.split(text, most)) > most for pattern in costly):
        found.append((MALFORMED_ROW, "a text made to take minutes"))
        return ""
    return text


@functools.cache
def _laborious() -> tuple[re.Pattern[str], ...]:
    """Runs of combining characters, whose sorting takes quadratic time; then single characters
    that normalization expands to several, and those of scripts with marks of their own.

    There are three patterns because a set within the first 65,536 characters is looked up quickly.
    """
    first = [chr(code) for code in range(0xA0, 0x10000) if not 0xD800 <= code < 0xE000]
    marks = "".join(filter(unicodedata.combining, first))
    several = "".join(char for char in first if len(unicodedata.normalize("NFKC", char)) > 1)
    return (
        re.compile(f"[{marks}]{{{LONGEST_MARKS + 1}}}"),
        re.compile(f"[{several}]"),
        re.compile("[\U00010a00-\U00011fff\U00016a00-\U0001bcff\U0001d100-\U0001e94f]"),
    )


def _as_id(values: dict[str, Any], column: str, found: _Found) -> str | None:
    canonical = ids.review_id if column == "review_id" else ids.film_id
    return canonical(_as_text(values.get(column), found, column))


_meaning = functools.lru_cache(maxsize=1024)(ids.canonical)  # of the few labels and ratings


def _as_label(value: Any, found: _Found, reading: Reading) -> str | None:
    """Our label; an unknown one as it is written, and None if it means that there is none."""
    text = _as_text(value, found, "label")
    label = reading.labels.get(text) if text else None
    if label is not None:
        return label
    written = _meaning(text)
    if text is None or written is None:
        return None
    label = reading.label_of(written)
    if label is None:
        found.append((LABEL_UNKNOWN, text))
    return label or text


def _visible_bytes(value: str) -> str:
    """The text with each undecodable byte written out as a backslash escape."""
    return value.translate(_visible_surrogates())


@functools.cache
def _visible_surrogates() -> dict[int, str]:
    """Undecodable bytes were read as U+DC80 to U+DCFF; JSON can contain any lone surrogate."""
    spelled = {code: f"\\u{code:04x}" for code in range(0xD800, 0xE000)}
    return spelled | {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)}


def _as_rating(value: Any, found: _Found) -> int | None:
    written = _meaning(_as_text(value, found, "rating"))
    if written is None:
        return None
    try:
        number = float(written)
        if number == int(number) and 1 <= number <= 10:
            return int(number)
    except (ValueError, OverflowError):
        pass
    found.append((RATING_INVALID, _spelled(value)))
    return None


def _as_date(value: Any, found: _Found, reading: Reading) -> date | None:
    day = _agreed_day(value) if isinstance(value, str) and len(value) == 10 else None
    day = day or reading.day_of(value)
    if day is None:
        found.append((DATE_INVALID, _spelled(value)))
    return day


@functools.lru_cache(maxsize=1024)
def _agreed_day(value: str) -> date | None:
    return AGREED.day_of(value)


def _spelled(value: Any) -> str:
    """A value for people; a list or an object by its type alone."""
    try:
        text = as_written(value)
    except TypeError as error:
        return f"a value of type {error}"
    return "no value" if text is None else text
