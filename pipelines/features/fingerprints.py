"""Turn reviews into sets of hashed n-grams, many megabytes per second, with numpy alone.

A *fingerprint* is the first ``bits`` bits of a 64-bit hash of one n-gram. A review becomes the
ascending set of fingerprints of the n-grams that a `View` reads of it:

1. Reviews are joined into blocks of about 256 KiB, a separator byte between them.
2. A token is a run of word bytes (ASCII letters, digits, ``_`` and every byte of a non-ASCII
   character), or one of the marks ``! ? . , ; : ( ) " * -``. An apostrophe between two word bytes
   belongs to the word. Everything else, ``<br />`` included, separates.
3. A token's hash is the polynomial ``sum((byte[i] + 1) * BASE**i)`` over its lower-cased bytes, or
   the first ``prefix_bytes`` of them, modulo 2**64: the difference of two prefix sums, so a whole
   block is hashed at once [1]_. Only ASCII is lower-cased.
4. An n-gram's hash mixes the hash of its first n - 1 tokens with that of its last; that of a pair
   with a gap mixes the hashes of its two tokens.
5. One sort per block finds the distinct fingerprints of each review, and which are *late*: one of
   their n-grams has its middle in the last eighth of the review's tokens. A review's verdict is
   often at its end.

The choice of tokens, with marks kept, follows [2]_.

References
----------
.. [1] R. M. Karp and M. O. Rabin, "Efficient randomized pattern-matching algorithms", IBM Journal
   of Research and Development 31(2), 1987.
.. [2] G. Mesnil et al., "Ensemble of Generative and Discriminative Techniques for Sentiment
   Analysis of Movie Reviews", ICLR workshop, 2015.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.features.tokens import OUTSIDE, Tokens, blocks
from pipelines.features.views import View

FEATURIZER_VERSION = "fp2"
"""Version of the steps above and the constants they use: change it when any of them changes."""

WHOLE_WORDS = View()
"""N-grams of one to three whole tokens."""

Filter = Callable[[NDArray[np.uint64]], NDArray[np.bool_]]
"""Says of whole 64-bit hashes which are worth keeping; of all with one fingerprint the same."""

FEW_TOKENS = 1 << 13
"""With fewer in a block, a call of numpy costs more than what it does."""


class Occurrences(NamedTuple):
    """Which fingerprint is in which review; those of a review come in ascending order.

    Attributes
    ----------
    ids : ndarray of uint64, shape (n_occurrences,)
        The fingerprints.
    is_late : ndarray of bool, shape (n_occurrences,)
        As in `Fingerprints`.
    rows : ndarray of int64, shape (n_occurrences,)
        The review of each.
    review_count : int
        Number of reviews.
    """

    ids: NDArray[np.uint64]
    is_late: NDArray[np.bool_]
    rows: NDArray[np.int64]
    review_count: int


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """The distinct fingerprints of each review, and how they were made.

    Parameters
    ----------
    ids : ndarray of uint64, shape (n_fingerprints,)
        Each in [0, 2**bits). The reviews' sets one after another, each ascending.
    is_late : ndarray of bool, shape (n_fingerprints,)
        Whether an n-gram with this fingerprint is in the last eighth of the review.
    lengths : ndarray of int64, shape (n_reviews,)
        Size of each review's set; they add up to ``n_fingerprints``.
    view : View
        Which n-grams were read.

    Raises
    ------
    ValueError
        If ``lengths`` do not add up to the number of ``ids``, or ``is_late`` is not as long.
    """

    ids: NDArray[np.uint64]
    is_late: NDArray[np.bool_]
    lengths: NDArray[np.int64]
    view: View = WHOLE_WORDS

    def __post_init__(self) -> None:
        total = int(self.lengths.sum())
        if not total == len(self.ids) == len(self.is_late):
            raise ValueError(
                f"lengths add up to {total}, but there are {len(self.ids)} ids and "
                f"{len(self.is_late)} marks of late ones"
            )

    @classmethod
    def nothing(cls, view: View) -> Fingerprints:
        """Return the fingerprints of no reviews."""
        return cls(np.empty(0, np.uint64), np.empty(0, np.bool_), np.empty(0, np.int64), view)

    def __len__(self) -> int:
        return len(self.lengths)

    def bounds(self) -> NDArray[np.int64]:
        """Where each review begins in ``ids``, and the end of the last: n_reviews + 1 positions."""
        return bounds_of(self.lengths)

    def occurrences(self) -> Occurrences:
        """Return the same, review after review."""
        rows = np.repeat(np.arange(len(self)), self.lengths)
        return Occurrences(self.ids, self.is_late, rows, len(self))

    def __getitem__(self, rows: slice) -> Fingerprints:
        """Return consecutive reviews without copying them."""
        start, stop, _ = rows.indices(len(self))
        bounds = self.bounds()
        inside = slice(bounds[start], bounds[max(start, stop)])
        return Fingerprints(
            self.ids[inside], self.is_late[inside], self.lengths[start:stop], self.view
        )

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_] | Sequence[int]) -> Fingerprints:
        """Return the reviews at ``rows``, in that order; rows may repeat, or be a mask."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.intp)
        lengths = self.lengths[rows]
        shifts = self.bounds()[:-1][rows] - bounds_of(lengths)[:-1]
        positions = np.repeat(shifts, lengths)
        positions += np.arange(len(positions))
        return Fingerprints(self.ids[positions], self.is_late[positions], lengths, self.view)

    @classmethod
    def concat(cls, parts: Iterable[Fingerprints]) -> Fingerprints:
        """Join parts end to end.

        Raises
        ------
        ValueError
            If there are no parts, or they are of different views.
        """
        parts = list(parts)
        views = {part.view for part in parts}
        if len(views) != 1:
            raise ValueError(
                f"cannot join {len(parts)} parts: expected one view, found {sorted(views)}. "
                "Compute them again with the same one."
            )
        return cls(
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.is_late for part in parts]),
            np.concatenate([part.lengths for part in parts]),
            views.pop(),
        )


def fingerprint(texts: Iterable[str], view: View = WHOLE_WORDS) -> Fingerprints:
    """Return the distinct hashed n-grams of each text.

    A text's fingerprints depend on that text alone, not on its neighbours. Two different n-grams
    share a fingerprint with probability 2**-bits.

    Parameters
    ----------
    texts : iterable of str
        Read once. Lone surrogates count as ``?``; bytes beyond 256 KiB of UTF-8 are not read.
    view : View
        Which n-grams are read.

    Raises
    ------
    TypeError
        If ``texts`` is one str, or one of its items is not a str.
    ValueError
        If a parameter of the view is out of range.
    """
    return Fingerprints.concat([Fingerprints.nothing(view), *fingerprint_parts(texts, view)])


def fingerprint_parts(texts: Iterable[str], view: View = WHOLE_WORDS) -> Iterator[Fingerprints]:
    """As `fingerprint`, computed lazily, a few hundred reviews at a time."""
    view.check()
    for block in _checked_blocks(texts):
        yield _by_review(Tokens.of(block), view)


def occurrence_parts(
    texts: Iterable[str], views: Sequence[tuple[View, Filter | None]]
) -> Iterator[tuple[Occurrences, ...]]:
    """What `fingerprint` finds, for several views whose tokens are found once, in another order.

    A few hundred reviews at a time, ascending by fingerprint. To look them up in this order is
    faster, as each step begins near where the last ended. What a view's filter does not keep is
    left out before it costs anything more.
    """
    for view, _ in views:
        view.check()
    for block in _checked_blocks(texts):
        tokens = Tokens.of(block)
        yield tuple(_by_id(tokens, view, kept) for view, kept in views)


def _checked_blocks(texts: Iterable[str]) -> Iterator[list[bytes]]:
    if isinstance(texts, str):
        raise TypeError("expected an iterable of texts, got one str: pass [text]")
    return blocks(texts)


def bounds_of(lengths: NDArray[np.integer] | NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where each of consecutive parts of these lengths begins, and the end of the last."""
    bounds = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=bounds[1:])
    return bounds


def split_ids(ids: NDArray[np.uint64], bits: int) -> tuple[NDArray[np.uint32], NDArray[Any]]:
    """Return the low 32 bits of each fingerprint, and the others in as few bytes as they need."""
    high = (ids >> np.uint64(32)).astype(np.uint8 if bits <= 40 else np.uint16)
    return (ids & np.uint64(0xFFFF_FFFF)).astype(np.uint32), high


def joined_ids(low: NDArray[np.uint32], high: NDArray[Any]) -> NDArray[np.uint64]:
    """As `split_ids`, the other way round."""
    ids: NDArray[np.uint64] = high.astype(np.uint64) << np.uint64(32)
    ids |= low
    return ids


def _sort_keys(
    tokens: Tokens, view: View, spare: int, kept: Filter | None = None
) -> NDArray[np.uint64]:
    """Return one ascending key per n-gram that is within a review and kept, repeats included.

    A key is a fingerprint, ``spare`` bits below it, and the others above it. The last bit is 1 if
    the n-gram is late. The row is in the bits below, or else in those above.
    """
    down = 64 - view.bits - spare
    row_shift = 1 if down == 0 else view.bits + 1
    ngrams = list(view.ngrams(tokens.hashes(view.prefix_bytes)))
    hashes = [own for _, own in ngrams]
    marks = [tokens.marks(offsets[-1], row_shift) for offsets, _ in ngrams]
    if len(tokens.starts) < FEW_TOKENS:
        hashes, marks = [np.concatenate(hashes)], [np.concatenate(marks)]
    parts = []
    for own, own_marks in zip(hashes, marks, strict=True):
        at = slice(None) if kept is None else np.flatnonzero(kept(own))
        part = own[at] >> np.uint64(down)
        part &= np.uint64(2**64 - (1 << spare))
        part |= own_marks[at]
        parts.append(part)
    keys = np.concatenate(parts)
    keys.sort()
    return keys[: keys.searchsorted(OUTSIDE)]


def _distinct(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Drop repeats within a review; a fingerprint is late if one of them is."""
    unmarked = keys >> np.uint64(1)
    is_last = np.ones(len(keys), np.bool_)
    np.not_equal(unmarked[1:], unmarked[:-1], out=is_last[:-1])
    return keys[is_last]


def _by_review(tokens: Tokens, view: View) -> Fingerprints:
    keys = _distinct(_sort_keys(tokens, view, spare=1))
    edges = np.arange(len(tokens.counts) + 1, dtype=np.uint64) << np.uint64(view.bits + 1)
    lengths = np.diff(np.searchsorted(keys, edges))
    is_late = _is_marked(keys)
    keys >>= np.uint64(1)
    keys &= np.uint64((1 << view.bits) - 1)
    return Fingerprints(keys, is_late, lengths, view)


def _by_id(tokens: Tokens, view: View, kept: Filter | None) -> Occurrences:
    spare = 64 - view.bits
    keys = _distinct(_sort_keys(tokens, view, spare, kept))
    rows = (keys & np.uint64((1 << spare) - 1)).view(np.int64)
    rows >>= 1
    is_late = _is_marked(keys)
    keys >>= np.uint64(spare)
    return Occurrences(keys, is_late, rows, len(tokens.counts))


def _is_marked(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    return (keys & np.uint64(1)).astype(np.bool_)
