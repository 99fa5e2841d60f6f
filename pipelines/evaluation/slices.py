"""Cut the holdout into slices with their own scores: a better average must not hide a worse part.

Each slice has enough reviews for a score, or its family of slices is reported as too small. Every
review belongs to a slice of the family: sources with few reviews form a slice together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Family = Literal["length", "negation", "contrast", "rating", "source"]
Mask = NDArray[np.bool_]

COLUMNS = ["text", "rating", "source"]  # of a partition, for describing reviews
MILD_RATINGS, EXTREME_RATINGS = (4, 7), (1, 10)

_NEGATION = re.compile(r"\b(?:not|no|never|nothing|nobody|none|cannot|neither|nor)\b|\wn't\b", re.I)
_CONTRAST = re.compile(
    r"\b(?:but|however|although|though|yet|despite|except|nevertheless|unfortunately)\b", re.I
)


@dataclass(frozen=True, eq=False)
class Described:
    """What slices are cut by, one entry per review; the texts themselves are not kept.

    Attributes
    ----------
    lengths : ndarray of int64, shape (n_reviews,)
        Characters of the text.
    negated, contrasted : ndarray of bool, shape (n_reviews,)
        Whether the text has a word of negation, or of contrast.
    ratings : ndarray of int64, shape (n_reviews,)
        Stars, 0 where none were delivered.
    sources : ndarray of str, shape (n_reviews,)
    """

    lengths: NDArray[np.int64]
    negated: Mask
    contrasted: Mask
    ratings: NDArray[np.int64]
    sources: NDArray[np.str_]

    @classmethod
    def of(
        cls, texts: Sequence[str], ratings: Sequence[int | None], sources: Sequence[str]
    ) -> Described:
        """Describe reviews by their texts, stars and sources."""
        return cls(
            np.array([len(text) for text in texts], np.int64),
            np.array([bool(_NEGATION.search(text)) for text in texts], np.bool_),
            np.array([bool(_CONTRAST.search(text)) for text in texts], np.bool_),
            np.array([rating or 0 for rating in ratings], np.int64),
            np.array(sources, np.str_),
        )

    @classmethod
    def of_tables(cls, tables: Iterable[pa.Table]) -> Described:
        """Describe reviews by tables with the columns `COLUMNS`."""
        return cls.concat(
            cls.of(*(table.column(name).to_pylist() for name in COLUMNS)) for table in tables
        )

    @classmethod
    def concat(cls, parts: Iterable[Described]) -> Described:
        """Join parts end to end."""
        joined = [cls.of([], [], []), *parts]
        names = vars(joined[0])
        return cls(
            **{name: np.concatenate([vars(part)[name] for part in joined]) for name in names}
        )


def slice_masks(
    reviews: Described, families: Sequence[Family], *, min_rows: int
) -> dict[str, Mask]:
    """Which reviews belong to each slice, named ``family=part``.

    Parameters
    ----------
    reviews : Described
        Of n_reviews reviews.
    families : sequence of str
        Which ways to cut.
    min_rows : int
        Sources with fewer reviews are joined.

    Returns
    -------
    masks : dict of str to ndarray of bool, shape (n_reviews,)
        Includes slices without reviews, which are all False.
    """
    masks: dict[str, Mask] = {}
    for family in families:
        for part, mask in _CUTS[family](reviews, min_rows).items():
            masks[f"{family}={part}"] = mask
    return masks


def _by_length(reviews: Described, _min_rows: int) -> dict[str, Mask]:
    lengths = reviews.lengths
    low, high = np.quantile(lengths, [1 / 3, 2 / 3]) if len(lengths) else (0, 0)
    is_short, is_long = lengths <= low, lengths > high
    return {"short": is_short, "medium": ~is_short & ~is_long, "long": is_long}


def _by_negation(reviews: Described, _min_rows: int) -> dict[str, Mask]:
    return {"with": reviews.negated, "without": ~reviews.negated}


def _by_contrast(reviews: Described, _min_rows: int) -> dict[str, Mask]:
    return {"with": reviews.contrasted, "without": ~reviews.contrasted}


def _by_rating(reviews: Described, _min_rows: int) -> dict[str, Mask]:
    stars = {"mild": MILD_RATINGS, "extreme": EXTREME_RATINGS}
    return {name: np.isin(reviews.ratings, ratings) for name, ratings in stars.items()}


def _by_source(reviews: Described, min_rows: int) -> dict[str, Mask]:
    names, rows = np.unique(reviews.sources, return_counts=True)
    groups = _joined(dict(zip(names.tolist(), rows.tolist(), strict=True)), min_rows)
    return {"+".join(group): np.isin(reviews.sources, group) for group in groups}


def _joined(rows: dict[str, int], min_rows: int) -> list[list[str]]:
    """Group the sources so that each group has enough reviews, if there are enough in total."""
    ascending = sorted(rows, key=lambda name: (rows[name], name))
    groups: list[list[str]] = []
    small: list[str] = []
    for name in ascending:
        small.append(name)
        if sum(rows[source] for source in small) >= min_rows:
            groups.append(small)
            small = []
    if small:
        groups = [*groups[:-1], [*(groups[-1] if groups else []), *small]]
    return [sorted(group) for group in groups]


_CUTS: dict[Family, Callable[[Described, int], dict[str, Mask]]] = {
    "length": _by_length,
    "negation": _by_negation,
    "contrast": _by_contrast,
    "rating": _by_rating,
    "source": _by_source,
}
