"""The steps of `reviews_ingest`: a URI in, a URI out."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipelines.core import config, keys
from pipelines.core.errors import (
    DeliveryHeldError,
    MissingDeliveryError,
    NightHeldError,
    NightIncompleteError,
    SetAsideError,
    concerns_one_record,
    sentence,
)
from pipelines.steps.context import registry_in, stores_as
from pipelines.steps.retrain import learned_by_the_champion

if TYPE_CHECKING:
    from pipelines.core.store.bucket import Bucket
    from pipelines.records.deliveries import Receipt

logger = logging.getLogger(__name__)


# ── reviews_ingest ───────────────────────────────────────────────────────────────────────────


def find_deliveries(night: str) -> list[str]:
    """URIs of the landing files that this night has to deal with."""
    from pipelines.intake import landing

    stores, most = stores_as("ingest"), config.load().intake.max_deliveries
    return [stores.reviews.uri(key) for key in landing.discover(stores.reviews, night, most=most)]


def land(landing_uri: str, night: str) -> str:
    """Copy one landing file to its immutable place; returns the arrival's URI."""
    from pipelines.intake import arrivals

    stores = stores_as("ingest")
    bucket, key = stores.resolve(landing_uri)
    arrival_key, _ = arrivals.receive(bucket, key, night=night, intake=config.load().intake)
    return bucket.uri(arrival_key)


def validate(arrival_uri: str) -> str:
    """Validate an arrived delivery; returns the validation's URI.

    Raises
    ------
    DeliveryHeldError
        If the delivery is held back as a whole; that is recorded first.
    """
    from pipelines.intake import arrivals, ledger
    from pipelines.serving import label_judge
    from pipelines.validation import validate as validation_validate

    stores = stores_as("ingest")
    reviews, key = stores.resolve(arrival_uri)
    arrival, delivery = arrivals.read_arrival(reviews, key)
    outcome = ledger.find_outcome(reviews, delivery.sha256)
    if outcome is not None:
        found_key = outcome.validation_key
    else:
        found_key, found = validation_validate.validate(
            reviews, delivery, config.load(), before=arrival.night,
            judge=label_judge.find(registry_in(stores)), learned=learned_by_the_champion(stores),
        )  # fmt: skip
        if found.verdict == "HELD":
            outcome = ledger.conclude(reviews, arrival, delivery, found, found_key)
    if outcome is not None and outcome.verdict == "HELD":
        receipt = ledger.give_receipt(reviews, arrival, outcome)
        if receipt.verdict == "HELD":
            raise DeliveryHeldError(
                landing_key=arrival.landing_key,
                delivery=delivery.sha256,
                why=outcome.why,
                report_uri=reviews.uri(keys.report_key(found_key)),
            )
    return reviews.uri(found_key)


def accept(arrival_uri: str, validation_uri: str) -> str:
    """Enter the validated delivery in the ledger; returns the outcome's URI."""
    from pipelines.intake import arrivals, ledger
    from pipelines.records.validations import Validation

    stores = stores_as("ingest")
    reviews, key = stores.resolve(arrival_uri)
    _, validation_key = stores.resolve(validation_uri)
    arrival, delivery = arrivals.read_arrival(reviews, key)
    outcome = ledger.find_outcome(reviews, delivery.sha256)
    if outcome is None:
        found = reviews.get_record(validation_key, Validation)
        outcome = ledger.conclude(reviews, arrival, delivery, found, validation_key)
    ledger.give_receipt(reviews, arrival, outcome)
    return reviews.uri(keys.outcome_key(delivery.sha256))


def summarize_night(night: str) -> dict[str, Any]:
    """What the night brought, as counts that add up."""
    from pipelines.intake import nights

    summary = nights.night_summary(stores_as("ingest").reviews, night, config.load().sources)
    counts = summary.model_dump(mode="json", exclude={"receipts"})
    logger.info(" ".join(f"{name}={value}" for name, value in counts.items()))
    if summary.status == "NO_NEW_DATA":
        logger.info(
            "No new reviews for %s: nothing is accepted and nothing will be trained.", night
        )
    _warn_of_unsent()
    return counts


def _warn_of_unsent() -> None:
    from pipelines.alerts import notifier

    try:
        notifier.warn_of_unsent(notifier.open_notifier(config.load(), os.environ))
    except Exception as error:  # noqa: BLE001 - a summary must not fail by it
        logger.warning("cannot tell whether alerts are unsent: %s", sentence(error))


def has_new_reviews(summary: dict[str, Any]) -> bool:
    """Whether the night is worth telling the retraining about."""
    return int(summary["accepted_rows"]) > 0


def check_night(night: str, landing_uris: Sequence[str]) -> str:
    """Turn the run red when a delivery of the night is held or unfinished, and say which.

    Raises
    ------
    NightIncompleteError
        If one that was due has no receipt: its task failed before anything was concluded. Or if a
        receipt cannot be read.
    NightHeldError
        If any delivery of the night is held, and nobody replayed it since. Everything else of the
        night counts already.
    MissingDeliveryError
        If all that came is fine, but a source is overdue.
    SetAsideError
        If there is nothing but files that no night will take up unless somebody does something.
    """
    from pipelines.intake import nights

    stores = stores_as("ingest")
    summary = nights.night_summary(stores.reviews, night, config.load().sources)
    aside = "; ".join(f"{one.landing_key}: {one.why}" for one in summary.for_people[:5])
    missing = "; ".join([*(nights.sentence(one) for one in summary.missing), aside]).strip("; ")
    dealt_with = {stores.reviews.uri(receipt.landing_key) for receipt in summary.receipts}
    unfinished = [uri for uri in landing_uris if uri not in dealt_with]
    if unfinished:
        raise NightIncompleteError(
            f"{len(unfinished)} of {len(landing_uris)} deliveries due on {night} came to no "
            f"conclusion: {unfinished[:5]}. Nothing of them counts, nothing is lost, and they are "
            "due again. Their own tasks say what failed: docs/runbooks/ingest-incomplete.md"
        )
    if summary.unreadable:
        raise NightIncompleteError(
            f"{len(summary.unreadable)} receipts of {night} cannot be read, so what became of "
            f"their files is not known: {list(summary.unreadable[:5])}. They are not counted. "
            "What to do: docs/runbooks/ingest-incomplete.md"
        )
    held = [receipt for receipt in summary.receipts if _is_still_held(stores.reviews, receipt)]
    if held:
        named = "; ".join(f"{receipt.landing_key!r}: {receipt.why}" for receipt in held[:5])
        raise NightHeldError(
            f"{len(held)} of {summary.deliveries} deliveries of {night} are held, the others "
            f"count ({summary.accepted_rows:,} rows accepted). {named} "
            f"What to do: docs/runbooks/held-delivery.md {missing}"
        )
    if summary.missing:
        raise MissingDeliveryError(
            f"night {night}: {missing}. All that did come is dealt with. "
            "What to do: docs/runbooks/missing-delivery.md"
        )
    if aside:
        raise SetAsideError(
            f"night {night}: all that is due is dealt with. {aside} "
            "What to do: docs/runbooks/set-aside-delivery.md"
        )
    return summary.status


def _is_still_held(reviews: Bucket, receipt: Receipt) -> bool:
    """Whether nobody replayed it; what cannot be read is held, so that the others are named."""
    from pipelines.intake import standings

    if receipt.verdict != "HELD":
        return False
    try:
        standing = standings.find(reviews, receipt.delivery)
    except Exception as error:
        if not concerns_one_record(error):
            raise
        logger.warning("delivery=%s is taken as held: %s", receipt.delivery, sentence(error))
        return True
    return standing is not None and standing.verdict == "HELD"
