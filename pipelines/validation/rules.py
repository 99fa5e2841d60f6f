"""The rules for a good delivery, and the expectations that check them.

Rules that compare with earlier deliveries or with the champion are in `validation.drift`.

- A **row** rule moves each row that breaks it to quarantine, with the rule's name as reason code.
- A **critical** rule holds the whole delivery. So does a check that crashes.
- A **warning** is shown and counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.core.settings.data import ValidationSettings
from pipelines.intake.files.reading import NEGATIVE, NEUTRAL, POSITIVE
from pipelines.intake.files.rows import (
    DATE_INVALID,
    INVALID_UTF8,
    LABEL_UNKNOWN,
    MALFORMED_ROW,
    RATING_INVALID,
)
from pipelines.records.validations import Severity
from pipelines.validation.measurements import (
    HIGHEST_NEGATIVE_RATING,
    LOWEST_POSITIVE_RATING,
)

LABELS = (NEGATIVE, POSITIVE)
LABEL_NEUTRAL = "label_neutral"
# Repeats of rows that count already have their own limit: they do no harm.
KNOWN_REASONS = frozenset({"text_known", "text_near_known"})
# What is left out without being bad: it counts towards no limit for bad rows.
HARMLESS_REASONS = KNOWN_REASONS | {LABEL_NEUTRAL}


@dataclass(frozen=True)
class Rule:
    """One rule: its name, what breaking it means, and the expectation that checks it."""

    name: str
    severity: Severity
    column: str
    limit: str
    meaning: str  # completes "<n> rows ..." for row rules; unused for the others
    expectation: Callable[..., Any]
    says: Callable[[float, bool], str] | None = None  # of a number, and whether it passed


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
        return gxe.ExpectColumnValuesToBeInSet(
            column=column, value_set=[*LABELS, NEUTRAL], **common
        )

    def not_null(column: str, **common: Any) -> Any:
        return gxe.ExpectColumnValuesToNotBeNull(column=column, **common)

    rules = [
        Rule(name, "row", name, limit, meaning, is_false)
        for name, (limit, meaning) in {**_row_flags(settings), **_text_flags()}.items()
    ]
    return [
        *rules,
        Rule(
            "text_length", "row", "text_chars", f"{shortest} ... {longest:,} characters",
            "are too short or too long", length,
        ),
        Rule("label_missing", "row", "label", "a label", "have no label", not_null),
        Rule(
            LABEL_UNKNOWN, "row", "label", " or ".join(LABELS),
            "have a label outside the set", known_label,
        ),
    ]  # fmt: skip


def _row_flags(settings: ValidationSettings) -> dict[str, tuple[str, str]]:
    """Yes/no rules on everything except the text: limit and meaning of each."""
    return {
        MALFORMED_ROW: ("whole rows, with one value per column", "cannot be read as rows"),
        INVALID_UTF8: ("UTF-8", "hold bytes that are not UTF-8"),
        "review_id_missing": ("a review_id", "have no review_id"),
        "review_id_repeated": ("each review_id once", "repeat a review_id of the same delivery"),
        LABEL_NEUTRAL: ("positive or negative", "are neither positive nor negative"),
        "label_contradicts_rating": (
            f"positive > {HIGHEST_NEGATIVE_RATING} stars, negative < {LOWEST_POSITIVE_RATING}",
            "have a label that contradicts their rating",
        ),
        RATING_INVALID: (
            "1 ... 10 or none",
            "have a rating other than the whole numbers 1 to 10",
        ),
        DATE_INVALID: ("YYYY-MM-DD", "have no readable date"),
        "written_in_future": (
            f"night + {settings.max_future_days} days",
            "claim to be written in the future",
        ),
        "written_too_long_ago": (
            f"night - {settings.late_window_days} days",
            "were written before the window for late reviews",
        ),
    }


def _text_flags() -> dict[str, tuple[str, str]]:
    """Yes/no rules on the text: limit and meaning of each."""
    return {
        "text_missing": ("a text", "have no text, or none with a letter or digit"),
        "text_html": ("no markup except <br />", "hold HTML other than line breaks"),
        "text_escaped": ("plain characters", "hold entities or escapes instead of characters"),
        "text_mojibake": ("readable characters", "hold characters damaged by a wrong encoding"),
        "text_repetitive": ("a text", "repeat the same few words"),
        "text_other_language": ("English", "are not in English"),
        "text_repeated": ("each text once", "repeat a text of the same delivery"),
        "text_near_repeated": (
            "each text once", "are almost the same as another text of the delivery",
        ),
        "text_known": ("new texts", "repeat a text that counts already"),
        "text_near_known": ("new texts", "are almost the same as a text that counts already"),
    }  # fmt: skip


def batch_rules(settings: ValidationSettings, *, delivered_rows: int) -> list[Rule]:
    """Rules on the delivery as a whole, checked after its row rules.

    They see one row per delivered row: ``is_bad`` and ``is_known`` (0 or 1; a row that breaks
    rules of both kinds is bad), and ``is_positive`` (0 or 1, null where quarantined).
    """
    import great_expectations.expectations as gxe

    def row_count(column: str, **common: Any) -> Any:  # noqa: ARG001 - the table has one count
        return gxe.ExpectTableRowCountToBeBetween(min_value=settings.min_rows, **common)

    bad, repeated = settings.max_quarantined_share, settings.max_known_share
    rules = [
        Rule(
            "row_count", "critical", "is_bad", f"at least {settings.min_rows} rows",
            "", row_count,
            lambda rows, _: f"The file has {rows:,.0f} rows; at least {settings.min_rows:,} are "
            "needed",
        ),
        Rule(
            "quarantined_share", "critical", "is_bad", f"at most {bad:.1%}",
            "", mean_between(0.0, bad),
            lambda share, _: f"{share:.1%} of the rows break a row rule; the limit is {bad:.1%}",
        ),
        Rule(
            "known_share", "critical", "is_known", f"at most {repeated:.1%}",
            "", mean_between(0.0, repeated),
            lambda share, _: f"{share:.1%} of the rows count already; the limit is "
            f"{repeated:.1%}",
        ),
    ]  # fmt: skip
    if delivered_rows < settings.balance_min_rows:
        return rules
    return [*rules, *_balance_rules(settings)]


def _balance_rules(settings: ValidationSettings) -> list[Rule]:
    low, high = settings.min_positive_share, settings.max_positive_share
    usual_low, usual_high = settings.warn_positive_share_low, settings.warn_positive_share_high
    return [
        Rule(
            "class_balance", "critical", "is_positive", f"{low:.0%} ... {high:.0%}",
            "", mean_between(low, high),
            lambda share, _: f"{share:.1%} of the reviews are positive; {low:.0%} to {high:.0%} is "
            "allowed",
        ),
        Rule(
            "class_balance_unusual", "warning", "is_positive",
            f"{usual_low:.0%} ... {usual_high:.0%}",
            "", mean_between(usual_low, usual_high),
            lambda share, _: f"{share:.1%} of the reviews are positive; {usual_low:.0%} to "
            f"{usual_high:.0%} is usual",
        ),
    ]  # fmt: skip


def mean_between(low: float | None, high: float | None) -> Callable[..., Any]:
    """An expectation on the mean of a column; without any value it fails."""
    import great_expectations.expectations as gxe

    def build(column: str, **common: Any) -> Any:
        return gxe.ExpectColumnMeanToBeBetween(
            column=column, min_value=low, max_value=high, **common
        )

    return build
