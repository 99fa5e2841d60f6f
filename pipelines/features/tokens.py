"""Find and hash the tokens of a block of reviews, many megabytes per second, with numpy alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.features.views import mixed

MAX_REVIEW_BYTES = 1 << 18
"""Bytes of UTF-8 that are read of a review: 256 KiB."""

BLOCK_BYTES = MAX_REVIEW_BYTES

_SEPARATOR, _WORD, _MARK, _APOSTROPHE = range(4)
_MARKS = b'!?.,;:()"*-'
_BREAK = re.compile(rb"<\s*+br\s*+(?:/\s*+)?>", re.IGNORECASE)  # possessive: linear on any input

_BASE = 0x9E3779B97F4A7C15  # odd, hence invertible modulo 2**64


def _byte_kind(byte: int) -> int:
    if byte >= 128 or chr(byte).isalnum() or byte == ord("_"):
        return _WORD
    if byte in _MARKS:
        return _MARK
    return _APOSTROPHE if byte == ord("'") else _SEPARATOR


def _powers(base: int) -> NDArray[np.uint64]:
    """``base**i`` modulo 2**64 for each position ``i`` of the longest block."""
    factors = np.full(BLOCK_BYTES + 4, base, np.uint64)
    factors[0] = 1
    return np.cumprod(factors)


# Tables for `bytes.translate`, which reads a byte several times as fast as an array of indices.
_KINDS = bytes(map(_byte_kind, range(256)))
_VALUES = bytes((byte + 1) % 256 for byte in bytes(range(256)).lower())  # 255 is in no UTF-8
_POWERS = _powers(_BASE)
_INVERSE_POWERS = _powers(pow(_BASE, -1, 2**64))


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of a block of reviews, one review after the other.

    Attributes
    ----------
    block : bytes
        The bytes of the reviews.
    starts, ends : ndarray of intp, shape (n_tokens,)
        Position of each token's first and last byte.
    counts : ndarray of intp, shape (n_reviews,)
        Number of tokens of each review.
    sums : ndarray of uint64
        Prefix sums of the polynomial that hashes a token.
    """

    block: bytes
    starts: NDArray[np.intp]
    ends: NDArray[np.intp]
    counts: NDArray[np.intp]
    sums: NDArray[np.uint64]

    @classmethod
    def of(cls, reviews: list[bytes]) -> Tokens:
        """Return the tokens of reviews from `blocks`."""
        # Separators around every review: no token, and no look at a neighbour, crosses an edge.
        block = b"\n".join([b"", *reviews, b""])
        starts, ends = _token_bounds(block)
        edges = np.cumsum([0, *(len(review) + 1 for review in reviews)])
        before = starts.searchsorted(edges, side="right")
        counts = before[1:] - before[:-1]
        values = np.frombuffer(block.translate(_VALUES), np.uint8)
        sums = np.multiply(values, _POWERS[: len(block)])
        sums.cumsum(out=sums)
        return cls(block, starts, ends, counts, sums)

    def hashes(self, prefix_bytes: int = 0) -> NDArray[np.uint64]:
        """Hash each token, or its first bytes: a difference of two sums, moved to power zero."""
        ends = self.read_to(prefix_bytes)
        hashes = self.sums.take(ends)
        hashes -= self.sums.take(self.starts - 1)
        hashes *= _INVERSE_POWERS.take(self.starts)
        return mixed(hashes)

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


def _token_bounds(block: bytes) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the position of each token's first and last byte."""
    kinds = np.frombuffer(block.translate(_KINDS), np.uint8)
    is_word = kinds == _WORD
    (apostrophes,) = (kinds == _APOSTROPHE).nonzero()
    is_word[apostrophes] = is_word[apostrophes - 1] & is_word[apostrophes + 1]
    is_first = kinds == _MARK
    is_last = is_first.copy()
    is_first[1:] |= is_word[1:] & ~is_word[:-1]
    is_last[:-1] |= is_word[:-1] & ~is_word[1:]
    return is_first.nonzero()[0], is_last.nonzero()[0]
