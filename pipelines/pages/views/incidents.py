"""What went wrong with deliveries, night by night: the list behind the page Incidents.

Everything is read from stored records, and cheaply: the keys of receipts and missing records give
the nights, and only the records of the nights on the page are read. A record that cannot be read
is an incident itself; it does not hide others.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pipelines.core.errors import concerns_one_record, sentence
from pipelines.core.escaping import visible
from pipelines.core.keys import MISSING, RECEIPTS, folder_of, name_of
from pipelines.core.parallel import in_parallel
from pipelines.core.store import clock
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.sealed import AnyRecord
from pipelines.intake import standings
from pipelines.intake.landing import LANDING_PREFIX, checked_night, is_night, parse_name, set_aside
from pipelines.intake.standings import Standing
from pipelines.pages.read import Unreadable, read_all
from pipelines.pages.views.listing import STATES, Asked, Incident, Kind, Listing, State
from pipelines.pages.views.silences import of_sources
from pipelines.records.deliveries import MissingDelivery, Receipt

logger = logging.getLogger(__name__)

EVERYTHING = Asked()

ROUTINE_SHARE = 0.01  # of a delivery's rows: so many are in quarantine on most nights, as repeats
NIGHTS_PER_PAGE = 30
MOST_SET_ASIDE = 50  # files on the page
MOST_RECEIPTS = 300  # per page, so that a busy store gives pages of fewer nights
ENOUGH = 50  # incidents that were asked for, on one page
MOST_READ = 900  # records, in search of what was asked for


def recent(reviews: Bucket, *, until: str | None = None, asked: Asked = EVERYTHING) -> Listing:
    """The incidents of the newest nights that left records, up to ``until``.

    Nights are read until there are enough incidents that were asked for, or `MOST_READ` records
    were read. So a page costs the same, however long the history is.

    Raises
    ------
    DataError
        If ``until`` is not a day.
    """
    if until is not None:
        checked_night(until)
    keys = _keys_by_night(reviews)
    nights = sorted((night for night in keys if until is None or night <= until), reverse=True)
    found: list[Incident] = []
    shown: list[str] = []
    read = 0
    while len(shown) < len(nights):
        window = _window(nights[len(shown) :], keys)
        newly, cost = _of_nights(reviews, window, keys, asked)
        found = _merged(found, newly)
        shown += window
        read += cost
        if not asked or len(found) >= ENOUGH or read >= MOST_READ:
            break
    if until is None:
        found += [one for one in _of_set_aside(reviews) if _is_asked(one, asked)]
    older = nights[len(shown)] if len(nights) > len(shown) else None
    return Listing(tuple(sorted(shown)), tuple(_in_order(found)), older)


def _of_nights(
    reviews: Bucket, nights: Sequence[str], keys: dict[str, list[str]], asked: Asked
) -> tuple[list[Incident], int]:
    """The incidents of some nights, and about how many records were read for them."""
    receipts = _read(reviews, nights, keys, RECEIPTS, Receipt)
    missing = _read(reviews, nights, keys, MISSING, MissingDelivery)
    odd = [
        record for _, record in receipts
        if isinstance(record, Receipt) and asked.admits_receipt(record)
    ]  # fmt: skip
    incidents = [
        *_of_deliveries(reviews, odd),
        *of_sources(reviews, missing, receipts, _names(keys)),
        *(_unreadable(night, record) for night, record in (*receipts, *missing)
          if isinstance(record, Unreadable)),
    ]  # fmt: skip
    cost = len(receipts) + len(missing) + 3 * len(incidents)
    return [one for one in incidents if _is_asked(one, asked)], cost


def _read(
    reviews: Bucket, nights: Sequence[str], keys: dict[str, list[str]], prefix: str,
    kind: type[AnyRecord],
) -> list[tuple[str, AnyRecord | Unreadable]]:  # fmt: skip
    """The records of some nights below a prefix, all read at once."""
    named = [(night, key) for night in nights for key in keys[night] if key.startswith(prefix)]
    records = read_all(reviews, [key for _, key in named], kind)
    return [(night, record) for (night, _), record in zip(named, records, strict=True)]


def _is_asked(incident: Incident, asked: Asked) -> bool:
    return asked.admits(
        source=incident.source, state=incident.state, title=incident.title,
        why=incident.sentence + (incident.standing.outcome.why if incident.standing else ""),
        subject=incident.subject,
    )  # fmt: skip


def _merged(newer: list[Incident], older: Iterable[Incident]) -> list[Incident]:
    """Incidents of two windows; one that both saw is one incident of the nights of both."""
    known = {incident.subject: place for place, incident in enumerate(newer)}
    merged = list(newer)
    for incident in older:
        place = known.get(incident.subject)
        if place is None:
            merged.append(incident)
        else:
            nights = dict.fromkeys((*incident.nights, *merged[place].nights))
            merged[place] = replace(merged[place], nights=tuple(nights))
    return merged


def _in_order(incidents: Iterable[Incident]) -> list[Incident]:
    by_title = sorted(incidents, key=lambda incident: incident.title)
    newest_first = sorted(by_title, key=lambda incident: incident.nights[-1], reverse=True)
    return sorted(newest_first, key=lambda incident: list(STATES).index(incident.state))


def _keys_by_night(reviews: Bucket) -> dict[str, list[str]]:
    nights: dict[str, list[str]] = defaultdict(list)
    for prefix in (RECEIPTS, MISSING):
        for info in reviews.list(prefix):
            night = folder_of(info.key)
            if is_night(night):
                nights[night].append(info.key)
            else:
                logger.warning("key=%s is not below a night and is left out", visible(info.key))
    return nights


def _names(keys: dict[str, list[str]]) -> set[str]:
    """Which arrivals have a receipt, by the last part of its key."""
    return {
        name_of(key) for of_night in keys.values() for key in of_night if key.startswith(RECEIPTS)
    }


def _window(nights: Sequence[str], keys: dict[str, list[str]]) -> list[str]:
    """The first nights that stay below the limits; one at least."""
    window: list[str] = []
    records = 0
    for night in nights[:NIGHTS_PER_PAGE]:
        records += len(keys[night])
        if window and records > MOST_RECEIPTS:
            break
        window.append(night)
    return window


# ── Deliveries ───────────────────────────────────────────────────────────────────────────────


def _of_deliveries(reviews: Bucket, receipts: Iterable[Receipt]) -> list[Incident]:
    """One incident per delivery, however often its file was sent."""
    odd: dict[str, list[Receipt]] = defaultdict(list)
    for receipt in sorted(receipts, key=lambda receipt: receipt.night):
        if receipt.verdict in ("HELD", "PARTLY_ACCEPTED") or receipt.conflicts_with is not None:
            odd[receipt.delivery].append(receipt)
    return list(in_parallel(lambda group: _of_delivery(reviews, group), odd.values()))


def _of_delivery(reviews: Bucket, receipts: Sequence[Receipt]) -> Incident:
    first = receipts[0]
    nights = tuple(dict.fromkeys(receipt.night for receipt in receipts))
    conflict = next(filter(None, (receipt.conflicts_with for receipt in receipts)), None)
    source = parse_name(first.landing_key).source
    try:
        standing = standings.find(reviews, first.delivery)
        why = "a receipt names its ledger entry, which does not exist"
    except Exception as error:
        if not concerns_one_record(error):
            raise
        standing, why = None, sentence(error)
    if standing is None:
        return Incident(
            "UNREADABLE", "open", first.delivery, nights, first.landing_key, source, why
        )
    kind, state = kind_of(standing), state_of(standing)
    if state == "routine" and conflict:
        state = "look"
    return Incident(
        kind, state, first.delivery, nights, first.landing_key, standing.outcome.source,
        _sentence(standing, first, kind), standing, conflict,
    )  # fmt: skip


def kind_of(standing: Standing) -> Kind:
    """What happened to a delivery at first, whatever people decided since."""
    if standing.outcome.verdict == "HELD":
        return "HELD"
    return "QUARANTINED" if standing.outcome.quarantined_parts else "CONFLICT"


def state_of(standing: Standing) -> State:
    """Whether somebody still has to act on a delivery."""
    if standing.verdict == "HELD":
        return "open"
    is_decided = standing.outcome.verdict == "HELD" or not standing.quarantined
    if standing.replays and is_decided:
        return "settled"
    few = ROUTINE_SHARE * standing.newest.delivered_rows
    return "routine" if 0 < standing.newest.quarantined_rows <= few else "look"


def _sentence(standing: Standing, receipt: Receipt, kind: Kind) -> str:
    if state_of(standing) == "settled":
        return settled_by(standing)
    return receipt.why if kind == "CONFLICT" else standing.newest.why


def settled_by(standing: Standing) -> str:
    """What the last replay did, who started it, and why; empty without one."""
    if not standing.replays:
        return ""
    last = standing.replays[-1]
    at = f"{last.at[:10]} {last.at[11:19]} UTC"
    return f"{last.action}: {last.verdict} on {at} by {last.actor}, because: {last.reason}"


def _of_set_aside(reviews: Bucket) -> list[Incident]:
    """Landed files that no night takes up until a person acts."""
    today = clock.now(reviews).date()
    files = set_aside(reviews, today.isoformat(), today=today)
    return [
        Incident(
            "SET_ASIDE", "open", f"{LANDING_PREFIX}{file.landing_key}",
            (file.delivered_for or "no night",), file.landing_key, "", file.why,
        )
        for file in files[:MOST_SET_ASIDE]
        if file.needs_person
    ]  # fmt: skip


def _unreadable(night: str, record: Unreadable) -> Incident:
    return Incident("UNREADABLE", "open", record.key, (night,), record.key, "", record.why)
