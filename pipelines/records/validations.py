"""Records of a validation: its rules, findings and profile."""

from __future__ import annotations

from typing import Literal

from pipelines.core import keys
from pipelines.core.record import NightDate, Record, Sha256, VersionId
from pipelines.records.data import WithRows
from pipelines.records.deliveries import DeliveryVerdict

Severity = Literal["critical", "row", "warning", "note"]  # a note says what was not checked


class RuleResult(Record):
    """The result of one validation rule, in numbers and as a sentence."""

    rule: str
    severity: Severity
    is_passed: bool
    observed: float | None
    limit: str
    rows: int
    sentence: str


class Profile(Record):
    """The rows of a delivery that break no row rule, as histograms (see `validation.profiles`)."""

    rows: int
    positive_rows: int
    chars: tuple[int, ...]  # rows per bin of text length
    ngrams: tuple[int, ...]  # distinct word n-grams per bin of their hash


class Agreement(Record):
    """How often the champion reads a delivery's texts as they are labelled."""

    champion: VersionId
    rows: int
    agreeing_rows: int
    expected: float  # share in the source's earlier deliveries, else in the champion's holdout
    expected_rows: int  # on which that share was counted
    is_own: bool  # whether it is the source's own


class Basis(Record):
    """All that a validation depends on, except the delivery: the same basis, the same findings."""

    rules: Sha256  # settings, code and libraries
    before: NightDate  # compared with what earlier nights counted
    known: Sha256  # of the texts that counted already
    trailing: tuple[str, ...]  # reports of the source's recent deliveries, oldest first
    champion: VersionId | None  # whose predictions were compared with the labels


class Example(Record):
    """One row that breaks a row rule, cut short. The text is hostile: escape it."""

    row: int  # position in the delivery, from 0
    reasons: tuple[str, ...]
    review_id: str
    text: str
    label: str = ""  # as it was delivered


MOST_DISPUTED_CHARS = 8_000  # of 10,000 reviews of IMDB, three are longer


class Disputed(Record):
    """One row that the champion labels otherwise, for a person who must judge it.

    The text is hostile: escape it.
    """

    row: int  # position in the delivery, from 0
    review_id: str
    label: str  # as it was delivered; the champion reads the other one
    text: str  # whole, up to `MOST_DISPUTED_CHARS`


class Validation(WithRows):
    """All results of validating one delivery."""

    schema_version: Literal[1] = 1
    delivery: Sha256
    verdict: DeliveryVerdict
    why: str
    basis: Basis
    delivered_rows: int
    accepted_rows: int
    quarantined_rows: int
    held_rows: int
    reasons: dict[str, int]  # reason code -> rows that carry it; a row may carry several
    rules: tuple[RuleResult, ...]
    examples: tuple[Example, ...] = ()
    disputed: tuple[Disputed, ...] = ()  # the surest, where the champion agrees too rarely
    profile: Profile | None = None  # None: no rows could be read
    reference: Profile | None = None  # of the trailing deliveries together
    agreement: Agreement | None = None
    page_sha256: Sha256  # of the report for people, which is drawn from the other fields

    @property
    def object_key(self) -> str:
        return keys.validation_key(self.delivery, self.basis.digest())

    @property
    def failed_rules(self) -> list[RuleResult]:
        """Rules that did not pass, those that hold first."""
        order = ("critical", "row", "warning")
        failed = [rule for rule in self.rules if not rule.is_passed and rule.severity in order]
        return sorted(failed, key=lambda rule: order.index(rule.severity))
