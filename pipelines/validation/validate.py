"""Validate one delivery: decode within bounds, then Great Expectations, then a verdict.

The order matters: file, columns and row count come before values, because expectations on values
pass vacuously on an empty batch.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from pipelines.core.errors import UnreadableDeliveryError
from pipelines.core.keys import report_key
from pipelines.core.provenance import VALIDATION, rules_digest
from pipelines.core.record import NO_BYTES, sha256_of
from pipelines.core.settings.settings import Settings
from pipelines.core.store.bucket import Bucket
from pipelines.intake.arrivals import read_rows, unreadable
from pipelines.intake.files.spooled_rows import SpooledRows
from pipelines.records.data import Snapshot
from pipelines.records.deliveries import Delivery
from pipelines.records.validations import (
    MOST_DISPUTED_CHARS,
    Basis,
    Disputed,
    Example,
    RuleResult,
    Validation,
)
from pipelines.validation import checks, history, pinned_history, report, storing
from pipelines.validation.checks import Checked
from pipelines.validation.drift import Labeller
from pipelines.validation.history import History

logger = logging.getLogger(__name__)

MOST_EXAMPLES_PER_REASON, MOST_EXAMPLE_CHARS = 3, 200
MOST_REASONS_NAMED = 3  # in the sentence on a delivery that is held for too many bad rows
MOST_DISPUTED = 20  # as many as the runbook asks a person to read
MOST_LABEL_CHARS = 40


def validate(
    reviews: Bucket,
    delivery: Delivery,
    settings: Settings,
    *,
    before: str | None = None,
    labeller: Labeller | None = None,
    learned: Snapshot | None = None,
    pinned: str | None = None,
) -> tuple[str, Validation]:
    """Validate a delivery and store what was found; a held delivery is a result, not an error.

    Parameters
    ----------
    reviews : Bucket
        Where everything is.
    delivery : Delivery
        What was delivered.
    settings : Settings
        The limits.
    before : str, optional
        Compare with what nights before this one counted; by default with nothing.
    labeller : Labeller, optional
        The champion, to compare the labels with.
    learned : Snapshot, optional
        What the champion was trained on: the ledger must have all of it still.
    pinned : str, optional
        Key of the night's history, if it was pinned (`validation.pinned_history`).

    Returns
    -------
    key, validation : str, Validation
        Where the record was stored, and the record.
    """
    past = _past(reviews, delivery, settings, before=before, learned=learned, pinned=pinned)
    basis = _basis(past, settings, labeller, delivery.source)
    try:
        rows = read_rows(reviews, delivery, settings)
    except UnreadableDeliveryError as error:
        validation = unreadable(delivery, error, basis)
    else:
        night = date.fromisoformat(delivery.night)
        checked = checks.check_rows(
            rows, night=night, settings=settings.validation, history=past, labeller=labeller
        )
        validation = _validation(
            reviews, delivery, rows, checked, (basis, past, settings.intake.partition_rows)
        )
    key = validation.object_key
    last_good = _last_good(reviews, past)
    page = report.render(validation, delivery, last_good).encode("utf-8", "replace")
    validation = validation.model_copy(update={"page_sha256": sha256_of(page)})
    reviews.put_once(report_key(key), page)
    reviews.put_record(validation)
    logger.info(
        "delivery=%s verdict=%s read=%d good=%d quarantined=%d held=%d report=%s",
        delivery.sha256, validation.verdict, validation.delivered_rows, validation.accepted_rows,
        validation.quarantined_rows, validation.held_rows, reviews.uri(report_key(key)),
    )  # fmt: skip
    return key, validation


def _past(
    reviews: Bucket,
    delivery: Delivery,
    settings: Settings,
    *,
    before: str | None,
    learned: Snapshot | None,
    pinned: str | None,
) -> History:
    """What the delivery is compared with."""
    if before is None:
        return history.empty(delivery.night)
    limits = settings.validation
    past = None
    if pinned is not None:
        past = pinned_history.find(
            reviews, pinned, source=delivery.source, before=before, settings=limits,
            learned=learned,
        )  # fmt: skip
    return past or history.collect(
        reviews, delivery=delivery.sha256, source=delivery.source, before=before,
        settings=limits, learned=learned,
    )  # fmt: skip


def _last_good(reviews: Bucket, past: History) -> Validation | None:
    """The last accepted delivery of the source, which the report shows the differences from."""
    keys = past.trailing.keys
    return reviews.get_record(keys[-1], Validation) if keys else None


def _basis(past: History, settings: Settings, labeller: Labeller | None, source: str) -> Basis:
    return Basis(
        rules=rules_digest(
            VALIDATION,
            settings.validation,
            settings.intake,
            settings.columns_of(source),
            settings.labels_of(source),
        ),
        before=past.before,
        known=past.digest,
        trailing=past.trailing.keys,
        champion=labeller.version if labeller else None,
    )


def _validation(
    reviews: Bucket,
    delivery: Delivery,
    rows: SpooledRows,
    checked: Checked,
    by: tuple[Basis, History, int],
) -> Validation:
    basis, past, partition_rows = by
    reasons = checked.reasons
    results = (*checked.results, checks.extra_columns(rows))
    critical = [rule for rule in results if rule.severity == "critical" and not rule.is_passed]
    quarantined = {} if critical else reasons
    good = checked.good[: 0 if critical else None]
    return Validation(
        delivery=delivery.sha256,
        verdict="HELD" if critical else "PARTLY_ACCEPTED" if quarantined else "ACCEPTED",
        why=_why(critical, results, quarantined, len(rows)),
        basis=basis,
        delivered_rows=len(rows),
        accepted_rows=len(good),
        quarantined_rows=len(quarantined),
        held_rows=len(rows) if critical else 0,
        reasons=dict(Counter(code for codes in reasons.values() for code in codes)),
        rules=results,
        examples=_examples(rows, reasons),
        disputed=_disputed(rows, checked.disputed, results),
        profile=checked.profile,
        reference=past.trailing.reference,
        agreement=checked.agreement,
        page_sha256=NO_BYTES,
        **storing.store_rows(
            reviews,
            delivery,
            rows,
            checked.measured,
            good=good,
            quarantined=quarantined,
            partition_rows=partition_rows,
        ),
    )


def _why(
    critical: list[RuleResult],
    results: tuple[RuleResult, ...],
    quarantined: dict[int, list[str]],
    rows: int,
) -> str:
    if critical:
        sentences = [result.sentence for result in critical]
        return " ".join([*sentences, *_main_reasons(critical, results)])
    if quarantined:
        return f"{len(quarantined):,} of {rows:,} rows are quarantined; the others count."
    return f"All {rows:,} rows count."


def _main_reasons(critical: list[RuleResult], results: tuple[RuleResult, ...]) -> list[str]:
    """What most of the rows break, if it is their number that holds the delivery."""
    if all(result.rule != "quarantined_share" for result in critical):
        return []
    broken = [result for result in results if result.severity == "row" and not result.is_passed]
    broken.sort(key=lambda result: -result.rows)
    return [f"{result.rule}: {result.sentence}" for result in broken[:MOST_REASONS_NAMED]]


def _examples(rows: SpooledRows, reasons: dict[int, list[str]]) -> tuple[Example, ...]:
    """The first few rows of each reason, cut short."""
    shown: Counter[str] = Counter()
    chosen = []
    for row, codes in sorted(reasons.items()):
        if any(shown[code] < MOST_EXAMPLES_PER_REASON for code in codes):
            shown.update(codes)
            chosen.append(row)
    return tuple(
        Example(reasons=tuple(reasons[shown_row["row"]]), **shown_row)
        for shown_row in _shown(rows, chosen)
    )


def _disputed(
    rows: SpooledRows, disputed: Sequence[int], results: Sequence[RuleResult]
) -> tuple[Disputed, ...]:
    """Rows that the champion labels otherwise, the surest first, if there are more than usual."""
    suspicious = {"label_agreement", "label_agreement_unusual"}
    if not any(rule.rule in suspicious and not rule.is_passed for rule in results):
        return ()
    chosen = disputed[:MOST_DISPUTED]
    shown = {one["row"]: one for one in _shown(rows, sorted(chosen), MOST_DISPUTED_CHARS)}
    return tuple(Disputed(**shown[row]) for row in chosen)


def _shown(
    rows: SpooledRows, positions: Sequence[int], most_chars: int = MOST_EXAMPLE_CHARS
) -> Iterator[dict[str, Any]]:
    """What is shown of the rows at ascending positions, cut short."""
    for numbers, block in rows.select(positions):
        for row, review_id, text, label in zip(
            numbers, block.review_id, block.text, block.label, strict=True
        ):
            yield {
                "row": row,
                "review_id": (review_id or "")[:MOST_EXAMPLE_CHARS],
                "text": (text or "")[:most_chars],
                "label": (label or "")[:MOST_LABEL_CHARS],
            }
