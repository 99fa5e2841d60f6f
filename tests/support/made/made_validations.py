"""Records of a validation."""

from __future__ import annotations

from datetime import date

from pipelines.records.deliveries import Delivery
from pipelines.records.validations import Basis, Example, Profile, RuleResult, Validation


def a_profile(rows: int, *, positive: int) -> Profile:
    chars = (0, 0, 0, 0, rows, *[0] * 11)
    return Profile(rows=rows, positive_rows=positive, chars=chars, ngrams=(1,) * 256)


def a_validation(text: str = "A text.", **changes) -> Validation:
    basis = Basis(rules="0" * 64, before="2026-01-09", known="1" * 64, trailing=(), champion=None)
    rule = RuleResult(
        rule="text_html", severity="row", is_passed=False, observed=1.0, limit=text, rows=1,
        sentence=f"1 of 40 rows is odd: {text}",
    )  # fmt: skip
    facts = {
        "delivery": "a" * 64, "verdict": "HELD", "why": f"Because: {text}", "basis": basis,
        "delivered_rows": 40, "accepted_rows": 0, "quarantined_rows": 0, "held_rows": 40,
        "reasons": {"text_html": 1}, "rules": (rule,), "accepted": None, "quarantined": None,
        "examples": (Example(row=7, reasons=("text_html",), review_id=text, text=text),),
        "profile": a_profile(40, positive=10), "reference": a_profile(80, positive=40),
        "page_sha256": "e" * 64,
    }  # fmt: skip
    return Validation(**(facts | changes))


def a_delivery(name: str = "r.csv") -> Delivery:
    return Delivery(
        sha256="a" * 64, source="web", landing_key=f"landing/web/{date(2026, 1, 9)}/{name}",
        file_format="csv", is_gzipped=False, size_bytes=1, night="2026-01-09", raw_key=None,
    )  # fmt: skip
