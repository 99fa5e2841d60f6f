"""The page on what a validation found: one file, no script, nothing from elsewhere.

Reviews, names of files and columns are hostile: every value goes through Jinja2's escaping, what
hides or reverses text is spelled out, and texts were cut short before they came here.
"""

from __future__ import annotations

import itertools
import logging
from typing import Any

from pipelines.core import links, templating
from pipelines.core.errors import ObjectMissingError, TrustError
from pipelines.core.keys import delivery_key
from pipelines.core.links import VALIDATION_KEY
from pipelines.core.store.bucket import Bucket
from pipelines.records.deliveries import Delivery
from pipelines.records.validations import Agreement, Profile, RuleResult, Validation
from pipelines.validation import profiles
from pipelines.validation.profiles import LENGTH_EDGES

logger = logging.getLogger(__name__)

_WIDTH, _HEIGHT, _FOOT = 640, 160, 18
_RUNBOOK = "docs/runbooks/held-delivery.md"
_POISONED_RUNBOOK = "docs/runbooks/poisoned-labels.md"


def render(
    validation: Validation, delivery: Delivery, last_good: Validation | None, *,
    base: str | None = None,
) -> str:  # fmt: skip
    """The page on one delivery.

    Parameters
    ----------
    validation : Validation
        What was found.
    delivery : Delivery
        The delivery that was validated.
    last_good : Validation or None
        Of the last delivery of the same source that counts.
    base : str, optional
        What Airflow's root is called, for a page that Airflow shows: it leads to other pages. The
        stored page leads nowhere.
    """
    failed = validation.failed_rules
    return templating.markup("pipelines.validation").get_template("report.html.jinja").render(
        validation=validation,
        delivery=delivery,
        runbook=runbook_of(validation),
        base=base,
        incident=links.incidents_link(delivery.sha256),
        incidents=links.incidents_link(),
        runbook_page=links.runbook_link(runbook_of(validation)),
        failed=failed,
        passed=_in_order([rule for rule in validation.rules if rule.is_passed]),
        differences=differences(validation, last_good) if last_good else [],
        bars=_bars(validation.profile, validation.reference),
        labels=[(_x(bin_), edge) for bin_, edge in enumerate(LENGTH_EDGES) if bin_ % 2 == 0],
        width=_WIDTH,
        height=_HEIGHT,
    )  # fmt: skip


def read(reviews: Bucket, key: str) -> Validation:
    """The validation that a record names.

    Raises
    ------
    TrustError
        If the key is not that of a validation, or it belongs to another delivery.
    ObjectMissingError
        If it is not there.
    """
    match = VALIDATION_KEY.fullmatch(key)
    if match is None:
        raise TrustError(f"{key[:200]!r} is not the key of a validation")
    validation = reviews.get_record(key, Validation)
    if validation.delivery != match[1]:
        raise TrustError(f"{reviews.uri(key)} belongs to another delivery, {validation.delivery}")
    return validation


def runbook_of(validation: Validation) -> str:
    """The runbook for what failed: wrong labels need more care than anything else."""
    is_alarm = any(
        rule.rule == "label_agreement" and rule.severity == "critical"
        for rule in validation.failed_rules
    )
    return _POISONED_RUNBOOK if is_alarm else _RUNBOOK


def page(reviews: Bucket, key: str, *, base: str | None = None) -> str:
    """The page on a validation, drawn from the records again: a stored page may have been changed.

    Raises
    ------
    TrustError, ObjectMissingError
        If the validation or the delivery cannot be read.
    """
    validation = read(reviews, key)
    delivery = reviews.get_record(delivery_key(validation.delivery), Delivery)
    return render(validation, delivery, _last_good(reviews, validation), base=base)


def _last_good(reviews: Bucket, validation: Validation) -> Validation | None:
    if not validation.basis.trailing:
        return None
    try:
        return read(reviews, validation.basis.trailing[-1])
    except (TrustError, ObjectMissingError) as error:
        logger.warning("the page has no differences: %s", error)
        return None


def _in_order(rules: list[RuleResult]) -> list[RuleResult]:
    return sorted(rules, key=lambda rule: rule.severity != "note")


def differences(now: Validation, then: Validation) -> list[tuple[str, str, str]]:
    """Compare two deliveries: what is compared, now, then."""
    counts = [
        ("rows delivered", now.delivered_rows, then.delivered_rows),
        ("rows quarantined", now.quarantined_rows, then.quarantined_rows),
        *(
            (f"rows with {code}", now.reasons.get(code, 0), then.reasons.get(code, 0))
            for code in sorted({*now.reasons, *then.reasons})
        ),
    ]
    lines = [
        (name, f"{new:,}", f"{old:,}")
        for name, new, old in counts
        if new or old or name == "rows delivered"
    ]
    return [
        *lines,
        ("share of positive reviews", _positive(now.profile), _positive(then.profile)),
        ("usual length in characters", _usual_length(now.profile), _usual_length(then.profile)),
        (
            "labels the champion agrees with",
            _agreeing(now.agreement),
            _agreeing(then.agreement),
        ),
        *_distances(now.profile, then.profile),
    ]


def _positive(profile: Profile | None) -> str:
    return f"{profile.positive_rows / profile.rows:.1%}" if profile and profile.rows else "-"


def _usual_length(profile: Profile | None) -> str:
    """The histogram bin of the median text length."""
    if profile is None or not profile.rows:
        return "-"
    counted = itertools.accumulate(profile.chars)
    middle = next(bin_ for bin_, rows in enumerate(counted) if 2 * rows >= profile.rows)
    if middle + 1 == len(LENGTH_EDGES):
        return f"{LENGTH_EDGES[-1]:,} and more"
    return f"{LENGTH_EDGES[middle]:,} to {LENGTH_EDGES[middle + 1]:,}"


def _agreeing(agreement: Agreement | None) -> str:
    if agreement is None or not agreement.rows:
        return "-"
    return f"{agreement.agreeing_rows / agreement.rows:.1%}"


def _distances(now: Profile | None, then: Profile | None) -> list[tuple[str, str, str]]:
    """How far lengths and words moved, and how far chance alone would move them."""
    if now is None or then is None or not now.rows or not then.rows:
        return []
    pairs = (
        ("drift of text lengths", now.chars, then.chars),
        ("drift of words", now.ngrams, then.ngrams),
    )
    return [
        (name, f"{profiles.distance(*both):.3f} (chance alone: {profiles.chance(*both):.3f})", "-")
        for name, *both in pairs
        if all(map(sum, both))
    ]


def _bars(profile: Profile | None, reference: Profile | None) -> list[dict[str, Any]]:
    """Two bars per length bin, scaled to the highest of them all."""
    shares = {
        kind: [count / shown.rows for count in shown.chars]
        for kind, shown in (("usual", reference), ("now", profile))
        if shown is not None and shown.rows
    }
    highest = max((share for kind in shares.values() for share in kind), default=0.0)
    return [
        _bar(kind, bin_, share, highest)
        for kind, of_kind in shares.items()
        for bin_, share in enumerate(of_kind)
        if share
    ]


def _bar(kind: str, bin_: int, share: float, highest: float) -> dict[str, Any]:
    height = round(share / highest * (_HEIGHT - _FOOT), 1)
    half = _WIDTH / len(LENGTH_EDGES) / 2 - 1
    return {
        "kind": kind,
        "x": round(_x(bin_) + (half if kind == "now" else 0), 1),
        "y": round(_HEIGHT - _FOOT - height, 1),
        "width": round(half, 1),
        "height": height,
        "title": f"{LENGTH_EDGES[bin_]} and more characters: {share:.1%}",
    }


def _x(bin_: int) -> float:
    return round(bin_ * _WIDTH / len(LENGTH_EDGES), 1)
