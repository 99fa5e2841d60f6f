"""Parts of the holdout that are judged on their own: a better whole must not hide a worse part.

Every slice has enough reviews to be judged, or the family of slices is reported as too small. No
review of a family escapes: sources with few reviews are judged together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Family = Literal["length", "negation", "contrast", "rating", "source"]
Mask = NDArray[np.bool_]

MILD_RATINGS, EXTREME_RATINGS = (4, 7), (1, 10)

_NEGATION = re.compile(r"\b(?:not|no|never|nothing|nobody|none|cannot|neither|nor|\w+n't)\b", re.I)
_CONTRAST = re.compile(
    r"\b(?:but|however|although|though|yet|despite|except|nevertheless|unfortunately)\b", re.I
)


@dataclass(frozen=True, eq=False)
class Described:
    """What slices are made from, one entry per review.

    ``ratings`` are stars or None where none was delivered.
    """

    texts: Sequence[str]
    ratings: Sequence[int | None]
    sources: Sequence[str]


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
        A slice that no review belongs to is there, too, and all False.
    """
    masks: dict[str, Mask] = {}
    for family in families:
        for part, mask in _CUTS[family](reviews, min_rows).items():
            masks[f"{family}={part}"] = mask
    return masks


def _by_length(reviews: Described, _min_rows: int) -> dict[str, Mask]:
    lengths = np.array([len(text) for text in reviews.texts])
    low, high = np.quantile(lengths, [1 / 3, 2 / 3]) if len(lengths) else (0, 0)
    is_short, is_long = lengths <= low, lengths > high
    return {"short": is_short, "medium": ~is_short & ~is_long, "long": is_long}


def _by_words(pattern: re.Pattern[str]) -> Callable[[Described, int], dict[str, Mask]]:
    def cut(reviews: Described, _min_rows: int) -> dict[str, Mask]:
        has_it = np.array([bool(pattern.search(text)) for text in reviews.texts], np.bool_)
        return {"with": has_it, "without": ~has_it}

    return cut


def _by_rating(reviews: Described, _min_rows: int) -> dict[str, Mask]:
    ratings = np.array([0 if rating is None else rating for rating in reviews.ratings])
    return {"mild": np.isin(ratings, MILD_RATINGS), "extreme": np.isin(ratings, EXTREME_RATINGS)}


def _by_source(reviews: Described, min_rows: int) -> dict[str, Mask]:
    sources = np.array(reviews.sources, np.str_)
    names, rows = np.unique(sources, return_counts=True)
    groups = _joined(dict(zip(names.tolist(), rows.tolist(), strict=True)), min_rows)
    return {"+".join(group): np.isin(sources, group) for group in groups}


def _joined(rows: dict[str, int], min_rows: int) -> list[list[str]]:
    """Group the sources so that each group has enough reviews, if all together have."""
    ascending = sorted(rows, key=lambda name: (rows[name], name))
    groups: list[list[str]] = []
    small: list[str] = []
    for name in ascending:
        small.append(name)
        if sum(rows[each] for each in small) >= min_rows:
            groups.append(small)
            small = []
    if small:
        groups = [*groups[:-1], [*(groups[-1] if groups else []), *small]]
    return [sorted(group) for group in groups]


_CUTS: dict[Family, Callable[[Described, int], dict[str, Mask]]] = {
    "length": _by_length,
    "negation": _by_words(_NEGATION),
    "contrast": _by_words(_CONTRAST),
    "rating": _by_rating,
    "source": _by_source,
}
