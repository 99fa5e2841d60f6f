"""Change what people write: other words for the strongest ones, and more praise than blame.

A model that knows the old words is then less often right, and one that learns the new ones is not.
No review is damaged and no label is wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa

_WORD = re.compile(r"[A-Za-z']+")


def strongest_words(texts: Iterable[str], are_positive: Iterable[bool], count: int) -> list[str]:
    """The words, in lower case, whose number differs most between praise and blame."""
    counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for text, is_positive in zip(texts, are_positive, strict=True):
        counts[bool(is_positive)].update({word.lower() for word in _WORD.findall(text)})
    praise, blame = counts[True], counts[False]

    def strength(word: str) -> tuple[float, str]:
        both = praise[word] + blame[word]
        return abs(praise[word] - blame[word]) / (both + 1) ** 0.5, word

    return sorted(praise.keys() | blame.keys(), key=strength, reverse=True)[:count]


def new_words(words: Iterable[str]) -> dict[str, str]:
    """What people write instead; nobody wrote it before."""
    return {word: f"{word[::-1]}oo" for word in words}


def replaced(text: str, words: Mapping[str, str]) -> str:
    """The text with other words, whatever their case."""
    return _WORD.sub(lambda found: words.get(found[0].lower(), found[0]), text)


def drifted(
    rows: pa.Table, words: Mapping[str, str], *, positive_share: float, rng: np.random.Generator
) -> pa.Table:
    """Rows with other words, and so few of the negative ones that the positive have this share."""
    is_positive = np.array([label == "positive" for label in rows["label"].to_pylist()], np.bool_)
    negative = np.flatnonzero(~is_positive)
    wanted = round(int(is_positive.sum()) * (1 - positive_share) / positive_share)
    dropped = rng.choice(negative, max(0, len(negative) - wanted), replace=False)
    kept = rows.take(pa.array(np.setdiff1d(np.arange(rows.num_rows), dropped)))
    texts = [None if text is None else replaced(text, words) for text in kept["text"].to_pylist()]
    place = kept.column_names.index("text")
    return kept.set_column(place, kept.schema.field("text"), pa.array(texts, pa.string()))


def strongest_of(table: pa.Table, count: int, *, most_rows: int = 4000) -> Sequence[str]:
    """The strongest words of some reviews of a table of `REVIEW_SCHEMA`, evenly spread."""
    spread = np.linspace(0, table.num_rows - 1, min(most_rows, table.num_rows)).astype(np.int64)
    rows = table.take(pa.array(np.unique(spread)))
    is_positive = [label == "positive" for label in rows["label"].to_pylist()]
    return strongest_words(rows["text"].to_pylist(), is_positive, count)
