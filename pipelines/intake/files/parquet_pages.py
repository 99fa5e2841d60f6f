"""Read the page headers of a Parquet file, before any page is decoded.

The footer can claim anything. What a reader allocates follows from the header before each page, so
this module reads these headers byte for byte as Arrow does, and adds up the sizes. A header is a
struct in Thrift's compact protocol [1]_, of which only the parts that a header uses are supported.

References
----------
.. [1] https://github.com/apache/parquet-format, ``parquet.thrift``, struct ``PageHeader``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

DICTIONARY_PAGE = 2
DELTA_BYTE_ARRAY = 7
MOST_HEADER_BYTES = 256 * 1024

_USUAL_HEADER_BYTES = 512
_DEEPEST = 8
_HOLDERS = {0: 5, DICTIONARY_PAGE: 7, 3: 8}  # kind of page: the field that describes it
_ENCODINGS = {5: 2, 7: 2, 8: 4}  # and within that, where the encoding stands
_LARGEST, _LARGEST_FIELD = 2**31 - 1, 2**15 - 1


class PageError(ValueError):
    """A page header that is not valid."""


@dataclass(frozen=True)
class Page:
    """One page, as its header describes it.

    Parameters
    ----------
    kind : int
        0 data, 2 dictionary, 3 data of version 2; others are skipped by readers.
    plain_bytes, packed_bytes : int
        Its size, and the size it takes in the file without the header.
    values : int
        How many it claims to hold.
    encoding : int
        Of its values.
    header_bytes : int
    """

    kind: int
    plain_bytes: int
    packed_bytes: int
    values: int
    encoding: int
    header_bytes: int

    @property
    def can_repeat(self) -> bool:
        """Whether a value that it holds once can stand in every row."""
        return self.kind == DICTIONARY_PAGE or self.encoding == DELTA_BYTE_ARRAY


def read_page(file: BinaryIO, position: int) -> Page:
    """The page that begins at a position of the file.

    Raises
    ------
    PageError
        If there is no valid header.
    """
    for size in (_USUAL_HEADER_BYTES, MOST_HEADER_BYTES):
        file.seek(position)
        data = file.read(size)
        try:
            return _page(data)
        except IndexError:
            if len(data) < size:
                break
    raise PageError(f"the page header at byte {position:,} does not end")


def _page(data: bytes) -> Page:
    header = _Struct(data)
    header.read()
    kind = header.number(1)
    sizes = header.number(2), header.number(3)
    holder = _HOLDERS.get(kind)
    if holder is None:
        return Page(kind, *sizes, values=0, encoding=0, header_bytes=header.position)
    values, encoding = header.number(holder, 1), header.number(holder, _ENCODINGS[holder])
    return Page(kind, *sizes, values, encoding, header.position)


class _Struct:
    """Reads one struct: integers by their path of field ids; everything else is skipped.

    Raises IndexError where the bytes end too early, `PageError` where they cannot be a struct.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self.position = data, 0
        self.numbers: dict[tuple[int, ...], int] = {}
        self.structs: set[tuple[int, ...]] = set()

    def number(self, *path: int) -> int:
        number = self.numbers.get(path, -1)
        if not 0 <= number <= _LARGEST:
            raise PageError("a page header lacks a number, or the number is out of range")
        return number

    def read(self, path: tuple[int, ...] = ()) -> None:
        if len(path) > _DEEPEST or path in self.structs:
            raise PageError("a page header is nested too deeply, or has a field twice")
        self.structs.add(path)
        field = 0
        while (head := self._byte()) != 0:
            field = field + (head >> 4) if head >> 4 else self._zigzag()
            if not 0 <= field <= _LARGEST_FIELD:
                raise PageError("a page header has a field id that is out of range")
            self._value((*path, field), head & 15)

    def _value(self, path: tuple[int, ...], kind: int) -> None:
        if kind in {3, 4, 5, 6}:  # a byte, or a varint of 16, 32 or 64 bits
            number = self._byte() if kind == 3 else self._zigzag()
            if path in self.numbers:
                raise PageError("a page header has a number twice")
            self.numbers[path] = number
        elif kind == 12:
            self.read(path)
        else:
            self._skip(kind)

    def _skip(self, kind: int) -> None:
        if kind == 7:
            self._advance(8)
        elif kind == 8:  # bytes, such as the least and the largest value
            self._advance(self._varint())
        elif kind not in {1, 2}:  # true and false have no body; a page header has no list
            raise PageError("a page header has a field of a type that does not belong there")

    def _advance(self, size: int) -> None:
        self.position += size
        if self.position > len(self._data):
            raise IndexError

    def _byte(self) -> int:
        byte = self._data[self.position]
        self.position += 1
        return byte

    def _varint(self) -> int:
        number = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise PageError("a number in a page header does not end")

    def _zigzag(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)
