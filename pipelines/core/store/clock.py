"""All dates come from the store's clock, so a machine whose clock is wrong writes no wrong date.

The order of the champion log is certain; its dates are only as good as the clock they came from
(docs/adr/0014-the-stores-clock.md).
"""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta

from pipelines.core.store.bucket import Bucket

logger = logging.getLogger(__name__)

CLOCKS_AGREE = timedelta(minutes=5)  # two clocks that differ by less count as equal


def now(bucket: Bucket) -> datetime:
    """The store's time in UTC; logs a warning when this machine's clock differs.

    Raises
    ------
    StoreUnavailableError
        If the store does not report its time.
    """
    store_time, machine_time = bucket.clock(), datetime.now(UTC)
    if abs(machine_time - store_time) > CLOCKS_AGREE:
        logger.warning(
            "This machine's clock says %s, the store's %s. The store's is used. Set this "
            "machine's clock: other programs and the store's own signatures depend on it.",
            written(machine_time), written(store_time),
        )  # fmt: skip
    return store_time


def last_complete_day(bucket: Bucket) -> date:
    """Yesterday in UTC, by the store's clock."""
    return day_before(now(bucket))


def day_before(moment: datetime) -> date:
    """The last day in UTC that was complete at a moment."""
    return moment.astimezone(UTC).date() - timedelta(days=1)


def written(moment: datetime) -> str:
    """ISO 8601, UTC, seconds: how records write a time."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def read(text: str) -> datetime | None:
    """A recorded time; None when the text is not a time. Without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
