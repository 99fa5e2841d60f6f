"""Find and hash the tokens of a block of reviews, many megabytes per second, with numpy alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipelines.features.views import mix

MAX_REVIEW_BYTES = 1 << 18
"""Bytes of UTF-8 that are read of a review: 256 KiB."""

BLOCK_BYTES = MAX_REVIEW_BYTES

OUTSIDE = np.uint64(2**64 - 1)
"""Marks an n-gram that is not within one review: above every sort key."""

_SEPARATOR, _WORD, _MARK, _APOSTROPHE = range(4)
_MARKS = b'!?.,;:()"*-'
_BREAK = re.compile(rb"<\s*+br\s*+(?:/\s*+)?>", re.IGNORECASE)  # possessive: linear on any input

_BASE = 0x9E3779B97F4A7C15  # odd, hence invertible modulo 2**64


def _byte_kinds() -> bytes:
    kinds = np.full(256, _SEPARATOR, np.uint8)
    kinds[128:] = _WORD
    kinds[[byte for byte in range(128) if chr(byte).isalnum() or byte == ord("_")]] = _WORD
    kinds[list(_MARKS)] = _MARK
    kinds[ord("'")] = _APOSTROPHE
    return kinds.tobytes()


def _powers(base: int) -> NDArray[np.uint64]:
    """``base**i`` modulo 2**64 for each position ``i`` of the longest block."""
    factors = np.full(BLOCK_BYTES + 4, base, np.uint64)
    factors[0] = 1
    return np.cumprod(factors)


_KINDS = _byte_kinds()
_VALUES = bytes((byte + 1) % 256 for byte in bytes(range(256)).lower())  # UTF-8 has no byte 255
_POWERS = _powers(_BASE)
_INVERSE_POWERS = _powers(pow(_BASE, -1, 2**64))


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of a block of reviews, one review after the other.

    Attributes
    ----------
    block : ndarray of uint8
        The bytes of the reviews.
    starts, ends : ndarray of intp, shape (n_tokens,)
        Position of each token's first and last byte.
    counts : ndarray of intp, shape (n_reviews,)
        Number of tokens of each review.
    sums : ndarray of uint64
        Prefix sums of the polynomial that hashes a token.
    """

    block: NDArray[np.uint8]
    starts: NDArray[np.intp]
    ends: NDArray[np.intp]
    counts: NDArray[np.intp]
    sums: NDArray[np.uint64]

    @classmethod
    def of(cls, reviews: list[bytes]) -> Tokens:
        """Return the tokens of reviews from `blocks`."""
        # Separators around every review: no token, and no look at a neighbour, crosses an edge.
        text = b"\n".join([b"", *reviews, b""])
        starts, ends = _token_bounds(text)
        review_ends = np.cumsum([len(review) + 1 for review in reviews])
        counts = starts.searchsorted(review_ends, side="right")
        counts[1:] -= counts[:-1].copy()
        sums = _array(text.translate(_VALUES)) * _POWERS[: len(text)]
        np.cumsum(sums, out=sums)
        return cls(_array(text), starts, ends, counts, sums)

    @cached_property
    def rows(self) -> NDArray[np.uint64]:
        """The review of each token."""
        return np.repeat(np.arange(len(self.counts), dtype=np.uint64), self.counts)

    @cached_property
    def lateness(self) -> NDArray[np.int64]:
        """How far each token is beyond the first seven eighths of its review, in eighths of one.

        The middle of an n-gram that begins at a token and spans ``span`` of them is in the last
        eighth if this number plus ``4 * (span - 1)`` is not negative.
        """
        zero = 8 * (np.cumsum(self.counts) - self.counts) + 7 * self.counts
        late: NDArray[np.int64] = np.arange(0, 8 * len(self.starts), 8)
        late -= np.repeat(zero, self.counts)
        return late

    def marks(self, last: int, row_shift: int) -> NDArray[np.uint64]:
        """Return what a sort key says of the n-gram that begins at each token, except its hash.

        Computed once: several views have n-grams of one length.

        Parameters
        ----------
        last : int
            Offset of the n-gram's last token.
        row_shift : int
            Bits below the review's row. The last of them is 1 if the n-gram is late.

        Returns
        -------
        marks : ndarray of uint64, shape (n_tokens - last,)
            `OUTSIDE` for an n-gram that is not within one review.
        """
        if (last, row_shift) not in self._marks:
            count = max(0, len(self.starts) - last)
            marks = self.rows[:count] << np.uint64(row_shift)
            marks |= self.lateness[:count] >= -4 * last
            marks[self.rows[:count] != self.rows[last:]] = OUTSIDE
            self._marks[last, row_shift] = marks
        return self._marks[last, row_shift]

    @cached_property
    def _marks(self) -> dict[tuple[int, int], NDArray[np.uint64]]:
        return {}

    def hashes(self, prefix_bytes: int = 0) -> NDArray[np.uint64]:
        """Hash each token, or its first bytes: a difference of two sums, moved to power zero."""
        ends = self.read_to(prefix_bytes)
        return mix((self.sums[ends] - self.sums[self.starts - 1]) * _INVERSE_POWERS[self.starts])

    def read_to(self, prefix_bytes: int) -> NDArray[np.intp]:
        """Position of the last byte that is read of each token; 0 reads all of it."""
        if not prefix_bytes:
            return self.ends
        return np.minimum(self.ends, self.starts + (prefix_bytes - 1))


def blocks(texts: Iterable[str]) -> Iterator[list[bytes]]:
    """Group encoded reviews, each with one separator, into blocks of at most ``BLOCK_BYTES``."""
    block: list[bytes] = []
    size = 0
    for row, text in enumerate(texts):
        review = _encode(text, row)
        if block and size + len(review) + 1 > BLOCK_BYTES:
            yield block
            block, size = [], 0
        block.append(review)
        size += len(review) + 1
    if block:
        yield block


def _encode(text: str, row: int) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"expected a str at row {row}, got {type(text).__name__}")
    review = text[:MAX_REVIEW_BYTES].encode("utf-8", "replace")[:MAX_REVIEW_BYTES]
    # The common spelling goes by a plain search, ten times as fast as the pattern. A zero byte is
    # in no tag: a blank could complete the tag around it, as in "< br<br />>".
    review = review.replace(b"<br />", b"\0")
    return _BREAK.sub(b" ", review) if b"<" in review else review


def _array(text: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(text, np.uint8)


def _token_bounds(text: bytes) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the position of each token's first and last byte."""
    kinds = _array(text.translate(_KINDS))
    is_word = kinds == _WORD
    apostrophes = np.flatnonzero(kinds == _APOSTROPHE)
    is_word[apostrophes] = is_word[apostrophes - 1] & is_word[apostrophes + 1]
    is_first = kinds == _MARK
    is_last = is_first.copy()
    is_first[1:] |= is_word[1:] & ~is_word[:-1]
    is_last[:-1] |= is_word[:-1] & ~is_word[1:]
    return np.flatnonzero(is_first), np.flatnonzero(is_last)
