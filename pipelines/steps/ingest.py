"""The steps of `reviews_ingest`: a URI in, a URI out."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipelines.core.errors import ObjectMissingError, TrustError, sentence
from pipelines.core.settings.settings import Settings
from pipelines.steps.context import open_loop

if TYPE_CHECKING:
    from pipelines.core.store.bucket import Bucket

logger = logging.getLogger(__name__)


def find_deliveries(night: str) -> list[str]:
    """URIs of the landing files that this night has to deal with."""
    from pipelines.intake import landing

    loop = open_loop("ingest")
    most = loop.settings.intake.max_deliveries
    return [loop.reviews.uri(key) for key in landing.discover(loop.reviews, night, most=most)]


def land(landing_uri: str, night: str) -> str:
    """Copy one landing file to its immutable place; returns the arrival's URI."""
    from pipelines.intake import arrivals

    loop = open_loop("ingest")
    key, intake = loop.key(landing_uri), loop.settings.intake
    arrival_key, _ = arrivals.receive(loop.reviews, key, night=night, intake=intake)
    return loop.reviews.uri(arrival_key)


def pin_history(night: str, landing_uris: Sequence[str]) -> str | None:
    """Pin what the night's deliveries are compared with; returns its URI.

    None when nothing is due, or there is nothing to compare with. It is a cache: `validate` gives
    the same result without it, and reports what is wrong with the ledger.
    """
    from pipelines.validation import pinned_history

    if not landing_uris:
        return None
    loop = open_loop("ingest")
    try:
        key = pinned_history.pin(
            loop.reviews, before=night, settings=loop.settings.validation, learned=loop.learned()
        )
    except (TrustError, ObjectMissingError) as error:
        logger.warning("night=%s has no pinned history: %s", night, error)
        return None
    return None if key is None else loop.reviews.uri(key)


def validate(arrival_uri: str, history_uri: str | None = None) -> str:
    """Validate an arrived delivery; returns the validation's URI.

    Parameters
    ----------
    arrival_uri : str
        What `land` returned.
    history_uri : str, optional
        What `pin_history` returned, so that the ledger need not be read once per delivery.

    Raises
    ------
    DeliveryHeldError
        If the delivery is held as a whole; this is recorded first.
    """
    from pipelines.intake import arrivals, ledger
    from pipelines.serving import labeller
    from pipelines.validation import validate as validation

    loop = open_loop("ingest")
    reviews = loop.reviews
    arrival, delivery = arrivals.read_arrival(reviews, loop.key(arrival_uri))
    outcome = ledger.find_outcome(reviews, delivery.sha256)
    is_new = outcome is None
    if outcome is None:
        champion = loop.registry.log.champion()
        validation_key, validated = validation.validate(
            reviews, delivery, loop.settings, before=arrival.night,
            labeller=labeller.find(loop.registry, champion), learned=loop.learned_by(champion),
            pinned=loop.key(history_uri) if history_uri else None,
        )  # fmt: skip
        outcome = ledger.conclude_held(reviews, arrival, delivery, validated, validation_key)
    else:
        validation_key = outcome.validation_key
    if outcome is not None:
        ledger.check_not_held(reviews, arrival, outcome, is_new=is_new)
    return reviews.uri(validation_key)


def accept(arrival_uri: str, validation_uri: str) -> str:
    """Enter the validated delivery in the ledger; returns the outcome's URI."""
    from pipelines.intake import arrivals, ledger
    from pipelines.records.validations import Validation

    loop = open_loop("ingest")
    reviews, validation_key = loop.reviews, loop.key(validation_uri)
    arrival, delivery = arrivals.read_arrival(reviews, loop.key(arrival_uri))
    outcome = ledger.find_outcome(reviews, delivery.sha256)
    is_new = outcome is None
    if outcome is None:
        validation = reviews.get_record(validation_key, Validation)
        outcome = ledger.conclude(reviews, arrival, delivery, validation, validation_key)
    ledger.give_receipt(reviews, arrival, outcome, is_new=is_new)
    return reviews.uri(outcome.object_key)


def summarize_night(night: str) -> dict[str, Any]:
    """Counts of the night's deliveries and rows, which add up."""
    from pipelines.intake import nights

    loop = open_loop("ingest")
    summary = nights.night_summary(loop.reviews, night, loop.settings.sources)
    counts = summary.model_dump(mode="json", exclude={"receipts"})
    logger.info(" ".join(f"{name}={value}" for name, value in counts.items()))
    if summary.status == "NO_NEW_DATA":
        logger.info(
            "No new reviews for %s: nothing was accepted, so nothing will be trained.", night
        )
    _warn_of_unsent(loop.settings, loop.reviews)
    return counts


def _warn_of_unsent(settings: Settings, reviews: Bucket) -> None:
    from pipelines.alerts import notifier, records

    try:
        opened = notifier.open_notifier(settings, os.environ)
        if opened.is_on:
            records.attempts(reviews, keeps=True)
        notifier.warn_of_unsent(opened)
    except Exception as error:  # noqa: BLE001 - a summary must not fail because of it
        logger.warning("cannot tell whether alerts are unsent: %s", sentence(error))


def has_new_reviews(summary: dict[str, Any]) -> bool:
    """Whether the night accepted reviews that a retraining can use."""
    return int(summary["accepted_rows"]) > 0


def check_night(night: str, landing_uris: Sequence[str]) -> str:
    """Turn the run red when a delivery of the night is held or unfinished, and say which.

    Raises
    ------
    NightIncompleteError, NightHeldError, MissingDeliveryError, SetAsideError
        As `intake.nights.check` says.
    """
    from pipelines.intake import nights

    loop = open_loop("ingest")
    summary = nights.night_summary(loop.reviews, night, loop.settings.sources)
    nights.check(loop.reviews, summary, [loop.key(uri) for uri in landing_uris])
    return summary.status
