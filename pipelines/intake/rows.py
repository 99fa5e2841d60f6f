"""Collect the rows of a delivery, check limits, and convert each value to its type.

This module imports little, because a process is started for each delivery that is decoded.
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from pipelines.core.errors import UnreadableDeliveryError

if TYPE_CHECKING:
    from pipelines.core.settings import IntakeSettings

REQUIRED_COLUMNS = ("review_id", "text", "label", "written_on")
OPTIONAL_COLUMNS = ("movie_id", "rating")
COLUMNS = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
TEXT_COLUMNS = ("review_id", "text", "label", "movie_id")

MALFORMED_ROW = "malformed_row"
INVALID_UTF8 = "invalid_utf8"
RATING_INVALID = "rating_invalid"
DATE_INVALID = "date_invalid"
FAULTS = (MALFORMED_ROW, INVALID_UTF8, RATING_INVALID, DATE_INVALID)

LONGEST_MARKS = 30  # combining characters in a row, as in Unicode's stream-safe text format
MOST_COSTLY = 500  # characters in one text that normalization expands to several
BLOCK_ROWS, BLOCK_BYTES = 4096, 1024 * 1024

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.,+Z-]{1,30})?")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


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
        """Add one row as it was read; a value of a wrong type becomes None, with a reason."""
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
    """Takes rows as they are read, counts them, and passes them on in blocks of about 1 MiB.

    Parameters
    ----------
    intake : IntakeSettings
        The limits.
    on_block : callable
        Called with each block of rows.
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
        """Pass on the last block."""
        block, self._block, self._block_bytes = self._block, Rows(), 0
        if len(block):
            self._on_block(block)


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


def check_columns(
    names: Sequence[str], count_rows: Callable[[], int], intake: IntakeSettings
) -> tuple[str, ...]:
    """The columns beyond the expected ones; raises if a required one is missing or doubled."""
    if len(names) > intake.max_columns:
        raise UnreadableDeliveryError(
            "too_many_columns",
            f"the file has more columns than intake.max_columns={intake.max_columns}.",
            rows=count_rows(),
        )
    missing = [column for column in REQUIRED_COLUMNS if column not in names]
    doubled = sorted(column for column, times in Counter(names).items() if times > 1)
    if missing or doubled:
        shown = [column[:40] for column in names[:20]]
        raise UnreadableDeliveryError(
            "wrong_columns",
            f"missing columns {missing}, doubled columns {[name[:40] for name in doubled[:20]]}; "
            f"found {shown}, expected {list(COLUMNS)}.",
            rows=count_rows(),
        )
    return tuple(column for column in names if column not in COLUMNS)


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
    """A text, unless it is made to take minutes to normalize."""
    text = _as_text(value, faults)
    if not text or text.isascii():
        return text
    marks, *costly = _laborious()
    most = MOST_COSTLY + 1  # parts, if there are so many characters between them
    if marks.search(text) or any(len(pattern.split(text, most)) > most for pattern in costly):
        return _not_a_text(faults)
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


def _as_film(value: Any, faults: list[str]) -> str | None:
    """A film's id in one spelling; otherwise one film could be on both sides of the split."""
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None  # a column of numbers with gaps
    film = _as_text(value, faults)
    return (film.strip().casefold() or None) if film else None


def _visible_bytes(value: str) -> str:
    """The text with each undecodable byte written out as a backslash escape."""
    return value.translate(_visible_surrogates())


@functools.cache
def _visible_surrogates() -> dict[int, str]:
    """Undecodable bytes were read as U+DC80 to U+DCFF; JSON can contain any lone surrogate."""
    spelled = {code: f"\\u{code:04x}" for code in range(0xD800, 0xE000)}
    return spelled | {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)}


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
