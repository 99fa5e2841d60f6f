"""Turn reviews into sets of hashed n-grams, many megabytes per second, with numpy alone.

A *fingerprint* is the first ``bits`` bits of a 64-bit hash of one n-gram. A review becomes the
ascending set of fingerprints of its n-grams of one to ``ngram_max`` tokens:

1. Reviews are joined into blocks of about 256 KiB, a separator byte between them.
2. A token is a run of word bytes (ASCII letters, digits, ``_`` and every byte of a non-ASCII
   character), or one of the marks ``! ? . , ; : ( ) " * -``. An apostrophe between two word bytes
   belongs to the word. Everything else, ``<br />`` included, separates.
3. A token's hash is the polynomial ``sum((byte[i] + 1) * BASE**i)`` over its lower-cased bytes,
   modulo 2**64: the difference of two prefix sums, so a whole block is hashed at once [1]_.
   Only ASCII is lower-cased.
4. An n-gram's hash mixes the hash of its first n - 1 tokens with that of its last.
5. One sort per block finds the distinct fingerprints of each review.

The choice of tokens, with marks kept, follows [2]_.

References
----------
.. [1] R. M. Karp and M. O. Rabin, "Efficient randomized pattern-matching algorithms", IBM Journal
   of Research and Development 31(2), 1987.
.. [2] G. Mesnil et al., "Ensemble of Generative and Discriminative Techniques for Sentiment
   Analysis of Movie Reviews", ICLR workshop, 2015.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEATURIZER_VERSION = "fp1"
"""Version of the steps above and the constants below: change it when any of them changes."""

MAX_REVIEW_BYTES = 1 << 18
"""Bytes of UTF-8 that are read of a review: 256 KiB."""

BLOCK_BYTES = MAX_REVIEW_BYTES

NGRAM_RANGE = (1, 8)
BITS_RANGE = (16, 44)  # a sort key is a fingerprint below a row number of 20 bits

_SEPARATOR, _WORD, _MARK, _APOSTROPHE = range(4)
_MARKS = b'!?.,;:()"*-'
_BREAK = re.compile(rb"<\s*+br\s*+(?:/\s*+)?>", re.IGNORECASE)  # possessive: linear on any input

_BASE = 0x9E3779B97F4A7C15  # odd, hence invertible modulo 2**64
_MIXERS = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
_LINK = np.uint64(0x9FB21C651E98DF25)


def _byte_kinds() -> NDArray[np.uint8]:
    kinds = np.full(256, _SEPARATOR, np.uint8)
    kinds[128:] = _WORD
    kinds[[byte for byte in range(128) if chr(byte).isalnum() or byte == ord("_")]] = _WORD
    kinds[list(_MARKS)] = _MARK
    kinds[ord("'")] = _APOSTROPHE
    return kinds


def _powers(base: int) -> NDArray[np.uint64]:
    """``base**i`` modulo 2**64 for each position ``i`` of the longest block."""
    factors = np.full(BLOCK_BYTES + 4, base, np.uint64)
    factors[0] = 1
    return np.cumprod(factors)


_KINDS = _byte_kinds()
_VALUES = np.frombuffer(bytes(range(256)).lower(), np.uint8).astype(np.uint64) + np.uint64(1)
_POWERS = _powers(_BASE)
_INVERSE_POWERS = _powers(pow(_BASE, -1, 2**64))


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """The distinct fingerprints of each review, and how they were made.

    Parameters
    ----------
    ids : ndarray of uint64, shape (n_fingerprints,)
        Each in [0, 2**bits). The reviews' sets one after another, each ascending.
    lengths : ndarray of int64, shape (n_reviews,)
        Size of each review's set; they add up to ``n_fingerprints``.
    ngram_max : int
        Longest n-gram, in tokens.
    bits : int
        Bits kept of each hash.

    Raises
    ------
    ValueError
        If ``lengths`` do not add up to the number of ``ids``.
    """

    ids: NDArray[np.uint64]
    lengths: NDArray[np.int64]
    ngram_max: int = 3
    bits: int = 40

    def __post_init__(self) -> None:
        total = int(self.lengths.sum())
        if total != len(self.ids):
            raise ValueError(f"lengths add up to {total}, but there are {len(self.ids)} ids")

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def parameters(self) -> tuple[int, int]:
        """``(ngram_max, bits)``: equal for fingerprints that can be compared."""
        return self.ngram_max, self.bits

    def bounds(self) -> NDArray[np.int64]:
        """Where each review begins in ``ids``, and the end of the last: n_reviews + 1 positions."""
        return bounds_of(self.lengths)

    def __getitem__(self, rows: slice) -> Fingerprints:
        """Return consecutive reviews without copying them."""
        start, stop, _ = rows.indices(len(self))
        bounds = self.bounds()
        ids = self.ids[bounds[start] : bounds[max(start, stop)]]
        return Fingerprints(ids, self.lengths[start:stop], *self.parameters)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_] | Sequence[int]) -> Fingerprints:
        """Return the reviews at ``rows``, in that order; rows may repeat, or be a mask."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.intp)
        lengths = self.lengths[rows]
        shifts = self.bounds()[:-1][rows] - bounds_of(lengths)[:-1]
        positions = np.repeat(shifts, lengths)
        positions += np.arange(len(positions))
        return Fingerprints(self.ids[positions], lengths, *self.parameters)

    @classmethod
    def concat(cls, parts: Iterable[Fingerprints]) -> Fingerprints:
        """Join parts end to end.

        Raises
        ------
        ValueError
            If there are no parts, or they have different parameters.
        """
        parts = list(parts)
        parameters = {part.parameters for part in parts}
        if len(parameters) != 1:
            raise ValueError(
                f"cannot join {len(parts)} parts: expected one (ngram_max, bits), "
                f"found {sorted(parameters)}. Compute them again with the same parameters."
            )
        ids = np.concatenate([part.ids for part in parts])
        return cls(ids, np.concatenate([part.lengths for part in parts]), *parameters.pop())


def fingerprint(texts: Iterable[str], *, ngram_max: int = 3, bits: int = 40) -> Fingerprints:
    """Return the distinct hashed n-grams of each text.

    A text's fingerprints depend on that text alone, not on its neighbours. Two different n-grams
    share a fingerprint with probability 2**-bits.

    Parameters
    ----------
    texts : iterable of str
        Read once. Lone surrogates count as ``?``; bytes beyond 256 KiB of UTF-8 are not read.
    ngram_max : int, default=3
        Longest n-gram, 1 to 8 tokens.
    bits : int, default=40
        Bits kept of each 64-bit hash, 16 to 44.

    Raises
    ------
    TypeError
        If ``texts`` is one str, or one of its items is not a str.
    ValueError
        If ``ngram_max`` or ``bits`` is out of range.
    """
    nothing = Fingerprints(np.empty(0, np.uint64), np.empty(0, np.int64), ngram_max, bits)
    parts = fingerprint_parts(texts, ngram_max=ngram_max, bits=bits)
    return Fingerprints.concat([nothing, *parts])


def fingerprint_parts(
    texts: Iterable[str], *, ngram_max: int = 3, bits: int = 40
) -> Iterator[Fingerprints]:
    """As `fingerprint`, computed lazily, a few hundred reviews at a time."""
    _check_range("ngram_max", ngram_max, NGRAM_RANGE)
    _check_range("bits", bits, BITS_RANGE)
    if isinstance(texts, str):
        raise TypeError("expected an iterable of texts, got one str: pass [text]")
    for block in _blocks(texts):
        ids, lengths = _fingerprint_block(block, ngram_max, bits)
        yield Fingerprints(ids, lengths, ngram_max, bits)


def bounds_of(lengths: NDArray[np.integer] | NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where each of consecutive parts of these lengths begins, and the end of the last."""
    bounds = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=bounds[1:])
    return bounds


def _check_range(name: str, value: int, allowed: tuple[int, int]) -> None:
    low, high = allowed
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, got {value}")


def _blocks(texts: Iterable[str]) -> Iterator[list[bytes]]:
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


def _fingerprint_block(
    reviews: list[bytes], ngram_max: int, bits: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return ``ids`` and ``lengths`` of one block, as in `Fingerprints`."""
    # Separators around every review: no token, and no look at a neighbour, crosses an edge.
    block = np.frombuffer(b"\n".join([b"", *reviews, b""]), np.uint8)
    review_ends = np.cumsum([len(review) + 1 for review in reviews])
    starts, ends = _token_bounds(block)
    tokens = _token_hashes(block, starts, ends)
    rows = np.searchsorted(review_ends, starts).astype(np.uint64)
    keys = _sort_keys(tokens, rows, ngram_max, bits)
    return _split_keys(keys, len(reviews), bits)


def _token_bounds(block: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the position of each token's first and last byte."""
    kinds = _KINDS[block]
    is_word = kinds == _WORD
    apostrophes = np.flatnonzero(kinds == _APOSTROPHE)
    is_word[apostrophes] = is_word[apostrophes - 1] & is_word[apostrophes + 1]
    is_first = kinds == _MARK
    is_last = is_first.copy()
    is_first[1:] |= is_word[1:] & ~is_word[:-1]
    is_last[:-1] |= is_word[:-1] & ~is_word[1:]
    return np.flatnonzero(is_first), np.flatnonzero(is_last)


def _token_hashes(
    block: NDArray[np.uint8], starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> NDArray[np.uint64]:
    """Hash each token from the difference of two prefix sums, moved to power zero."""
    sums = _VALUES[block]
    sums *= _POWERS[: len(block)]
    np.cumsum(sums, out=sums)
    return _mix((sums[ends] - sums[starts - 1]) * _INVERSE_POWERS[starts])


def _mix(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread every input bit over all 64 output bits (the finalizer of MurmurHash3)."""
    half = np.uint64(33)
    hashes = hashes ^ (hashes >> half)
    for mixer in _MIXERS:
        hashes *= mixer
        hashes ^= hashes >> half
    return hashes


def _sort_keys(
    tokens: NDArray[np.uint64], rows: NDArray[np.uint64], ngram_max: int, bits: int
) -> NDArray[np.uint64]:
    """Return one key per n-gram: its row above its fingerprint. N-grams stay within a review."""
    rows = rows << np.uint64(bits)
    spare_bits = np.uint64(64 - bits)
    hashes = tokens
    keys = [rows | (hashes >> spare_bits)]
    for size in range(2, ngram_max + 1):
        hashes = _mix(hashes[:-1] * _LINK + tokens[size - 1 :] * np.uint64(2 * size + 1))
        first_rows = rows[: len(hashes)]
        is_within = first_rows == rows[size - 1 :]
        keys.append((first_rows | (hashes >> spare_bits))[is_within])
    return np.concatenate(keys)


def _split_keys(
    keys: NDArray[np.uint64], review_count: int, bits: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Drop repeats within a review; return what is left, and how much of it per review."""
    keys.sort()
    is_new = np.ones(len(keys), np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=is_new[1:])
    keys = keys[is_new]
    edges = np.arange(review_count + 1, dtype=np.uint64) << np.uint64(bits)
    lengths = np.diff(np.searchsorted(keys, edges))
    return keys & np.uint64((1 << bits) - 1), lengths
