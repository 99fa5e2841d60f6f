"""The delivery ledger: content-addressed, write-once.

A delivery is named by the sha256 of its format and its bytes. ``outcome.json``, written last, is
its ledger entry: rows count only because an outcome names them. The same bytes under another name
are a duplicate, which is recorded and has no other effect.
"""

from __future__ import annotations

import logging

from pipelines.alerts import kinds
from pipelines.core import keys
from pipelines.core.errors import DeliveryHeldError, TrustError
from pipelines.core.keys import arrival_id, outcome_key, receipt_key, report_key
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.rollups import RollUp
from pipelines.intake import standings
from pipelines.intake.landing import nights_by_arrival
from pipelines.records.deliveries import Arrival, Delivery, Outcome, Receipt
from pipelines.records.validations import Validation

logger = logging.getLogger(__name__)


def find_outcome(reviews: Bucket, sha256: str) -> Outcome | None:
    """The ledger entry of a delivery; None if it was not processed to the end."""
    return reviews.find_record(outcome_key(sha256), Outcome)


def conclude(
    reviews: Bucket,
    arrival: Arrival,
    delivery: Delivery,
    validation: Validation,
    validation_key: str,
) -> Outcome:
    """Commit the outcome of a delivery; an outcome that is already there stays.

    The outcome names the arrival that led to it; every other arrival of the bytes is a duplicate.

    Raises
    ------
    TrustError
        If accepted, quarantined and held rows do not add up to the delivered ones.
    """
    counted = validation.accepted_rows + validation.quarantined_rows + validation.held_rows
    if counted != validation.delivered_rows or validation.delivery != delivery.sha256:
        raise TrustError(
            f"the validation of delivery {delivery.sha256} does not add up: "
            f"{validation.delivered_rows} delivered, {counted} accounted for"
        )
    outcome = Outcome(
        delivery=delivery.sha256,
        source=delivery.source,
        night=delivery.night,
        landing_key=arrival.landing_key,
        version_tag=arrival.version_tag,
        counted_in=arrival.night,
        verdict=validation.verdict,
        why=validation.why,
        delivered_rows=validation.delivered_rows,
        accepted_rows=validation.accepted_rows,
        quarantined_rows=validation.quarantined_rows,
        held_rows=validation.held_rows,
        validation_key=validation_key,
        **validation.stored_rows(),
    )
    return reviews.put_first(outcome)


def conclude_held(
    reviews: Bucket,
    arrival: Arrival,
    delivery: Delivery,
    validation: Validation,
    validation_key: str,
) -> Outcome | None:
    """Commit that a delivery is held; None when it is not, since `accept` concludes it then."""
    if validation.verdict != "HELD":
        return None
    return conclude(reviews, arrival, delivery, validation, validation_key)


def check_not_held(
    reviews: Bucket, arrival: Arrival, outcome: Outcome, *, is_new: bool = False
) -> None:
    """Give a held delivery its receipt, then raise; ``is_new`` is as in `give_receipt`.

    Nothing is raised about one that somebody released or discarded since.

    Raises
    ------
    DeliveryHeldError
        If this arrival of the delivery is held, not a duplicate of one that is.
    """
    if outcome.verdict != "HELD" or not (is_new or standings.is_held(reviews, outcome.delivery)):
        return
    if give_receipt(reviews, arrival, outcome, is_new=is_new).verdict != "HELD":
        return
    raise DeliveryHeldError(
        landing_key=arrival.landing_key,
        delivery=outcome.delivery,
        why=outcome.why,
        report_uri=reviews.uri(report_key(outcome.validation_key)),
        runbook=kinds.held_runbook([outcome.why]),
    )


def give_receipt(
    reviews: Bucket, arrival: Arrival, outcome: Outcome, *, is_new: bool = False
) -> Receipt:
    """Record that a landing file was processed; the first receipt of a night stands.

    Parameters
    ----------
    reviews : Bucket
        Where the ledger is.
    arrival : Arrival
        Of the file.
    outcome : Outcome
        The ledger entry of its delivery.
    is_new : bool
        There was no ledger entry a moment ago, so there can be no receipt of another night yet.
    """
    is_own = is_new and outcome.counted_in == arrival.night
    is_duplicate = _is_counted_elsewhere(reviews, arrival, outcome, is_own=is_own)
    is_held = outcome.verdict == "HELD"  # a held file stays held when it is sent again
    receipt = Receipt(
        landing_key=arrival.landing_key,
        version_tag=arrival.version_tag,
        night=arrival.night,
        delivery=arrival.delivery,
        verdict="DUPLICATE" if is_duplicate and not is_held else outcome.verdict,
        why=_conflict(arrival) + (_why_duplicate(outcome) if is_duplicate else outcome.why),
        delivered_rows=0 if is_duplicate else outcome.delivered_rows,
        accepted_rows=0 if is_duplicate else outcome.accepted_rows,
        quarantined_rows=0 if is_duplicate else outcome.quarantined_rows,
        held_rows=0 if is_duplicate else outcome.held_rows,
        conflicts_with=arrival.conflicts_with,
    )
    return reviews.put_first(receipt)


def _conflict(arrival: Arrival) -> str:
    if arrival.conflicts_with is None:
        return ""
    return (
        f"CONFLICT: this name was delivered before with other content, as delivery "
        f"{arrival.conflicts_with}; each is validated on its own. "
    )


def _is_counted_elsewhere(
    reviews: Bucket, arrival: Arrival, outcome: Outcome, *, is_own: bool
) -> bool:
    """Whether another file, or the same file in another night, has the rows in its receipt."""
    landing_key, version_tag = arrival.landing_key, arrival.version_tag
    if (landing_key, version_tag) != (outcome.landing_key, outcome.version_tag):
        return True
    if is_own:
        return False
    # If the run that wrote the outcome was killed before it wrote the receipt, a later run counts
    # the rows; it keeps counting them even if the first run is repeated.
    arrived = arrival_id(landing_key, version_tag)
    others = nights_by_arrival(reviews, {arrived}).get(arrived, set()) - {arrival.night}
    keys = (receipt_key(day, landing_key=landing_key, version_tag=version_tag) for day in others)
    return outcome.counted_in in others or any(
        reviews.get_record(key, Receipt).delivered_rows for key in keys
    )


def _why_duplicate(outcome: Outcome) -> str:
    return (
        f"The same bytes were delivered as {outcome.landing_key!r} and counted in the night of "
        f"{outcome.counted_in} ({outcome.verdict}); they are not counted twice. {outcome.why}"
    )


def all_outcomes(reviews: Bucket) -> list[Outcome]:
    """All outcomes, sorted by delivery; later decisions by people are in `standings`."""
    listed = [info for info in reviews.list(keys.DELIVERIES) if keys.is_outcome(info.key)]
    rolled = RollUp(reviews, standings.LEDGER)
    return rolled.each(
        lambda info: rolled.record(info, Outcome),
        listed,
        lambda info: (info.key, info.version_tag),
    )
