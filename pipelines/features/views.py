"""Which n-grams of a review are read: a *view* of its tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NGRAM_RANGE = (1, 8)
GAP_RANGE = (0, 8)
PREFIX_RANGE = (0, 64)
BITS_RANGE = (16, 44)  # a sort key is a row of 19 bits, a fingerprint, and the bit for "late"

Offsets = tuple[int, ...]
"""Where the tokens of an n-gram are, counted from its first."""

_MIXERS = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
_LINK = np.uint64(0x9FB21C651E98DF25)
_GAP = 16  # above any size, so that "a, any, b" and "a b" have other hashes


@dataclass(frozen=True, order=True)
class View:
    """The n-grams that are read, and what is kept of their hashes.

    Parameters
    ----------
    ngram_max : int, default=3
        Longest n-gram, 1 to 8 tokens.
    bits : int, default=40
        Bits kept of each 64-bit hash, 16 to 44. Two n-grams share them by chance with probability
        ``2**-bits``.
    gap_max : int, default=0
        Also pairs of tokens with 1 to so many other tokens between, 0 to 8.
    prefix_bytes : int, default=0
        Bytes of UTF-8 that are read of each token, 1 to 64; 0 reads all.
    """

    ngram_max: int = 3
    bits: int = 40
    gap_max: int = 0
    prefix_bytes: int = 0

    def check(self) -> None:
        """Raise a ValueError if a parameter is out of range."""
        _check_range("ngram_max", self.ngram_max, NGRAM_RANGE)
        _check_range("bits", self.bits, BITS_RANGE)
        _check_range("gap_max", self.gap_max, GAP_RANGE)
        _check_range("prefix_bytes", self.prefix_bytes, PREFIX_RANGE)

    @property
    def name(self) -> str:
        """The view in a few letters, e.g. ``n4-g2-p5-b40``."""
        return f"n{self.ngram_max}-g{self.gap_max}-p{self.prefix_bytes}-b{self.bits}"

    @property
    def kinds(self) -> int:
        """How many kinds of n-grams are read."""
        return self.ngram_max + self.gap_max

    def ngrams(self, tokens: NDArray[np.uint64]) -> Iterator[tuple[Offsets, NDArray[np.uint64]]]:
        """Hash the n-grams of consecutive tokens, one kind of n-gram after the other.

        Parameters
        ----------
        tokens : ndarray of uint64, shape (n_tokens,)
            Hashes of the tokens.

        Yields
        ------
        offsets, hashes : tuple of int, ndarray of uint64
            A kind of n-gram, and the hash of the n-gram that begins at each token.
        """
        hashes = tokens
        yield (0,), hashes
        for size in range(2, self.ngram_max + 1):
            hashes = _joined(hashes[:-1], tokens[size - 1 :], size)
            yield tuple(range(size)), hashes
        for gap in range(1, self.gap_max + 1):
            second = gap + 1
            yield (0, second), _joined(tokens[:-second], tokens[second:], _GAP + gap)


def mix(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread every input bit over all 64 output bits (the finalizer of MurmurHash3)."""
    half = np.uint64(33)
    hashes = hashes ^ (hashes >> half)
    for mixer in _MIXERS:
        hashes *= mixer
        hashes ^= hashes >> half
    return hashes


def _joined(first: NDArray[np.uint64], last: NDArray[np.uint64], kind: int) -> NDArray[np.uint64]:
    return mix(first * _LINK + last * np.uint64(2 * kind + 1))


def _check_range(name: str, value: int, allowed: tuple[int, int]) -> None:
    low, high = allowed
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, got {value}")
