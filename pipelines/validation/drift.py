"""Compare a delivery with what is usual for its source: age, size, balance, lengths, words, labels.

Each comparison is one number with two limits: above the first it is shown, above the second it
holds the delivery. The limits widen with chance, so a small delivery raises no false alarm. What
cannot be compared yet becomes a note, never a pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.core.settings.data import ValidationSettings
from pipelines.records.validations import Agreement, Profile, RuleResult
from pipelines.validation import profiles
from pipelines.validation.history import History
from pipelines.validation.profiles import CHANCE_FACTOR
from pipelines.validation.rules import Rule, mean_between


class Labeller(Protocol):
    """A champion that labels texts; the caller of the validation provides it."""

    version: str
    holdout_accuracy: float  # share, in its own evaluation
    holdout_rows: int

    def positive_scores(self, texts: Sequence[str]) -> Sequence[float]:
        """How likely each text is positive, in [0, 1]; from 0.5 on it is labelled so."""


@dataclass(frozen=True)
class Compared:
    """One number that a delivery is compared by, or why it cannot be.

    ``meaning`` is the start of a sentence that goes on with how the number lies to a limit, which
    is shown in ``unit``: a number, or points of a share.
    """

    name: str
    meaning: str
    unit: Literal["", "days", "points", "times"] = ""
    value: float | None = None
    usual_low: float | None = None
    usual_high: float | None = None
    low: float | None = None
    high: float | None = None
    why_not: str = ""


def freshness(newest: date | None, night: date, settings: ValidationSettings) -> Compared:
    """How old the newest review is that breaks no row rule."""
    return Compared(
        "freshness",
        "The age of the newest review"
        if newest is None
        else f"The newest review was written on {newest}. Its age",
        "days",
        value=None if newest is None else float((night - newest).days),
        high=float(settings.max_age_days),
    )


def with_history(
    profile: Profile, delivered_rows: int, history: History, settings: ValidationSettings
) -> list[Compared]:
    """Compare the delivery with its source's trailing deliveries."""
    size = _row_count(delivered_rows, history, settings)
    reference = history.trailing.reference
    if reference is None or min(profile.rows, reference.rows) < settings.drift_min_rows:
        seen = reference.rows if reference else 0
        why_not = (
            f"{profile.rows:,} rows compared with {seen:,} of the trailing nights; "
            f"{settings.drift_min_rows:,} are needed on both sides"
        )
        names = ("class_balance_change", "length_drift", "vocabulary_drift")
        return [size, *(Compared(name, "", why_not=why_not) for name in names)]
    return [
        size,
        _balance(profile, reference, settings),
        _drift(
            "length_drift", "The drift of text lengths", profile.chars, reference.chars,
            settings.warn_length_psi, settings.max_length_psi,
        ),
        _drift(
            "vocabulary_drift", "The drift of words and word pairs", profile.ngrams,
            reference.ngrams, settings.warn_vocabulary_psi, settings.max_vocabulary_psi,
        ),
    ]  # fmt: skip


def _row_count(rows: int, history: History, settings: ValidationSettings) -> Compared:
    trailing = history.trailing
    name, seen, mean = "row_count_change", len(trailing.keys), trailing.mean_rows
    if mean is None or seen < settings.history_min_deliveries:
        needed = settings.history_min_deliveries
        return Compared(name, "", why_not=f"{seen} trailing deliveries, {needed} are needed")
    usual, most = settings.warn_row_count_factor, settings.max_row_count_factor
    return Compared(
        name, f"The file has {rows:,} rows; the trailing mean is {mean:,.0f}. The ratio", "times",
        rows / mean, usual_low=1 / usual, usual_high=usual, low=1 / most, high=most,
    )  # fmt: skip


def _balance(profile: Profile, reference: Profile, settings: ValidationSettings) -> Compared:
    now = profile.positive_rows / profile.rows
    before = reference.positive_rows / reference.rows
    by_chance = CHANCE_FACTOR * _standard_error(before, profile.rows, reference.rows)
    return Compared(
        "class_balance_change",
        f"The share of positive reviews went from {before:.1%} to {now:.1%}. The change",
        "points",
        abs(now - before),
        usual_high=max(settings.warn_positive_share_change, by_chance),
        high=max(settings.max_positive_share_change, by_chance),
    )


def _drift(
    name: str,
    meaning: str,
    counts: tuple[int, ...],
    reference: tuple[int, ...],
    usual: float,
    most: float,
) -> Compared:
    by_chance = CHANCE_FACTOR * profiles.chance(counts, reference)
    value = profiles.distance(counts, reference)
    return Compared(
        name, meaning, value=value,
        usual_high=max(usual, by_chance), high=max(most, by_chance),
    )  # fmt: skip


def agreement(
    answers: NDArray[np.bool_],
    are_positive: NDArray[np.bool_],
    labeller: Labeller | None,
    history: History,
) -> Agreement | None:
    """Compare the labels with the champion's answers; None without a champion."""
    if labeller is None or not len(answers):
        return None
    rows = history.trailing.labelled_rows
    usual = history.trailing.agreeing_rows / rows if rows else labeller.holdout_accuracy
    return Agreement(
        champion=labeller.version,
        rows=len(answers),
        agreeing_rows=int((answers == are_positive).sum()),
        expected=usual,
        expected_rows=rows or labeller.holdout_rows,
        is_own=bool(rows),
    )


def with_champion(
    agreement: Agreement | None, settings: ValidationSettings, *, source: str
) -> Compared:
    """Check that the champion agrees with a source's labels as usual: a poison alarm."""
    name = "label_agreement"
    if agreement is None:
        return Compared(name, "", why_not="there is no champion that could label the texts")
    if agreement.rows < settings.drift_min_rows:
        needed = settings.drift_min_rows
        return Compared(name, "", why_not=f"{agreement.rows:,} rows, {needed:,} are needed")
    now, usual = agreement.agreeing_rows / agreement.rows, agreement.expected
    by_chance = CHANCE_FACTOR * _standard_error(usual, agreement.rows, agreement.expected_rows)
    of_source = f" of source {source!r}" if source else ""
    compared_with = (
        f"{usual:.1%} is usual{f' for {source}' if source else ''}"
        if agreement.is_own
        else f"{usual:.1%} is its accuracy in its own evaluation"
    )
    return Compared(
        name,
        f"The champion agrees with {now:.1%} of these labels{'' if agreement.is_own else of_source}"
        f"; {compared_with}. The drop",
        "points",
        usual - now,
        usual_high=max(settings.warn_agreement_drop, by_chance),
        high=max(settings.max_agreement_drop, by_chance),
    )


def _standard_error(share: float, rows: int, other_rows: int) -> float:
    """The standard error of the difference of two equal shares; never 0."""
    spread = max(share * (1 - share), 0.01)
    return math.sqrt(spread * (1 / rows + 1 / max(other_rows, 1)))


def as_rules(compared: list[Compared]) -> list[Rule]:
    """The rules that check what could be compared; each reads the column of its name."""
    return [rule for fact in compared if not fact.why_not for rule in _rules(fact)]


def _rules(fact: Compared) -> Iterator[Rule]:
    yield Rule(
        fact.name, "critical", fact.name, _shown(fact.low, fact.high), "",
        mean_between(fact.low, fact.high), _says(fact, fact.low, fact.high, "the limit"),
    )  # fmt: skip
    if fact.usual_high is not None:
        yield Rule(
            f"{fact.name}_unusual", "warning", fact.name, _shown(fact.usual_low, fact.usual_high),
            "", mean_between(fact.usual_low, fact.usual_high),
            _says(fact, fact.usual_low, fact.usual_high, "the usual limit"),
        )  # fmt: skip


def _says(
    fact: Compared, low: float | None, high: float | None, limit: str
) -> Callable[[float, bool], str]:
    """How a number lies to its limits, in words."""

    def say(value: float, is_passed: bool) -> str:
        of = f"{fact.meaning} of {_amount(value, fact.unit)}"
        if is_passed:
            return f"{of} is within {limit}{_limits(low, high, fact.unit)}"
        if low is not None and value < low:
            return f"{of} is below {limit} of {_amount(low, fact.unit)}"
        return f"{of} exceeds {limit} of {_amount(high, fact.unit)}"

    return say


def _limits(low: float | None, high: float | None, unit: str) -> str:
    if low is None:
        return f" of {_amount(high, unit)}"
    return f"s of {_amount(low, unit)} and {_amount(high, unit)}"


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "none"
    if unit == "points":
        return f"{100 * value:.1f} points"
    return f"{value:.3g} {unit}".strip()


def _shown(low: float | None, high: float | None) -> str:
    return f"at most {high:.4g}" if low is None else f"{low:.4g} ... {high:.4g}"


def notes(compared: list[Compared]) -> Iterator[RuleResult]:
    """What could not be compared, and why: neither passed nor failed."""
    for fact in compared:
        if fact.why_not:
            yield RuleResult(
                rule=fact.name,
                severity="note",
                is_passed=True,
                observed=None,
                limit="",
                rows=0,
                sentence=f"{fact.name}: not compared: {fact.why_not}.",
            )
