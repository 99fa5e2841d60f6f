"""Blocks of rows as bytes: only numbers and UTF-8 and nothing nested.

So a block never takes more memory than its length, whoever made it.
"""

from __future__ import annotations

import struct
from array import array
from datetime import date
from typing import Any

from pipelines.core.errors import UnreadableDeliveryError
from pipelines.intake.files.rows import BLOCK_ROWS, FAULTS, TEXT_COLUMNS, Rows

_NO_TEXT, _NO_DATE, _NO_RATING = -1, 0, 0


def packed(rows: Rows) -> bytes:
    """A block as bytes: the row count, then one column after the other."""
    parts = [struct.pack("=I", len(rows))]
    for name in TEXT_COLUMNS:
        texts = [None if text is None else text.encode() for text in getattr(rows, name)]
        lengths = array("i", [_NO_TEXT if text is None else len(text) for text in texts])
        parts += [lengths.tobytes(), *filter(None, texts)]
    ratings = [_NO_RATING if rating is None else rating for rating in rows.rating]
    days = [_NO_DATE if day is None else day.toordinal() for day in rows.written_on]
    faults = [sum(1 << FAULTS.index(code) for code in codes) for codes in rows.faults]
    parts += [bytes(ratings), array("i", days).tobytes(), bytes(faults)]
    return b"".join(parts)


def unpacked(body: bytes) -> Rows:
    """The block of these bytes; raises `UnreadableDeliveryError` if they are not valid."""
    try:
        reader = _Reader(body)
        count = reader.numbers("I", 1)[0]
        if count > BLOCK_ROWS:
            raise not_understood()
        texts: dict[str, Any] = {name: reader.texts(count) for name in TEXT_COLUMNS}
        rating = [_as_rating(number) for number in reader.take(count)]
        written_on = [date.fromordinal(day) if day else None for day in reader.numbers("i", count)]
        faults = [_FAULT_SETS[number] for number in reader.take(count)]
        reader.check_end()
    except (ValueError, LookupError, OverflowError) as error:
        raise not_understood() from error
    return Rows(**texts, rating=rating, written_on=written_on, faults=faults)


_FAULT_SETS = [
    tuple(code for place, code in enumerate(FAULTS) if number >> place & 1)
    for number in range(1 << len(FAULTS))
]


def _as_rating(number: int) -> int | None:
    if number > 10:
        raise ValueError(number)
    return number or None


class _Reader:
    """Reads a block from its beginning; ValueError if it is too short or too long."""

    def __init__(self, body: bytes) -> None:
        self._body, self._place = body, 0

    def take(self, size: int) -> bytes:
        start, self._place = self._place, self._place + size
        if size < 0 or self._place > len(self._body):
            raise ValueError(size)
        return self._body[start : self._place]

    def numbers(self, kind: str, count: int) -> array[int]:
        numbers = array(kind)
        numbers.frombytes(self.take(count * numbers.itemsize))
        return numbers

    def texts(self, count: int) -> list[str | None]:
        lengths = self.numbers("i", count)
        return [None if size == _NO_TEXT else self.take(size).decode() for size in lengths]

    def check_end(self) -> None:
        if self._place != len(self._body):
            raise ValueError(self._place)


def not_understood() -> UnreadableDeliveryError:
    return UnreadableDeliveryError(
        "decoder_failed", "the process that decodes it sent an invalid answer."
    )
