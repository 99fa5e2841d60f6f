"""What a good delivery is: the Great Expectations suites, as code, and the narrow frame they see.

Great Expectations never gets the text itself: one pass computes a frame of metrics (lengths and
yes/no columns), which is faster than handing over wide text and keeps reviews out of its results.

- A **row** rule moves each row that breaks it to quarantine, with the rule's name as reason code.
- A **critical** rule holds the whole delivery. So does a check that crashes.
- A **warning** is shown and counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.config import ValidationSettings
from pipelines.decoding import DATE_INVALID, INVALID_UTF8, MALFORMED_ROW, RATING_INVALID, Rows
from pipelines.identity import text_id
from pipelines.records import Severity

if TYPE_CHECKING:
    import pandas as pd

POSITIVE, NEGATIVE = "positive", "negative"
LABELS = (NEGATIVE, POSITIVE)
_NO_TEXT = text_id("")  # of blanks and line breaks alone, too
LOWEST_POSITIVE_RATING, HIGHEST_NEGATIVE_RATING = 7, 4

# Possessive: "<" and a megabyte of blanks costs as much as any other megabyte.
_HTML = re.compile(
    r"<\s*+(?:/\s*+)?(?:script|style|div|span|img|iframe|a|table|body|html|svg|object|embed|form|"
    r"input|link|meta|video|audio)\b",
    re.IGNORECASE,
)
# UTF-8 read as Windows-1252 or Latin-1, and the replacement character.
_MOJIBAKE = re.compile(
    "\u00c3[\u0080-\u00bf\u20ac-\u2122]|\u00e2\u20ac|\u00c2[\u0080-\u00bf]|\ufffd"
)


@dataclass(frozen=True)
class Rule:
    """One rule: its name, what breaking it means, and the expectation that checks it."""

    name: str
    severity: Severity
    column: str
    limit: str
    meaning: str  # completes "<n> rows ..." for row rules, else a whole clause
    expectation: Callable[..., Any]


def metric_frame(rows: Rows, *, night: date, settings: ValidationSettings) -> pd.DataFrame:
    """Per row what the rules need to know, and never the text.

    Returns
    -------
    frame : DataFrame of shape (n_rows, 13)
        With a fresh RangeIndex: positions in the delivery.
    """
    import pandas as pd

    chars = [len(text.strip()) if text else None for text in rows.text]
    # A text that is too long is quarantined for that. Reading on in it could take hours.
    texts = [
        text if count is not None and count <= settings.max_text_chars else None
        for text, count in zip(rows.text, chars, strict=True)
    ]
    ids = [None if text is None else text_id(text) for text in texts]
    last_day = night + timedelta(days=settings.max_future_days)
    frame = pd.DataFrame(
        {
            "text_chars": chars,
            "label": pd.Series(rows.label, dtype="str"),
            "text_missing": [
                not text or identity == _NO_TEXT
                for text, identity in zip(rows.text, ids, strict=True)
            ],
            "text_html": [bool(text and _HTML.search(text)) for text in texts],
            "text_mojibake": [bool(text and _MOJIBAKE.search(text)) for text in texts],
            "text_repeated": _repeats(ids),
            "label_contradicts_rating": [
                _contradicts(label, rating)
                for label, rating in zip(rows.label, rows.rating, strict=True)
            ],
            "written_in_future": [bool(day and day > last_day) for day in rows.written_on],
        }
    )
    for code in (MALFORMED_ROW, INVALID_UTF8, RATING_INVALID, DATE_INVALID):
        frame[code] = [code in faults for faults in rows.faults]
    frame["text_chars"] = frame["text_chars"].astype("float64")
    frame["text_id"] = pd.Series(ids, dtype="str")
    return frame


def _repeats(ids: list[str | None]) -> list[bool]:
    seen: set[str | None] = {None}
    repeated = []
    for identity in ids:
        repeated.append(identity is not None and identity in seen)
        seen.add(identity)
    return repeated


def _contradicts(label: str | None, rating: int | None) -> bool:
    if rating is None:
        return False
    too_low = label == POSITIVE and rating <= HIGHEST_NEGATIVE_RATING
    too_high = label == NEGATIVE and rating >= LOWEST_POSITIVE_RATING
    return too_low or too_high


def row_rules(settings: ValidationSettings) -> list[Rule]:
    """Rules that quarantine the rows which break them."""
    import great_expectations.expectations as gxe

    shortest, longest = settings.min_text_chars, settings.max_text_chars

    def is_false(column: str, **common: Any) -> Any:
        return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=[False], **common)

    def length(column: str, **common: Any) -> Any:
        return gxe.ExpectColumnValuesToBeBetween(
            column=column, min_value=shortest, max_value=longest, **common
        )

    def known_label(column: str, **common: Any) -> Any:
        return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(LABELS), **common)

    def not_null(column: str, **common: Any) -> Any:
        return gxe.ExpectColumnValuesToNotBeNull(column=column, **common)

    flags = {
        MALFORMED_ROW: ("whole rows", "are not whole rows of the file"),
        INVALID_UTF8: ("UTF-8", "hold bytes that are not UTF-8"),
        "text_missing": ("a text", "have no text"),
        "text_html": ("no markup but <br />", "hold HTML other than line breaks"),
        "text_mojibake": ("readable characters", "hold characters damaged by a wrong encoding"),
        "text_repeated": ("each text once", "repeat a text of the same delivery"),
        "label_contradicts_rating": (
            f"positive > {HIGHEST_NEGATIVE_RATING} stars, negative < {LOWEST_POSITIVE_RATING}",
            "have a label that contradicts their rating",
        ),
        RATING_INVALID: ("1 ... 10 or none", "have a rating that is no whole number from 1 to 10"),
        DATE_INVALID: ("YYYY-MM-DD", "have no readable date"),
        "written_in_future": (
            f"night + {settings.max_future_days} days",
            "claim to be written in the future",
        ),
    }
    rules = [
        Rule(name, "row", name, limit, meaning, is_false)
        for name, (limit, meaning) in flags.items()
    ]
    return [
        *rules,
        Rule(
            "text_length", "row", "text_chars", f"{shortest} ... {longest:,} characters",
            "are too short or too long", length,
        ),
        Rule("label_missing", "row", "label", "a label", "have no label", not_null),
        Rule(
            "label_unknown", "row", "label", " or ".join(LABELS),
            "have a label outside the set", known_label,
        ),
    ]  # fmt: skip


def batch_rules(settings: ValidationSettings, *, delivered_rows: int) -> list[Rule]:
    """Rules on the delivery as a whole, judged after its row rules.

    They see one row per delivered row: ``is_quarantined`` (0 or 1), and ``is_positive`` (0 or 1,
    null where quarantined).
    """
    import great_expectations.expectations as gxe

    def row_count(column: str, **common: Any) -> Any:  # noqa: ARG001 - the table has one count
        return gxe.ExpectTableRowCountToBeBetween(min_value=settings.min_rows, **common)

    def mean_between(low: float, high: float) -> Callable[..., Any]:
        def build(column: str, **common: Any) -> Any:
            return gxe.ExpectColumnMeanToBeBetween(
                column=column, min_value=low, max_value=high, **common
            )

        return build

    budget = settings.max_quarantined_share
    rules = [
        Rule(
            "row_count", "critical", "is_quarantined", f"at least {settings.min_rows} rows",
            "the number of rows", row_count,
        ),
        Rule(
            "quarantined_share", "critical", "is_quarantined", f"at most {budget:.1%}",
            "the share of rows that break a row rule", mean_between(0.0, budget),
        ),
    ]  # fmt: skip
    if delivered_rows < settings.balance_min_rows:
        return rules
    low, high = settings.min_positive_share, settings.max_positive_share
    usual_low, usual_high = settings.warn_positive_share_low, settings.warn_positive_share_high
    return [
        *rules,
        Rule(
            "class_balance", "critical", "is_positive", f"{low:.0%} ... {high:.0%}",
            "the share of positive reviews", mean_between(low, high),
        ),
        Rule(
            "class_balance_unusual", "warning", "is_positive",
            f"{usual_low:.0%} ... {usual_high:.0%}",
            "the share of positive reviews", mean_between(usual_low, usual_high),
        ),
    ]  # fmt: skip
