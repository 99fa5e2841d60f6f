"""Damage delivered rows on purpose, in every way that can go wrong."""

from collections.abc import Callable
from typing import Any, Final, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DamageKind = Literal[
    "empty_text",
    "null_text",
    "unknown_label",
    "contradicting_label",
    "html",
    "mojibake",
    "duplicate_text",
    "future_date",
]
Row = dict[str, Any]

DELIVERED_SCHEMA: Final = pa.schema(
    [
        pa.field("review_id", pa.string()),
        pa.field("movie_id", pa.string()),
        pa.field("text", pa.string()),
        pa.field("label", pa.string()),
        pa.field("rating", pa.int8()),
        pa.field("written_on", pa.string()),
    ]
)
FUTURE_DATE: Final = "2999-01-01"
ACCENTED_SENTENCE: Final = " It’s the café scene, “naïve” and a little déjà vu."  # noqa: RUF001
_TURNED: Final = {"positive": "negative", "negative": "positive"}


def with_changed_schema(rows: pa.Table) -> pa.Table:
    """``text`` is called ``body``, and labels are the integers 0 and 1."""
    labels = pc.equal(rows["label"], "positive").cast(pa.int8())
    changed = rows.set_column(rows.column_names.index("label"), "label", labels)
    return changed.rename_columns({"text": "body"})


def damage(
    rows: pa.Table, *, share: float, rng: np.random.Generator
) -> tuple[pa.Table, list[tuple[int, str]]]:
    """Spoil a share, in [0, 1], of the rows, each in one way, going round all kinds of damage.

    The first row always stays whole, so that a repeated text has an earlier one to repeat.

    Returns
    -------
    damaged : Table of ``DELIVERED_SCHEMA``
    what : list of (int, str)
        Index and `DamageKind` of each damaged row, by index.
    """
    count = min(round(share * rows.num_rows), max(rows.num_rows - 1, 0))
    if count == 0:
        return rows, []
    places = np.sort(rng.choice(np.arange(1, rows.num_rows), size=count, replace=False)).tolist()
    kinds = get_args(DamageKind)
    what = [(place, kinds[turn % len(kinds)]) for turn, place in enumerate(places)]
    whole = rows.to_pylist()
    spoiled = list(whole)
    untouched = sorted(set(range(rows.num_rows)) - set(places))
    for place, kind in what:
        earlier = untouched[int(rng.integers(np.searchsorted(untouched, place)))]
        spoiled[place] = {**whole[place], **_DAMAGES[kind](whole[place], whole[earlier])}
    return pa.Table.from_pylist(spoiled, schema=DELIVERED_SCHEMA), what


def _sent_twice(_row: Row, earlier: Row) -> Row:
    return {name: earlier[name] for name in ("movie_id", "text", "label", "rating")}


def _mojibake(row: Row, _earlier: Row) -> Row:
    """UTF-8 read as Windows-1252, with a sentence added in which that shows."""
    accented = f"{row['text']}{ACCENTED_SENTENCE}"
    return {"text": accented.encode().decode("cp1252", errors="replace")}


# What each kind changes in a row; the second row is a whole one delivered earlier.
_DAMAGES: Final[dict[str, Callable[[Row, Row], Row]]] = {
    "empty_text": lambda _row, _earlier: {"text": ""},
    "null_text": lambda _row, _earlier: {"text": None},
    "unknown_label": lambda _row, _earlier: {"label": "maybe"},
    "contradicting_label": lambda _row, _earlier: {"label": "positive", "rating": 1},
    "html": lambda row, _earlier: {
        "text": f'<div class="x"><script>alert(1)</script>{row["text"]}</div>'
    },
    "mojibake": _mojibake,
    "duplicate_text": _sent_twice,
    "future_date": lambda _row, _earlier: {"written_on": FUTURE_DATE},
}


def flip_labels(rows: pa.Table, *, share: float, rng: np.random.Generator) -> pa.Table:
    """Flip the labels of a share, in [0, 1], of the rows; nothing else shows it.

    As many of each class are turned, so their balance stays, and each one's rating is mirrored
    with it. Where the classes differ in size, the larger one keeps what the smaller one lacks.
    """
    labels = np.array(rows["label"].to_pylist(), dtype=object)
    classes = [np.flatnonzero(labels == name) for name in _TURNED]
    count = min(round(share * rows.num_rows / 2), *map(len, classes))
    if count == 0:
        return rows
    turned = {int(row) for rows in classes for row in rng.choice(rows, size=count, replace=False)}
    return pa.Table.from_pylist(
        [
            {**row, **_turned_round(row)} if place in turned else row
            for place, row in enumerate(rows.to_pylist())
        ],
        schema=DELIVERED_SCHEMA,
    )


def _turned_round(row: Row) -> Row:
    mirrored = None if row["rating"] is None else 11 - row["rating"]
    return {"label": _TURNED[row["label"]], "rating": mirrored}
