"""One incident for a person woken at 3 a.m.: what failed, which rows, since when, what to press.

Everything comes from stored records. Each record that cannot be read becomes a sentence under
``problems``, and the rest is still shown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pipelines.core.errors import (
    LoopError,
    ObjectMissingError,
    TrustError,
    concerns_one_record,
    sentence,
)
from pipelines.core.keys import DELIVERIES, RECEIPTS, delivery_key, missing_key, outcome_key
from pipelines.core.parallel import in_parallel
from pipelines.core.store.bucket import Bucket
from pipelines.intake import standings
from pipelines.intake.landing import checked_night
from pipelines.intake.standings import Standing
from pipelines.pages.read import Reigning, Unreadable, read_all, reigning
from pipelines.pages.views import incidents, remedies
from pipelines.pages.views.remedies import NOTHING_TO_DO, Remedies
from pipelines.records.deliveries import Delivery, MissingDelivery, Outcome, Receipt
from pipelines.records.validations import RuleResult, Validation
from pipelines.registry.registry import Registry
from pipelines.validation import report

logger = logging.getLogger(__name__)

MOST_READ = 60  # other files of the night whose present state is read
WHY = "To see why, run: python -m pipelines champion show"
MISSING_RUNBOOK = "docs/runbooks/missing-delivery.md"
SET_ASIDE_RUNBOOK = "docs/runbooks/set-aside-delivery.md"

Value = TypeVar("Value")


@dataclass(frozen=True)
class Other:
    """Another file of the night: its own rows, as they stand now."""

    landing_key: str
    delivery: str
    verdict: str
    delivered_rows: int = 0
    accepted_rows: int = 0
    quarantined_rows: int = 0
    held_rows: int = 0


@dataclass(frozen=True)
class RestOfNight:
    """The other deliveries of the night, which the incident does not affect.

    ``unreadable`` counts the files whose receipt or ledger entry cannot be read.
    """

    night: str
    others: tuple[Other, ...] = ()
    unreadable: int = 0

    @property
    def accepted_rows(self) -> int:
        return sum(other.accepted_rows for other in self.others)

    @property
    def held(self) -> int:
        """How many of the others are held, too."""
        return sum(other.verdict == "HELD" for other in self.others)


@dataclass(frozen=True)
class Look:
    """The content of the page on one delivery."""

    sha256: str
    runbook: str
    problems: tuple[str, ...]
    champion: Reigning | None
    delivery: Delivery | None = None
    standing: Standing | None = None
    validation: Validation | None = None
    last_good: Outcome | None = None
    differences: tuple[tuple[str, str, str], ...] = ()
    rest: RestOfNight | None = None
    conflict: str | None = None
    remedies: Remedies = NOTHING_TO_DO
    stored_at: str = ""  # of its ledger entry, by the store's clock; ISO 8601

    @property
    def failed(self) -> list[RuleResult]:
        """Rules that did not pass, those that hold first."""
        return self.validation.failed_rules if self.validation else []

    @property
    def state(self) -> str:
        return incidents.state_of(self.standing) if self.standing else "open"

    @property
    def is_poison_alarm(self) -> bool:
        return remedies.is_poison_alarm(self.validation)

    @property
    def is_unreadable(self) -> bool:
        return remedies.is_unreadable(self.validation)

    @property
    def settled_by(self) -> str:
        return incidents.settled_by(self.standing) if self.standing else ""


@dataclass(frozen=True)
class MissingLook:
    """The content of the page on a silent source."""

    runbook: str
    problems: tuple[str, ...]
    champion: Reigning | None
    missing: MissingDelivery | None = None
    rest: RestOfNight | None = None


@dataclass
class _Reader:
    """Reads what can be read, and keeps the sentences on what cannot."""

    problems: list[str] = field(default_factory=list)

    def __call__(self, read: Callable[[], Value]) -> Value | None:
        try:
            return read()
        except Exception as error:
            if not concerns_one_record(error):
                raise
            is_expected = isinstance(error, LoopError)
            logger.warning("page shows a gap: %s", sentence(error), exc_info=not is_expected)
            self.problems.append(sentence(error))
            return None

    def champion(self, registry: Registry) -> Reigning | None:
        """The champion, from another bucket: it may be out of reach when this one is not."""
        unknown = "Cannot tell whether a champion answers:"
        try:
            return reigning(registry)
        except Exception as error:  # noqa: BLE001 - the incident is still shown
            logger.warning("the champion cannot be read: %s", sentence(error))
            # Another error names the store's address, which is not for every viewer.
            why = str(error) if isinstance(error, TrustError | ObjectMissingError) else (
                f"its bucket cannot be read. {WHY}"
            )  # fmt: skip
            self.problems.append(f"{unknown} {why}")
        return None


def look(reviews: Bucket, registry: Registry, sha256: str) -> Look | None:
    """One delivery; None when it is not in the ledger."""
    listed = reviews.list(f"{DELIVERIES}{sha256}/")
    if not listed:
        return None
    read = _Reader()
    delivery = read(lambda: reviews.get_record(delivery_key(sha256), Delivery))
    standing = read(lambda: standings.find(reviews, sha256))
    validation = read(lambda: _validation(reviews, standing))
    last_good, lines = read(lambda: _beside_last_good(reviews, read, validation)) or (None, [])
    night = standing.outcome.counted_in if standing else None
    receipts = _receipts(reviews, night) if night else []
    return Look(
        sha256, remedies.runbook_of(validation),
        champion=read.champion(registry), problems=tuple(read.problems),
        delivery=delivery, standing=standing, validation=validation,
        last_good=last_good, differences=tuple(lines),
        rest=_night(reviews, receipts, night, sha256) if night else None,
        conflict=_conflict(receipts, sha256), remedies=remedies.remedies(standing, validation),
        stored_at=next((info.stored_at for info in listed if info.key == outcome_key(sha256)), ""),
    )  # fmt: skip


def _validation(reviews: Bucket, standing: Standing | None) -> Validation | None:
    return report.read(reviews, standing.validation_key) if standing else None


def _beside_last_good(
    reviews: Bucket, read: _Reader, validation: Validation | None
) -> tuple[Outcome | None, list[tuple[str, str, str]]]:
    """The source's last accepted delivery, and the differences from it."""
    if validation is None or not validation.basis.trailing:
        return None, []
    key = validation.basis.trailing[-1]
    then = read(lambda: report.read(reviews, key))
    if then is None:
        return None, []
    outcome = read(lambda: reviews.get_record(outcome_key(then.delivery), Outcome))
    return outcome, report.differences(validation, then)


def _night(
    reviews: Bucket, receipts: Sequence[Receipt | Unreadable], night: str, sha256: str = ""
) -> RestOfNight:
    beside = [
        receipt for receipt in receipts
        if isinstance(receipt, Unreadable) or receipt.delivery != sha256
    ]  # fmt: skip
    # What people may have decided since is read of the held ones first, and of so many at most.
    beside.sort(key=lambda receipt: isinstance(receipt, Receipt) and receipt.verdict != "HELD")
    read = in_parallel(lambda receipt: _as_it_stands(reviews, receipt), beside[:MOST_READ])
    others = [other for other in read if other is not None]
    others += [_as_delivered(one) for one in beside[MOST_READ:] if isinstance(one, Receipt)]
    in_order = sorted(others, key=lambda other: other.landing_key)
    return RestOfNight(night, tuple(in_order), len(beside) - len(others))


def _as_delivered(receipt: Receipt) -> Other:
    """What became of a file's rows at first."""
    return Other(
        receipt.landing_key, receipt.delivery, receipt.verdict, receipt.delivered_rows,
        receipt.accepted_rows, receipt.quarantined_rows, receipt.held_rows,
    )  # fmt: skip


def _as_it_stands(reviews: Bucket, receipt: Receipt | Unreadable) -> Other | None:
    """What became of a file's rows, replays included; None if that cannot be read."""
    if isinstance(receipt, Unreadable):
        return None
    if receipt.verdict == "DUPLICATE":  # its rows are those of another file
        return Other(receipt.landing_key, receipt.delivery, receipt.verdict)
    try:
        standing = standings.find(reviews, receipt.delivery)
    except Exception as error:
        if not concerns_one_record(error):
            raise
        return None
    if standing is None:
        return None
    identity = (receipt.landing_key, receipt.delivery, standing.verdict)
    if not receipt.delivered_rows:
        return Other(*identity)
    now = standing.newest
    return Other(
        *identity, now.delivered_rows, standing.accepted_rows, now.quarantined_rows, now.held_rows
    )


def _receipts(reviews: Bucket, night: str) -> list[Receipt | Unreadable]:
    keys = [info.key for info in reviews.list(f"{RECEIPTS}{night}/")]
    return read_all(reviews, keys, Receipt)


def _conflict(receipts: Sequence[Receipt | Unreadable], sha256: str) -> str | None:
    """The delivery that had the same name first, according to the receipt."""
    readable = (receipt for receipt in receipts if isinstance(receipt, Receipt))
    conflicts = (receipt.conflicts_with for receipt in readable if receipt.delivery == sha256)
    return next(filter(None, conflicts), None)


def _missing(reviews: Bucket, key: str, night: str, source: str) -> MissingDelivery:
    missing = reviews.get_record(key, MissingDelivery)
    if (missing.night, missing.source) != (night, source):
        raise TrustError(f"{reviews.uri(key)} holds the record of another night or source")
    return missing


def look_at_missing(
    reviews: Bucket, registry: Registry, night: str, source: str
) -> MissingLook | None:
    """A source that was overdue on a night; None when the record does not exist.

    Raises
    ------
    DataError
        If ``night`` is not a day.
    """
    checked_night(night)
    key = missing_key(night, source)
    if reviews.find(key) is None:
        return None
    read = _Reader()
    missing = read(lambda: _missing(reviews, key, night, source))
    return MissingLook(
        MISSING_RUNBOOK,
        champion=read.champion(registry),
        problems=tuple(read.problems),
        missing=missing,
        rest=_night(reviews, _receipts(reviews, night), night),
    )
