"""What went wrong with deliveries, night by night: the list behind the page Incidents.

Everything is read from stored records, and cheaply: the keys of receipts and missing records give
the nights, and only the records of the nights on the page are read. A record that cannot be read
is an incident itself; it does not hide others.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.core.errors import concerns_one_record, sentence
from pipelines.core.escaping import visible
from pipelines.core.keys import MISSING, RECEIPTS, arrival_id, folder_of, name_of
from pipelines.core.parallel import in_parallel
from pipelines.core.store import clock
from pipelines.core.store.bucket import Bucket
from pipelines.intake import nights as intake_nights
from pipelines.intake import standings
from pipelines.intake.landing import LANDING_PREFIX, checked_night, is_night, parse_name, set_aside
from pipelines.intake.standings import Standing
from pipelines.pages.read import Unreadable, read_all
from pipelines.records.deliveries import MissingDelivery, Receipt

logger = logging.getLogger(__name__)

Kind = Literal["HELD", "MISSING_DELIVERY", "SET_ASIDE", "UNREADABLE", "CONFLICT", "QUARANTINED"]
State = Literal["open", "look", "settled", "routine"]

STATES: dict[State, str] = {
    "open": "Needs a person",
    "look": "Worth a look when there is time",
    "settled": "Settled",
    "routine": "A few rows in quarantine; the others count",
}
ROUTINE_SHARE = 0.01  # of a delivery's rows: so many are in quarantine on most nights, as repeats
NIGHTS_PER_PAGE = 30
MOST_SET_ASIDE = 50  # files on the page
MOST_RECEIPTS = 2_000  # per page, so that a busy store gives pages of fewer nights


@dataclass(frozen=True)
class Incident:
    """One line of the list.

    Parameters
    ----------
    kind, state : str
        What happened, and whether somebody still has to act.
    subject : str
        The delivery's sha256; ``missing/<night>/<source>``; the key that cannot be read.
    nights : tuple of str
        Nights of the page in which it was seen, oldest first.
    title : str
        The file or the source. Hostile: escape it.
    sentence : str
        What is wrong, or how it was settled. Hostile as well.
    conflicts_with : str or None
        The delivery that came first under the same name, with other bytes.
    """

    kind: Kind
    state: State
    subject: str
    nights: tuple[str, ...]
    title: str
    source: str
    sentence: str
    standing: Standing | None = None
    conflicts_with: str | None = None

    @property
    def when(self) -> str:
        """The nights in few words."""
        if len(self.nights) <= 3:
            return ", ".join(self.nights)
        return f"{len(self.nights)} nights from {self.nights[0]} to {self.nights[-1]}"

    @property
    def path(self) -> str:
        """Path of its own page, below the list; empty if it has none."""
        has_none = self.kind in {"UNREADABLE", "SET_ASIDE"} and "/" in self.subject
        return "" if has_none else self.subject


@dataclass(frozen=True)
class Listing:
    """The incidents of some nights: open ones first, each group newest first.

    ``older`` is the night to go on from; None when nothing is older.
    """

    nights: tuple[str, ...]
    incidents: tuple[Incident, ...]
    older: str | None

    def of(self, state: State) -> list[Incident]:
        return [incident for incident in self.incidents if incident.state == state]


def recent(reviews: Bucket, *, until: str | None = None) -> Listing:
    """The incidents of the newest nights that left records, up to ``until``.

    Raises
    ------
    DataError
        If ``until`` is not a day.
    """
    if until is not None:
        checked_night(until)
    keys = _keys_by_night(reviews)
    nights = sorted((night for night in keys if until is None or night <= until), reverse=True)
    shown = _page(nights, keys)
    receipts: list[tuple[str, Receipt | Unreadable]] = []
    missing: list[tuple[str, MissingDelivery | Unreadable]] = []
    for night in shown:
        of_receipts = [key for key in keys[night] if key.startswith(RECEIPTS)]
        of_missing = [key for key in keys[night] if key.startswith(MISSING)]
        receipts += [(night, record) for record in read_all(reviews, of_receipts, Receipt)]
        missing += [(night, record) for record in read_all(reviews, of_missing, MissingDelivery)]
    incidents = [
        *_of_deliveries(reviews, [record for _, record in receipts if isinstance(record, Receipt)]),
        *_of_sources(reviews, missing, receipts, _names(keys)),
        *(_of_set_aside(reviews) if until is None else ()),
        *(_unreadable(night, record) for night, record in (*receipts, *missing)
          if isinstance(record, Unreadable)),
    ]  # fmt: skip
    older = nights[len(shown)] if len(nights) > len(shown) else None
    return Listing(tuple(sorted(shown)), tuple(_in_order(incidents)), older)


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


def _page(nights: Sequence[str], keys: dict[str, list[str]]) -> list[str]:
    """The first nights that stay below the limits; one at least."""
    shown: list[str] = []
    records = 0
    for night in nights[:NIGHTS_PER_PAGE]:
        records += len(keys[night])
        if shown and records > MOST_RECEIPTS:
            break
        shown.append(night)
    return shown


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
    return "QUARANTINED" if standing.outcome.quarantined is not None else "CONFLICT"


def state_of(standing: Standing) -> State:
    """Whether somebody still has to act on a delivery."""
    if standing.verdict == "HELD":
        return "open"
    is_decided = standing.outcome.verdict == "HELD" or standing.quarantined is None
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


# ── Sources that fell silent ─────────────────────────────────────────────────────────────────


def _of_sources(
    reviews: Bucket,
    missing: Iterable[tuple[str, MissingDelivery | Unreadable]],
    receipts: Iterable[tuple[str, Receipt | Unreadable]],
    names: set[str],
) -> list[Incident]:
    """One incident per silence: a source that stays overdue is one incident, not one per night."""
    silences: dict[tuple[str, str], list[MissingDelivery]] = defaultdict(list)
    for _, record in missing:
        if isinstance(record, MissingDelivery):
            silences[record.source, record.last_delivered_for or ""].append(record)
    days = [_day_of(receipt) for _, receipt in receipts if isinstance(receipt, Receipt)]
    incidents = []
    for (source, last), records in silences.items():
        came = [day for of_source, day in days if of_source == source and day > last]
        came = came or _landed_since(reviews, source, last, names)
        incidents.append(_of_silence(sorted(records, key=lambda record: record.night), came))
    return incidents


def _day_of(receipt: Receipt) -> tuple[str, str]:
    name = parse_name(receipt.landing_key)
    return name.source, name.delivered_for.isoformat() if name.delivered_for else receipt.night


def _landed_since(reviews: Bucket, source: str, last: str, names: set[str]) -> list[str]:
    """Days after ``last`` for which files of the source were processed, on any page."""
    return [
        day.isoformat()
        for info in reviews.list(f"{LANDING_PREFIX}{source}/")
        if (day := parse_name(info.key).delivered_for) is not None
        and day.isoformat() > last
        and arrival_id(info.key, info.version_tag) in names
    ]


def _of_silence(missing: Sequence[MissingDelivery], came: Sequence[str]) -> Incident:
    newest = missing[-1]
    sentence = f"{intake_nights.sentence(newest)}."
    if came:
        sentence += f" It delivered again, for {max(came)}."
    return Incident(
        "MISSING_DELIVERY", "settled" if came else "open",
        f"{MISSING}{newest.night}/{newest.source}",
        tuple(record.night for record in missing), newest.source, newest.source, sentence,
    )  # fmt: skip


def _unreadable(night: str, record: Unreadable) -> Incident:
    return Incident("UNREADABLE", "open", record.key, (night,), record.key, "", record.why)
