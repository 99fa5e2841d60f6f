"""Sum up what a night received, list the sources that are overdue, and say whether it is well."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta

from pipelines.alerts import kinds
from pipelines.core.errors import (
    LoopError,
    MissingDeliveryError,
    NightHeldError,
    NightIncompleteError,
    ObjectMissingError,
    SetAsideError,
    TrustError,
)
from pipelines.core.escaping import visible
from pipelines.core.keys import RECEIPTS, is_receipt, outcome_key
from pipelines.core.parallel import in_parallel
from pipelines.core.settings.data import SourceSettings
from pipelines.core.store.bucket import Bucket
from pipelines.intake import landing, standings
from pipelines.intake.landing import checked_night
from pipelines.records.deliveries import MissingDelivery, NightSummary, Outcome, Receipt

logger = logging.getLogger(__name__)

MOST_NAMED = 20  # files that a summary names, so that it stays short whatever lands


def night_summary(
    reviews: Bucket, night: str, sources: Mapping[str, SourceSettings]
) -> NightSummary:
    """What a night received and skipped, and which sources were overdue.

    Overdue sources are also recorded. An unreadable receipt is listed, but not counted.
    """
    summary = summarize(reviews, night, skips_torn=True)
    late = overdue(reviews, night, sources, tonight=summary.receipts)
    missing = tuple(_recorded(reviews, source) for source in late)
    landed = reviews.list(landing.LANDING_PREFIX)
    aside = landing.set_aside(reviews, night, landed=landed)
    for file in aside[:MOST_NAMED]:
        logger.log(
            logging.WARNING if file.needs_person else logging.INFO,
            "night=%s set_aside=%s %s", night, file.landing_key, file.why,
        )  # fmt: skip
    is_empty = missing and summary.status == "NO_NEW_DATA"
    return summary.model_copy(update={
        "missing": missing,
        "status": "MISSING_DELIVERY" if is_empty else summary.status,
        "set_aside": tuple(aside[:MOST_NAMED]),
        "set_aside_deliveries": len(aside),
        "side_files": landing.side_files(landed, night),
        "unreadable": tuple(_unreadable(reviews, night, summary.receipts)),
    })  # fmt: skip


def _unreadable(reviews: Bucket, night: str, receipts: Sequence[Receipt]) -> list[str]:
    """Keys in the night's folder of receipts that could not be read as receipts."""
    known = {receipt.object_key for receipt in receipts}
    listed = _listed_receipts(reviews, night)
    return [visible(key) for key in listed if key not in known][:MOST_NAMED]


def _listed_receipts(reviews: Bucket, night: str) -> list[str]:
    """Keys of the receipts of a night; what else lies there is foreign."""
    listed = (info.key for info in reviews.list(f"{RECEIPTS}{night}/"))
    return [key for key in listed if is_receipt(key)]


def overdue(
    reviews: Bucket,
    night: str,
    sources: Mapping[str, SourceSettings],
    *,
    tonight: Sequence[Receipt] = (),
) -> list[MissingDelivery]:
    """Sources that delivered nothing for longer than they should, this night included.

    A held delivery counts as delivered. A source is not overdue before its first delivery, but a
    source that never delivered at all is.

    Parameters
    ----------
    reviews : Bucket
        Where the ledger is.
    night : str
        ``YYYY-MM-DD``.
    sources : mapping of str to SourceSettings
        Those without a rhythm are never overdue.
    tonight : sequence of Receipt
        Of the night: the ledger is read only if there are sources that they do not show.
    """
    rhythms = {
        name: settings.expected_every_days
        for name, settings in sources.items()
        if settings.expected_every_days is not None
    }
    rhythms = _not_seen(reviews, night, rhythms, tonight)
    if not rhythms:
        return []
    days: dict[str, list[str]] = {}
    for standing in standings.every(reviews, skips_torn=True):
        days.setdefault(standing.outcome.source, []).append(standing.outcome.night)
    missing = []
    for source, every_days in sorted(rhythms.items()):
        every = days.get(source, [])
        last = max((day for day in every if day <= night), default=None)
        if every and last is None:
            continue  # an older night than its first
        if last is None or last < _first_day(night, every_days):
            missing.append(
                MissingDelivery(
                    night=night,
                    source=source,
                    expected_every_days=every_days,
                    last_delivered_for=last,
                )
            )
    return missing


def _first_day(night: str, every_days: int) -> str:
    """The first day that a source may have delivered for last, not to be overdue."""
    first = date.fromisoformat(night) - timedelta(days=every_days - 1)
    return first.isoformat()


def _not_seen(
    reviews: Bucket,
    night: str,
    rhythms: Mapping[str, int],
    tonight: Sequence[Receipt],
) -> dict[str, int]:
    """The sources that no ledger entry of the night's files shows to be in time."""

    def read(receipt: Receipt) -> Outcome | None:
        try:
            return reviews.find_record(outcome_key(receipt.delivery), Outcome)
        except TrustError:  # reported by whoever reads the whole ledger
            return None

    outcomes = [found for found in in_parallel(read, tonight) if found] if rhythms else []
    in_time = {
        found.source
        for found in outcomes
        if found.source in rhythms
        and _first_day(night, rhythms[found.source]) <= found.night <= night
    }
    return {name: days for name, days in rhythms.items() if name not in in_time}


def _recorded(reviews: Bucket, missing: MissingDelivery) -> MissingDelivery:
    """Record an overdue source; the record stays even if the file arrives late."""
    logger.warning(
        "night=%s source=%s is overdue: last=%s",
        missing.night, missing.source, missing.last_delivered_for,
    )  # fmt: skip
    try:
        return reviews.put_first(missing)
    except (TrustError, ObjectMissingError) as error:  # the source is overdue all the same
        logger.warning("source=%s: its earlier record cannot be read: %s", missing.source, error)
        return missing


def sentence(missing: MissingDelivery) -> str:
    last, days = missing.last_delivered_for, missing.expected_every_days
    return (
        f"source {missing.source!r} is overdue: expected "
        + ("daily, " if days == 1 else f"every {days} days, ")
        + (f"last delivered for {last}" if last else "never delivered")
    )


def _receipts(reviews: Bucket, night: str, *, skips_torn: bool) -> Iterator[Receipt]:
    for key in _listed_receipts(reviews, night):
        try:
            yield reviews.get_record(key, Receipt)
        except (TrustError, ObjectMissingError) as error:
            if not skips_torn:
                raise
            logger.warning("night=%s has a receipt that cannot be read: %s", night, error)


def summarize(reviews: Bucket, night: str, *, skips_torn: bool = False) -> NightSummary:
    """What a night received, counted from its receipts alone.

    Parameters
    ----------
    reviews : Bucket
        Where the receipts are.
    night : str
        ``YYYY-MM-DD``.
    skips_torn : bool
        Skip unreadable receipts with a warning, so that the others are still reported.

    Raises
    ------
    TrustError
        If a receipt cannot be read and ``skips_torn`` is False.
    """
    checked_night(night)
    receipts = sorted(
        _receipts(reviews, night, skips_torn=skips_torn), key=lambda receipt: receipt.landing_key
    )
    held = sum(receipt.verdict == "HELD" for receipt in receipts)
    accepted_rows = sum(receipt.accepted_rows for receipt in receipts)
    return NightSummary(
        night=night,
        status="NEW_REVIEWS" if accepted_rows else "ALL_HELD" if held else "NO_NEW_DATA",
        deliveries=len(receipts),
        held_deliveries=held,
        duplicate_deliveries=sum(receipt.verdict == "DUPLICATE" for receipt in receipts),
        delivered_rows=sum(receipt.delivered_rows for receipt in receipts),
        accepted_rows=accepted_rows,
        quarantined_rows=sum(receipt.quarantined_rows for receipt in receipts),
        held_rows=sum(receipt.held_rows for receipt in receipts),
        receipts=tuple(receipts),
    )


# ── Is the night well? ───────────────────────────────────────────────────────────────────────


def check(reviews: Bucket, summary: NightSummary, due: Sequence[str]) -> None:
    """Check that nothing of a night needs a person.

    Parameters
    ----------
    reviews : Bucket
        Where the ledger is.
    summary : NightSummary
        Of the night.
    due : sequence of str
        Landing keys of the deliveries that the night had to deal with.

    Raises
    ------
    NightIncompleteError
        If one that was due has no receipt: its task failed before it finished. Or if a receipt
        cannot be read.
    NightHeldError
        If any delivery of the night is held, and nobody replayed it since. Everything else of the
        night counts already.
    MissingDeliveryError
        If all that came is fine, but a source is overdue.
    SetAsideError
        If there are only files that no night will take up unless somebody does something.
    """
    finished = {receipt.landing_key for receipt in summary.receipts}
    unfinished = [key for key in due if key not in finished]
    problem = _problem(summary, unfinished, len(due), still_held(reviews, summary))
    if problem is not None:
        raise problem


def still_held(reviews: Bucket, summary: NightSummary) -> list[Receipt]:
    """The receipts of the night's held files that nobody released or discarded since."""
    return [
        receipt
        for receipt in summary.receipts
        if receipt.verdict == "HELD" and standings.is_held(reviews, receipt.delivery)
    ]


def _problem(
    summary: NightSummary, unfinished: Sequence[str], due: int, held: Sequence[Receipt]
) -> LoopError | None:
    night = summary.night
    aside = "; ".join(f"{file.landing_key}: {file.why}" for file in summary.for_people[:5])
    missing = "; ".join([*(sentence(source) for source in summary.missing), aside]).strip("; ")
    if unfinished:
        return NightIncompleteError(
            f"{len(unfinished)} of {due} deliveries due on {night} were not processed: "
            f"{list(unfinished[:5])}. None of their rows count, nothing is lost, and they are due "
            "again. Their own tasks say what failed: docs/runbooks/ingest-incomplete.md"
        )
    if summary.unreadable:
        return NightIncompleteError(
            f"{len(summary.unreadable)} receipts of {night} cannot be read, so what became of "
            f"their files is not known: {list(summary.unreadable[:5])}. They are not counted. "
            "What to do: docs/runbooks/ingest-incomplete.md"
        )
    if held:
        named = "; ".join(f"{receipt.landing_key!r}: {receipt.why}" for receipt in held[:5])
        return NightHeldError(
            f"{len(held)} of {summary.deliveries} deliveries of {night} are held, the others "
            f"count ({summary.accepted_rows:,} rows accepted). {named} "
            f"What to do: docs/runbooks/{kinds.held_runbook([one.why for one in held])} {missing}"
        )
    if summary.missing:
        return MissingDeliveryError(
            f"night {night}: {missing}. All that did come is dealt with. "
            "What to do: docs/runbooks/missing-delivery.md"
        )
    if aside:
        return SetAsideError(
            f"night {night}: all that is due is dealt with. {aside} "
            "What to do: docs/runbooks/set-aside-delivery.md"
        )
    return None
