"""Which words a review has: the tables that drift tests count in, and the words that people read.

Unlike `features.fingerprints`, words keep their spelling: a diagnosis must name them.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LONGEST_WORD = 30  # letters; a longer one is no word that a person could read
BUCKETS = 1024  # that words are hashed into, for comparisons of fixed size

_WORD = re.compile(r"\w+(?:'\w+)*")


def words_of(text: str) -> set[str]:
    """The distinct words of a text, in lower case; markup counts as words, too."""
    return {word for word in _WORD.findall(text.lower()) if len(word) <= LONGEST_WORD}


@dataclass(frozen=True, eq=False)
class Documents:
    """The distinct words of reviews, as numbers in a `WordTable`.

    Parameters
    ----------
    ids : ndarray of int32, shape (n_words,)
        Review after review, ascending in each.
    lengths : ndarray of int64, shape (n_reviews,)
        How many belong to each; they add up to ``n_words``.
    """

    ids: NDArray[np.int32]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)

    def rows(self) -> NDArray[np.int64]:
        """The review of each entry of ``ids``."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def take(self, rows: NDArray[np.integer]) -> Documents:
        """The reviews at ``rows``, in that order."""
        starts = np.concatenate([[0], np.cumsum(self.lengths)])
        lengths = self.lengths[rows]
        shifts = starts[rows] - np.concatenate([[0], np.cumsum(lengths)])[:-1]
        return Documents(
            self.ids[np.repeat(shifts, lengths) + np.arange(int(lengths.sum()))], lengths
        )

    @classmethod
    def concat(cls, parts: Sequence[Documents]) -> Documents:
        nothing = Documents(np.empty(0, np.int32), np.empty(0, np.int64))
        return cls(
            np.concatenate([part.ids for part in (nothing, *parts)]),
            np.concatenate([part.lengths for part in (nothing, *parts)]),
        )

    def share_from(self, first: int) -> NDArray[np.float64]:
        """The share of each review's words whose number is at least ``first``; 0 without words."""
        found = np.bincount(self.rows()[self.ids >= first], minlength=len(self))
        return np.asarray(found / np.maximum(self.lengths, 1), np.float64)

    def presence(self, buckets: NDArray[np.int32]) -> NDArray[np.float32]:
        """Whether a review has a word of each bucket, shape (n_reviews, `BUCKETS`)."""
        has = np.zeros((len(self), BUCKETS), np.float32)
        has[self.rows(), buckets[self.ids]] = 1.0
        return has


class WordTable:
    """Numbers of words, in the order in which they were first read."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._numbers = {name: number for number, name in enumerate(names)}

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def names(self) -> list[str]:
        return list(self._numbers)

    def copy(self) -> WordTable:
        return WordTable(self._numbers)

    def read(self, texts: Iterable[str]) -> Documents:
        """The words of texts; those that are new get the next numbers."""
        numbers = self._numbers
        ids: list[int] = []
        lengths: list[int] = []
        for text in texts:
            words = words_of(text)
            # In the order of the alphabet: a set's own order differs between processes.
            for word in sorted(word for word in words if word not in numbers):
                numbers[word] = len(numbers)
            found = sorted([numbers[word] for word in words])
            ids += found
            lengths.append(len(found))
        return Documents(np.array(ids, np.int32), np.array(lengths, np.int64))

    def buckets(self) -> NDArray[np.int32]:
        """The bucket of each word, shape (n_words,)."""
        hashes = (zlib.crc32(name.encode("utf-8", "replace")) for name in self._numbers)
        return (np.fromiter(hashes, np.int64, len(self)) % BUCKETS).astype(np.int32)
