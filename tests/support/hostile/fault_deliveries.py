"""Deliveries with one fault each, and what must become of them: the oracle of validation.

Every builder takes good rows of a night and returns the rows to deliver, with the positions that
must be quarantined and why, or the rules that must hold the delivery. Four earlier nights of the
same source are history.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from typing import Any

from pipelines.simulation.made_up import make_reviews

Row = dict[str, Any]
Build = Callable[[list[Row]], list[Row]]

ROWS = 300
EARLIER_NIGHTS = 4
NIGHT = date(2026, 1, 9)
BAD_PLACES = (10, 150)  # two rows of 300 stay within the budget of 5 %

FOREIGN = (
    "Der Film war leider viel zu lang und die Geschichte hat mich nicht begeistert, obwohl die "
    "Schauspieler sich sichtlich anstrengen und die Musik stellenweise gut ist. Nach einer Stunde "
    "habe ich nur noch auf die Uhr geschaut und gehofft, dass es bald vorbei ist."
)


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    ``reasons`` maps each quarantined position to its reason codes; ``held_by`` names the critical
    rules that fail, ``warns`` the warnings. A fault that holds quarantines nothing. There is a
    champion only where a fault ``asks_champion``: it knows good texts alone.
    """

    name: str
    build: Build
    reasons: dict[int, set[str]] = field(default_factory=dict)
    held_by: set[str] = field(default_factory=set)
    warns: set[str] = field(default_factory=set)
    asks_champion: bool = False

    @property
    def verdict(self) -> str:
        return "HELD" if self.held_by else "PARTLY_ACCEPTED" if self.reasons else "ACCEPTED"


@cache
def _all_nights() -> tuple[tuple[Row, ...], ...]:
    table = make_reviews(ROWS * (EARLIER_NIGHTS + 2), seed=7).to_pylist()
    nights = []
    for number in range(EARLIER_NIGHTS + 2):
        day = (NIGHT - timedelta(days=EARLIER_NIGHTS - number)).isoformat()
        written = NIGHT.isoformat() if number > EARLIER_NIGHTS else day
        rows = table[number * ROWS : (number + 1) * ROWS]
        nights.append(
            tuple(
                {"review_id": f"r-{number}-{place:04d}", **row, "written_on": written}
                for place, row in enumerate(rows)
            )
        )
    return tuple(nights)


def earlier_night(number: int) -> list[Row]:
    """Good rows of one of the nights before, from 0."""
    return [dict(row) for row in _all_nights()[number]]


def good_night() -> list[Row]:
    """Good rows of the night under test."""
    return [dict(row) for row in _all_nights()[EARLIER_NIGHTS]]


def _spare() -> list[Row]:
    return [dict(row) for row in _all_nights()[EARLIER_NIGHTS + 1]]


def _of_length(chars: int) -> str:
    return " ".join(row["text"] for row in _spare())[:chars]


def _long_one(rows: list[Row]) -> str:
    return next(row["text"] for row in rows if 900 < len(row["text"]) < 1500)


class Champion:
    """Reads every good text as its reviewer meant it, but for each eighth."""

    version = "c" * 20
    holdout_accuracy, holdout_rows = 0.875, 4_000

    def positive_scores(self, texts: list[str]) -> list[float]:
        return [float(_meanings()[text]) for text in texts]


@cache
def _meanings() -> dict[str, bool]:
    rows = [row for night in _all_nights() for row in night]
    return {
        row["text"]: (row["label"] == "positive") ^ (place % 8 == 0)
        for place, row in enumerate(rows)
    }


def changing(name: str, *codes: str, **values: Any) -> Fault:
    """Two rows get other values; each breaks the given rules and no other."""

    def build(rows: list[Row]) -> list[Row]:
        for place in BAD_PLACES:
            rows[place] |= values
        return rows

    return Fault(name, build, reasons={place: set(codes) for place in BAD_PLACES})


def of_two(name: str, code: str, texts: Callable[[list[Row]], tuple[str, str]]) -> Fault:
    """Two rows get texts of their own."""

    def build(rows: list[Row]) -> list[Row]:
        for place, text in zip(BAD_PLACES, texts(rows), strict=True):
            rows[place]["text"] = text
        return rows

    return Fault(name, build, reasons={place: {code} for place in BAD_PLACES})


def holding(name: str, build: Build, *held_by: str, warns: set[str] | None = None) -> Fault:
    asks = "label_agreement" in held_by
    return Fault(name, build, held_by=set(held_by), warns=warns or set(), asks_champion=asks)


def _each(change: Callable[[Row, int], Row], *, every: int = 1) -> Build:
    def build(rows: list[Row]) -> list[Row]:
        return [
            row | change(row, place) if place % every == 0 else row
            for place, row in enumerate(rows)
        ]

    return build


def _text(change: Callable[[str], str], *, every: int = 1) -> Build:
    return _each(lambda row, _: {"text": change(row["text"])}, every=every)


def _label(is_positive: bool) -> Row:
    return {"label": "positive", "rating": 9} if is_positive else {"label": "negative", "rating": 2}


def _without(column: str) -> Build:
    return lambda rows: [{name: row[name] for name in row if name != column} for row in rows]


def _near(text: str) -> str:
    return text.replace(" the ", " that ", 1) + " Thank you."


def _earlier_texts(change: Callable[[str], str]) -> Callable[[list[Row]], tuple[str, str]]:
    return lambda _: tuple(change(_long_one(earlier_night(night))) for night in (0, 3))  # type: ignore[return-value]


def _twice_here(rows: list[Row]) -> tuple[str, str]:
    return rows[5]["text"], f"  {rows[6]['text'].upper()}<br />"


def _nearly_here(rows: list[Row]) -> tuple[str, str]:
    long = [row["text"] for row in rows[:10] if len(row["text"]) > 700]
    return _near(long[0]), _near(long[1])


ROW_FAULTS = [
    changing("null text", "text_missing", text=None),
    changing("empty text", "text_missing", text=""),
    of_two("nothing but line breaks", "text_missing",
           lambda _: ("<br />" * 6, "<br />\n <br /> " * 4)),
    of_two("too short", "text_length", lambda _: ("Good film.", "Bad.")),
    of_two("too long", "text_length", lambda _: (_of_length(20_002), _of_length(30_000))),
    of_two("a script", "text_html",
           lambda rows: ("<script>alert(1)</script>" + rows[10]["text"],
                         rows[150]["text"] + "<img src=x onerror=alert(1)>")),
    of_two("links and boxes", "text_html",
           lambda rows: (rows[10]["text"] + ' <a href="http://x.example">x</a>',
                         "<DIV>" + rows[150]["text"] + "</DIV>")),
    of_two("escaped once more", "text_escaped",
           lambda rows: (rows[10]["text"] + " &lt;br /&gt;",
                         rows[150]["text"] + " &amp;quot;x&amp;quot;")),
    of_two("UTF-8 read as Windows-1252", "text_mojibake",
           lambda rows: (rows[10]["text"] + " It\u00e2\u20ac\u2122s fine.",
                         rows[150]["text"] + " A caf\u00c3\u00a9.")),
    of_two("replacement characters", "text_mojibake",
           lambda rows: (rows[10]["text"] + "\ufffd", "\ufffd" + rows[150]["text"])),
    of_two("another language", "text_other_language",
           lambda _: (FOREIGN, FOREIGN[::-1])),
    of_two("the same words over and over", "text_repetitive",
           lambda _: ("Best film ever! " * 60, "so bad " * 300)),
    of_two("a text twice in the delivery", "text_repeated", _twice_here),
    of_two("almost a text of the delivery", "text_near_repeated", _nearly_here),
    of_two("a text of an earlier night", "text_known", _earlier_texts(lambda text: text.upper())),
    of_two("almost a text of an earlier night", "text_near_known", _earlier_texts(_near)),
    changing("no label", "label_missing", label=None),
    changing("an unknown label", "label_unknown", label="maybe"),
    changing("a label in other words", "label_unknown", label="very positive"),
    changing("a label of neither kind", "label_neutral", label="neutral"),
    changing("praise with one star", "label_contradicts_rating", label="positive", rating=1),
    changing("blame with ten stars", "label_contradicts_rating", label="negative", rating=10),
    changing("eleven stars", "rating_invalid", rating=11),
    changing("no stars at all", "rating_invalid", rating=0),
    changing("no date", "date_invalid", written_on=None),
    changing("a day that is none", "date_invalid", written_on="2026-02-30"),
    changing("written in the future", "written_in_future", written_on="2026-01-11"),
    changing("written before the late window", "written_too_long_ago", written_on="2025-12-09"),
    changing("no review_id", "review_id_missing", review_id=None),
    Fault("a review_id twice", lambda rows: [
        row | {"review_id": "r-4-0000"} if place in BAD_PLACES else row
        for place, row in enumerate(rows)
    ], reasons={place: {"review_id_repeated"} for place in BAD_PLACES}),
    changing("everything wrong at once", "label_missing", "date_invalid", "text_missing",
             "rating_invalid", text=None, label=None, written_on="soon", rating=99),
]  # fmt: skip

BATCH_FAULTS = [
    holding("no column for the text", _without("text"), "wrong_columns"),
    holding("no column for the label", _without("label"), "wrong_columns"),
    holding("a renamed column", lambda rows: [
        {("stars" if name == "written_on" else name): row[name] for name in row} for row in rows
    ], "wrong_columns"),
    holding("nineteen rows", lambda rows: rows[:19], "row_count", "row_count_change",
            warns={"row_count_change_unusual"}),
    holding("nothing but null", _each(lambda row, _: dict.fromkeys(row)), "quarantined_share",
            "class_balance", warns={"class_balance_unusual"}),
    holding("one label in fifteen unknown", _each(lambda *_: {"label": "so so"}, every=15),
            "quarantined_share"),
    holding("nothing but praise", _each(lambda *_: _label(True)), "class_balance",
            "class_balance_change",
            warns={"class_balance_unusual", "class_balance_change_unusual"}),
    holding("eight in nine praise", _each(lambda _, place: _label(place % 9 > 0)),
            "class_balance_change",
            warns={"class_balance_unusual", "class_balance_change_unusual"}),
    holding("texts cut at 255 characters", _text(lambda text: text[:255]), "length_drift",
            "vocabulary_drift", warns={"length_drift_unusual", "vocabulary_drift_unusual"}),
    holding("blanks lost", _text(lambda text: text.replace(" ", "_")), "quarantined_share",
            "class_balance", warns={"class_balance_unusual"}),
    holding("letters swapped", _text(lambda text: text.replace("o", "0")), "vocabulary_drift",
            warns={"vocabulary_drift_unusual"}),
    holding("a page footer in every text",
            _text(lambda text: text + " Read more reviews on our site and tell your friends about "
                  "it, subscribe to the letter, terms and conditions apply to all members."),
            "vocabulary_drift", warns={"vocabulary_drift_unusual", "length_drift_unusual"}),
    holding("an old file", _each(lambda *_: {"written_on": "2026-01-01"}), "freshness"),
    holding("last night's reviews once more", lambda rows: [
        row | {"text": old["text"], "label": old["label"], "rating": old["rating"]}
        for row, old in zip(rows, earlier_night(EARLIER_NIGHTS - 1), strict=True)
    ], "known_share", "class_balance", warns={"class_balance_unusual"}),
    holding("a third was delivered before", lambda rows: [
        row | {"text": old["text"], "label": old["label"], "rating": old["rating"]}
        if place % 3 == 0 else row
        for place, (row, old) in enumerate(zip(rows, earlier_night(0), strict=True))
    ], "known_share"),
    holding("every label turned round", _each(
        lambda row, _: {"label": "negative" if row["label"] == "positive" else "positive",
                        "rating": None}), "label_agreement", warns={"label_agreement_unusual"}),
    holding("every third label turned round", _each(
        lambda row, _: {"label": "negative" if row["label"] == "positive" else "positive",
                        "rating": None}, every=3),
        "label_agreement", warns={"label_agreement_unusual"}),
]  # fmt: skip

HARMLESS = [
    Fault("a good night", lambda rows: rows, asks_champion=True),
    Fault("a night of a third of the rows", lambda rows: rows[:100],
          warns={"row_count_change_unusual"}),
    Fault("late reviews", _each(lambda *_: {"written_on": "2025-12-20"}, every=2)),
    Fault("no films and no stars", _each(lambda *_: {"movie_id": None, "rating": None})),
    Fault("a little more praise", _each(lambda *_: _label(True), every=4),
          warns={"class_balance_change_unusual", "class_balance_unusual"}),
]  # fmt: skip

FAULTS = [*ROW_FAULTS, *BATCH_FAULTS, *HARMLESS]
