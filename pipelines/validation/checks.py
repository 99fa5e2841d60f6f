"""Check decoded rows: each row, then the delivery as a whole, then its history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipelines.core.escaping import visible
from pipelines.core.settings.data import ValidationSettings
from pipelines.intake.files.reading import POSITIVE
from pipelines.intake.files.rows import Rows
from pipelines.intake.files.spooled_rows import SpooledRows
from pipelines.records.validations import Agreement, Profile, RuleResult
from pipelines.validation import drift, profiles, rules
from pipelines.validation.drift import Labeller
from pipelines.validation.gx_runner import Finding, run_rules
from pipelines.validation.history import History, empty
from pipelines.validation.measurements import Measured, measure

if TYPE_CHECKING:
    import pandas as pd

Positions = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Checked:
    """What the checks of a delivery's rows found.

    Parameters
    ----------
    findings : list of Finding
        Of every rule.
    notes : tuple of RuleResult
        What could not be checked.
    reasons : dict of int to list of str
        Position of each row that breaks a row rule, with its reason codes.
    good : ndarray of shape (n_good_rows,)
        Positions of all other rows, ascending.
    measured : Measured
        The rows as numbers.
    profile : Profile
        Of the rows that break no row rule.
    agreement : Agreement or None
        With the champion, if there is one.
    found : dict
        As `Rows.found`.
    disputed : tuple of int
        Positions of the rows that the champion labels otherwise, those that it is surest of first.
    """

    findings: list[Finding]
    notes: tuple[RuleResult, ...]
    reasons: dict[int, list[str]]
    good: Positions
    measured: Measured
    profile: Profile
    agreement: Agreement | None
    found: dict[str, dict[str, int]]
    disputed: tuple[int, ...] = ()

    @property
    def results(self) -> Iterator[RuleResult]:
        """Every finding in numbers and as a sentence, then what was not checked."""
        for finding in self.findings:
            yield result(finding, len(self.measured.frame), self.found)
        yield from self.notes


def check_rows(
    rows: Rows | SpooledRows,
    *,
    night: date,
    settings: ValidationSettings,
    history: History | None = None,
    labeller: Labeller | None = None,
) -> Checked:
    """Run the row rules, then on what they leave the rules on the delivery as a whole.

    Parameters
    ----------
    rows : Rows or SpooledRows
        As decoded.
    night : date
        The day the delivery was made for.
    settings : ValidationSettings
        The limits.
    history : History, optional
        What earlier nights counted; without it nothing is compared.
    labeller : Labeller, optional
        The champion.
    """
    history = history or empty(night.isoformat())
    measured = measure(rows, night=night, settings=settings, known=history.known)
    findings = run_rules(measured.frame, rules.row_rules(settings)) if len(rows) else []
    reasons = _reasons(findings)
    good = np.delete(np.arange(len(rows)), list(reasons))
    profile = profiles.describe(measured, good)
    scores = _scores(rows, good, labeller)
    are_positive = (measured.frame["label"] == POSITIVE).to_numpy()[good]
    agreed = drift.agreement(scores >= 0.5, are_positive, labeller, history)
    compared: list[drift.Compared] = []  # without good rows it is held, and nothing is compared
    if len(good):
        compared = [
            drift.freshness(date.fromordinal(measured.days[good].max()), night, settings),
            *drift.with_history(profile, len(rows), history, settings),
            drift.with_champion(agreed, settings, source=history.source),
        ]
    batch = _batch_frame(measured.frame, reasons, compared)
    batch_rules = rules.batch_rules(settings, delivered_rows=len(rows))
    findings += run_rules(batch, [*batch_rules, *drift.as_rules(compared)])
    return Checked(
        findings=findings,
        notes=tuple(drift.notes(compared)),
        reasons=reasons,
        good=good,
        measured=measured,
        profile=profile,
        agreement=agreed,
        found=rows.found,
        disputed=_disputed(scores, are_positive, good) if len(scores) else (),
    )


def _disputed(
    scores: NDArray[np.float64], are_positive: NDArray[np.bool_], good: Positions
) -> tuple[int, ...]:
    """Rows that are equally sure to three digits keep their order, on every machine."""
    is_disputed = (scores >= 0.5) != are_positive
    certainty = np.abs(scores[is_disputed] - 0.5).round(3)
    return tuple(good[is_disputed][np.argsort(-certainty, kind="stable")].tolist())


def _reasons(findings: list[Finding]) -> dict[int, list[str]]:
    reasons: dict[int, list[str]] = {}
    for finding in findings:
        for row in finding.rows:
            reasons.setdefault(row, []).append(finding.rule.name)
    return reasons


def _batch_frame(
    frame: pd.DataFrame, reasons: dict[int, list[str]], compared: list[drift.Compared]
) -> pd.DataFrame:
    """One row per delivered row; what is compared is one number, in the first row."""
    import pandas as pd

    positions = pd.Series(range(len(frame)), dtype="int64")
    harmless = {row for row, codes in reasons.items() if rules.HARMLESS_REASONS.issuperset(codes)}
    is_known = positions.isin(
        [row for row in harmless if rules.KNOWN_REASONS.intersection(reasons[row])]
    )
    is_bad = positions.isin(list(set(reasons) - harmless))
    is_positive = (frame["label"] == POSITIVE).astype("float64").mask(positions.isin(list(reasons)))
    return pd.DataFrame(
        {
            "is_bad": is_bad.astype("float64"),
            "is_known": is_known.astype("float64"),
            "is_positive": is_positive,
            **{fact.name: pd.Series([fact.value]) for fact in compared if not fact.why_not},
        }
    )


def _scores(
    rows: Rows | SpooledRows, good: Positions, labeller: Labeller | None
) -> NDArray[np.float64]:
    """How likely each good row is positive, says the champion; empty without a champion."""
    if labeller is None or not len(good):
        return np.empty(0, np.float64)
    scores = [
        labeller.positive_scores([text for text in block.text if text is not None])
        for _, block in rows.select(good.tolist())
    ]
    return np.concatenate([np.asarray(part, np.float64) for part in scores])


# ── In words ─────────────────────────────────────────────────────────────────────────────────


def result(
    finding: Finding, delivered_rows: int, found: Mapping[str, Mapping[str, int]]
) -> RuleResult:
    """A finding in numbers and as a sentence. A crashed check is critical, whatever it checks."""
    rule = finding.rule
    return RuleResult(
        rule=rule.name,
        severity="critical" if finding.has_crashed else rule.severity,
        is_passed=finding.is_passed,
        observed=float(len(finding.rows)) if rule.severity == "row" else finding.observed,
        limit=rule.limit,
        rows=len(finding.rows),
        sentence=_sentence(finding, delivered_rows, found.get(rule.name, {})),
    )


def extra_columns(rows: Rows | SpooledRows) -> RuleResult:
    """A warning about columns that nobody agreed on."""
    count = len(rows.extra_columns)
    names = f": {[name[:40] for name in rows.extra_columns[:10]]}" if count else ""
    return RuleResult(
        rule="extra_columns",
        severity="warning",
        is_passed=count == 0,
        observed=float(count),
        limit="none",
        rows=0,
        sentence=f"{count} columns beyond the agreed ones are ignored{names}.",
    )


def _sentence(finding: Finding, delivered_rows: int, found: Mapping[str, int]) -> str:
    rule = finding.rule
    if finding.has_crashed:
        return f"The check {rule.name} itself failed to run, so the delivery is not accepted."
    if rule.severity == "row":
        count = len(finding.rows)
        values = _values(found) if count else ""
        return (
            f"{count:,} of {delivered_rows:,} rows {rule.meaning} (expected: {rule.limit}){values}."
        )
    if finding.observed is None or rule.says is None:
        return f"{rule.name} cannot be computed (allowed: {rule.limit})."
    return f"{rule.says(finding.observed, finding.is_passed)} ({rule.name})."


def _values(found: Mapping[str, int]) -> str:
    """The first distinct values and how many rows have each; the values are foreign."""
    shown = (f"'{visible(value)}' ({count:,})" for value, count in found.items())
    return f"; found {', '.join(shown)}" if found else ""
