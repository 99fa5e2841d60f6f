"""Validate one delivery: decode within bounds, then Great Expectations, then a verdict.

The order matters: file, columns and row count come before values, because expectations on values
pass vacuously on an empty batch.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines import decoding, rules
from pipelines.config import IntakeSettings, Settings, ValidationSettings
from pipelines.decoding import Rows
from pipelines.errors import DigestMismatchError, UnreadableDeliveryError
from pipelines.landing import delivery_digest, parse_name
from pipelines.partitions import ACCEPTED_SCHEMA, QUARANTINE_SCHEMA, write_partition
from pipelines.provenance import rules_digest
from pipelines.records import Delivery, RuleResult, Validation
from pipelines.rules import Rule
from pipelines.store import Bucket

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """What one expectation said: did it crash, did it pass, what did it see, which rows."""

    rule: Rule
    has_crashed: bool
    is_passed: bool
    observed: float | None
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Checked:
    """All findings on a delivery's rows.

    ``reasons`` maps the position of each row that breaks a row rule to its reason codes;
    ``text_ids`` holds the text id of every row, null where there is no text.
    """

    findings: list[Finding]
    reasons: dict[int, list[str]]
    text_ids: list[str | None]


def validation_key(delivery: str, digest: str) -> str:
    return f"reports/{delivery}/{digest[:16]}/validation.json"


def validate(reviews: Bucket, delivery: Delivery, settings: Settings) -> tuple[str, Validation]:
    """Validate a delivery and store what was found; a held delivery is a result, not an error.

    Returns
    -------
    key, validation : str, Validation
        Where the record was stored, and the record.
    """
    digest = rules_digest(settings.validation, settings.intake)
    try:
        rows = _decoded(reviews, delivery, settings.intake)
    except UnreadableDeliveryError as error:
        validation = _unreadable(delivery, error, digest)
    else:
        validation = _judged(reviews, delivery, rows, settings, digest)
    key = validation_key(delivery.sha256, digest)
    reviews.put_record(key, validation)
    logger.info(
        "delivery=%s verdict=%s read=%d good=%d quarantined=%d held=%d",
        delivery.sha256, validation.verdict, validation.delivered_rows, validation.accepted_rows,
        validation.quarantined_rows, validation.held_rows,
    )  # fmt: skip
    return key, validation


def _decoded(reviews: Bucket, delivery: Delivery, intake: IntakeSettings) -> Rows:
    if delivery.raw_key is None:
        raise UnreadableDeliveryError(
            "too_large",
            f"the file has {delivery.size_bytes:,} bytes, "
            f"intake.max_delivery_bytes is {intake.max_delivery_bytes:,}.",
        )
    data = reviews.get(delivery.raw_key, max_bytes=delivery.size_bytes)
    found = delivery_digest(parse_name(delivery.landing_key), data).hexdigest()
    if found != delivery.sha256:
        raise DigestMismatchError(
            uri=reviews.uri(delivery.raw_key), expected=delivery.sha256, found=found
        )
    return decoding.decode(
        data, delivery.file_format, is_gzipped=delivery.is_gzipped, intake=intake
    )


def _unreadable(delivery: Delivery, error: UnreadableDeliveryError, digest: str) -> Validation:
    finding = RuleResult(
        rule=error.reason,
        severity="critical",
        is_passed=False,
        observed=None,
        limit="a readable file with the agreed columns",
        rows=error.rows,
        sentence=f"The file cannot be used: {error.detail}",
    )
    return Validation(
        delivery=delivery.sha256,
        verdict="HELD",
        why=finding.sentence,
        rules_digest=digest,
        delivered_rows=error.rows,
        accepted_rows=0,
        quarantined_rows=0,
        held_rows=error.rows,
        reasons={error.reason: error.rows},
        rules=(finding,),
        accepted=None,
        quarantined=None,
    )


def _judged(
    reviews: Bucket, delivery: Delivery, rows: Rows, settings: Settings, digest: str
) -> Validation:
    night = date.fromisoformat(delivery.night)
    checked = check_rows(rows, night=night, settings=settings.validation)
    reasons = checked.reasons
    results = (
        *(_result(finding, len(rows)) for finding in checked.findings),
        _extra_columns(rows),
    )
    failed = [result for result in results if not result.is_passed]
    critical = [result for result in failed if result.severity == "critical"]
    quarantined = [] if critical else sorted(reasons)
    good = [] if critical else [row for row in range(len(rows)) if row not in reasons]
    table = _accepted_table(rows, good, text_ids=checked.text_ids, source=delivery.source)
    rejects = _quarantine_table(rows, quarantined, reasons)
    return Validation(
        delivery=delivery.sha256,
        verdict="HELD" if critical else "PARTLY_ACCEPTED" if quarantined else "ACCEPTED",
        why=_why(critical, quarantined, len(rows)),
        rules_digest=digest,
        delivered_rows=len(rows),
        accepted_rows=len(good),
        quarantined_rows=len(quarantined),
        held_rows=len(rows) if critical else 0,
        reasons=_counts(reasons),
        rules=results,
        accepted=_stored(reviews, f"accepted/date={delivery.night}", table),
        quarantined=_stored(reviews, f"quarantine/date={delivery.night}", rejects),
    )


def _stored(reviews: Bucket, folder: str, table: pa.Table) -> Any:
    return write_partition(reviews, folder, table) if table.num_rows else None


def _why(critical: list[RuleResult], quarantined: list[int], rows: int) -> str:
    if critical:
        return " ".join(result.sentence for result in critical)
    if quarantined:
        return f"{len(quarantined):,} of {rows:,} rows are quarantined; the others count."
    return f"All {rows:,} rows count."


def check_rows(rows: Rows, *, night: date, settings: ValidationSettings) -> Checked:
    """Run the row rules, then the batch rules on what they leave."""
    frame = rules.metric_frame(rows, night=night, settings=settings)
    findings = run_rules(frame, rules.row_rules(settings)) if len(rows) else []
    reasons: dict[int, list[str]] = {}
    for finding in findings:
        for row in finding.rows:
            reasons.setdefault(row, []).append(finding.rule.name)
    batch = _batch_frame(frame, reasons)
    findings += run_rules(batch, rules.batch_rules(settings, delivered_rows=len(rows)))
    return Checked(findings, reasons, frame["text_id"].tolist())


def _batch_frame(frame: pd.DataFrame, reasons: dict[int, list[str]]) -> pd.DataFrame:
    import pandas as pd

    is_quarantined = pd.Series(range(len(frame)), dtype="int64").isin(list(reasons))
    is_positive = (frame["label"] == rules.POSITIVE).astype("float64").mask(is_quarantined)
    return pd.DataFrame(
        {"is_quarantined": is_quarantined.astype("float64"), "is_positive": is_positive}
    )


def run_rules(frame: pd.DataFrame, wanted: list[Rule]) -> list[Finding]:
    """Have Great Expectations check the rules, in an own context that is thrown away.

    A shared context is corrupted by tasks that run at the same time; this one lives in memory.
    """
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    in_memory = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False),
    )
    context = gx.get_context(mode="ephemeral", project_config=in_memory)
    expectations = [
        rule.expectation(rule.column, severity="critical", meta={"rule": rule.name})
        for rule in wanted
    ]
    suite = context.suites.add(gx.ExpectationSuite(name="reviews", expectations=expectations))
    source = context.data_sources.add_pandas("memory").add_dataframe_asset("rows")
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(
            name="nightly", data=source.add_batch_definition_whole_dataframe("all"), suite=suite
        )
    )
    result = definition.run(
        batch_parameters={"dataframe": frame},
        result_format={
            "result_format": "COMPLETE",
            "exclude_unexpected_values": True,
            "return_unexpected_index_query": False,
        },
    )
    by_name = {line.expectation_config.meta["rule"]: line for line in result.results}
    return [_finding(rule, by_name.get(rule.name)) for rule in wanted]


def _finding(rule: Rule, line: Any) -> Finding:
    """Great Expectations returns results in its own order and reports crashes inside them."""
    if line is None or _has_crashed(line.exception_info or {}):
        return Finding(rule, has_crashed=True, is_passed=False, observed=None, rows=())
    values = line.result
    rows = tuple(int(row) for row in values.get("unexpected_index_list") or ())
    observed = values.get("observed_value")
    is_number = observed is not None and math.isfinite(float(observed))
    return Finding(
        rule,
        has_crashed=False,
        is_passed=bool(line.success) and not rows,
        observed=float(observed) if is_number else None,
        rows=rows if rule.severity == "row" else (),
    )


def _has_crashed(info: dict[str, Any]) -> bool:
    nested = any(isinstance(part, dict) and part.get("raised_exception") for part in info.values())
    return bool(info.get("raised_exception")) or nested


def _result(finding: Finding, delivered_rows: int) -> RuleResult:
    rule = finding.rule
    return RuleResult(
        rule=rule.name,
        severity="critical" if finding.has_crashed else rule.severity,
        is_passed=finding.is_passed,
        observed=float(len(finding.rows)) if rule.severity == "row" else finding.observed,
        limit=rule.limit,
        rows=len(finding.rows),
        sentence=_sentence(finding, delivered_rows),
    )


def _extra_columns(rows: Rows) -> RuleResult:
    count = len(rows.extra_columns)
    named = f": {[name[:40] for name in rows.extra_columns[:10]]}" if count else ""
    return RuleResult(
        rule="extra_columns",
        severity="warning",
        is_passed=count == 0,
        observed=float(count),
        limit="none",
        rows=0,
        sentence=f"{count} columns beyond the agreed ones are ignored{named}.",
    )


def _sentence(finding: Finding, delivered_rows: int) -> str:
    rule = finding.rule
    if finding.has_crashed:
        return f"The check {rule.name} itself failed to run, so nothing can be said: not accepted."
    if rule.severity == "row":
        count = len(finding.rows)
        return f"{count:,} of {delivered_rows:,} rows {rule.meaning} (wanted: {rule.limit})."
    verb = "is within" if finding.is_passed else "is outside"
    return f"{rule.name}: {rule.meaning}, {_shown(finding.observed)}, {verb} {rule.limit}."


def _shown(observed: float | None) -> str:
    if observed is None:
        return "which cannot be computed"
    return f"{observed:,.0f}" if observed == int(observed) else f"{observed:.4f}"


def _counts(reasons: dict[int, list[str]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for codes in reasons.values():
        for code in codes:
            counts[code] = counts.get(code, 0) + 1
    return counts


def _accepted_table(
    rows: Rows, positions: list[int], *, text_ids: list[str | None], source: str
) -> pa.Table:
    return pa.table(
        {
            "text_id": [text_ids[row] for row in positions],
            "review_id": [rows.review_id[row] for row in positions],
            "movie_id": [rows.movie_id[row] for row in positions],
            "text": [rows.text[row] for row in positions],
            "label": [int(rows.label[row] == rules.POSITIVE) for row in positions],
            "rating": [rows.rating[row] for row in positions],
            "written_on": [rows.written_on[row] for row in positions],
            "source": [source] * len(positions),
        },
        schema=ACCEPTED_SCHEMA,
    )


def _quarantine_table(rows: Rows, positions: list[int], reasons: dict[int, list[str]]) -> pa.Table:
    return pa.table(
        {
            "row": positions,
            "reasons": [reasons[row] for row in positions],
            "review_id": [rows.review_id[row] for row in positions],
            "movie_id": [rows.movie_id[row] for row in positions],
            "text": [rows.text[row] for row in positions],
            "label": [rows.label[row] for row in positions],
            "rating": [rows.rating[row] for row in positions],
            "written_on": [rows.written_on[row] for row in positions],
        },
        schema=QUARANTINE_SCHEMA,
    )
