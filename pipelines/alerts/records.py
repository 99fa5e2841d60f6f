"""What is recorded of alerts in the reviews bucket.

alerts/<incident>/alert.json                    the alert
alerts/<incident>/<channel>/<number>.json       claim: somebody is about to send it
alerts/<incident>/<channel>/<number>.sent.json  it was sent; or .failed.json, with the reason
alerts/<incident>/<channel>/000.failed.json     not tried: the channel had just failed
alerts/runs/<run>.json                          the run's own alert task checked how it ended
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

from pipelines.alerts.alert import Alert, Run
from pipelines.core.errors import ObjectMissingError, TrustError
from pipelines.core.keys import ALERTS, alert_claim_key, alert_end_key, alert_key, looked_at_key
from pipelines.core.record import Sha256, StoredRecord
from pipelines.core.settings.operation import ChannelName
from pipelines.core.store.answers import ObjectInfo
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.rollups import RollUp

logger = logging.getLogger(__name__)

_ATTEMPT = re.compile(
    rf"{ALERTS}([0-9a-f]{{64}})/({'|'.join(get_args(ChannelName))})"
    r"/([0-9]{3})(?:\.(sent|failed))?\.json"
)

End = Literal["sent", "failed"]
State = Literal["sent", "failed", "unsettled"]


class Claim(StoredRecord):
    """Somebody is about to send an alert."""

    schema_version: Literal[1] = 1
    incident: Sha256
    channel: ChannelName
    number: int
    token: str  # of the one process that may send
    at: str  # ISO 8601, UTC; shows when a claim without an end was given up

    @property
    def object_key(self) -> str:
        return alert_claim_key(self.incident, self.channel, self.number)


class AttemptEnd(StoredRecord):
    """How an attempt ended."""

    schema_version: Literal[1] = 1
    incident: Sha256
    channel: ChannelName
    number: int
    state: End
    why: str  # it failed; empty when sent
    at: str

    @property
    def object_key(self) -> str:
        return alert_end_key(self.incident, self.channel, self.number, self.state)


class LookedAt(StoredRecord):
    """A run's own alert task did its work."""

    schema_version: Literal[1] = 1
    dag_id: str
    run_id: str

    @property
    def object_key(self) -> str:
        return looked_at_key(self.dag_id, self.run_id)


@dataclass(frozen=True)
class Attempt:
    """The newest attempt to send one alert by one channel."""

    incident: str
    channel: ChannelName
    number: int
    state: State


def attempts(reviews: Bucket, *, keeps: bool = False) -> list[Attempt]:
    """The newest attempt of every incident and channel, in the order of their keys.

    An attempt counts as sent only if its signed record says so: the key alone proves nothing.

    Parameters
    ----------
    reviews : Bucket
        Where the records are.
    keeps : bool
        Roll up what is not yet, for the readers after this one.
    """
    newest: dict[tuple[str, str], Attempt] = {}
    listed: dict[str, ObjectInfo] = {}
    for info in reviews.list(ALERTS):
        listed[info.key] = info
        if not (parts := _ATTEMPT.fullmatch(info.key)):
            continue  # the alert, a run, or an object that is not ours
        incident, channel, number, end = parts.groups()
        earlier = newest.get((incident, channel))
        # A claim is listed before or after its end; the end takes precedence.
        if earlier is None or int(number) > earlier.number or earlier.state == "unsettled":
            name, state = cast("ChannelName", channel), cast("State", end or "unsettled")
            newest[incident, channel] = Attempt(incident, name, int(number), state)
    rolled = RollUp(reviews, "alerts")

    def end_of(attempt: Attempt) -> ObjectInfo:
        key = alert_end_key(attempt.incident, attempt.channel, attempt.number, "sent")
        return listed.get(key, ObjectInfo(key, 0, ""))

    proven = rolled.each(
        lambda attempt: _proven(rolled, end_of(attempt), attempt),
        list(newest.values()),
        lambda attempt: (end_of(attempt).key, end_of(attempt).version_tag),
    )
    if keeps:
        rolled.keep()
    return proven


def _proven(rolled: RollUp, info: ObjectInfo, attempt: Attempt) -> Attempt:
    if attempt.state != "sent":
        return attempt
    if rolled.has(info.key, info.version_tag):  # it was proven before
        return attempt
    try:
        rolled.record(info, AttemptEnd)
    except (TrustError, ObjectMissingError) as error:
        logger.warning("incident=%s may not have been sent: %s", attempt.incident, error)
        return Attempt(attempt.incident, attempt.channel, attempt.number, "unsettled")
    return attempt


def read_alert(reviews: Bucket, incident: str) -> Alert:
    return reviews.get_record(alert_key(incident), Alert)


def read_claim(reviews: Bucket, attempt: Attempt) -> Claim:
    key = alert_claim_key(attempt.incident, attempt.channel, attempt.number)
    return reviews.get_record(key, Claim)


def read_end(reviews: Bucket, attempt: Attempt, end: End) -> AttemptEnd:
    key = alert_end_key(attempt.incident, attempt.channel, attempt.number, end)
    return reviews.get_record(key, AttemptEnd)


def why_failed(reviews: Bucket, attempt: Attempt) -> str:
    """Why an attempt failed; the empty text for any other."""
    return read_end(reviews, attempt, "failed").why if attempt.state == "failed" else ""


def was_reported(reviews: Bucket, incident: str) -> bool:
    """Whether any process began to report this incident."""
    return reviews.find_record(alert_key(incident), Alert) is not None


def mark_looked(reviews: Bucket, run: Run) -> None:
    """Remember that a run's own alert task did its work."""
    reviews.put_record(LookedAt(dag_id=run.dag_id, run_id=run.run_id))


def has_looked(reviews: Bucket, run: Run) -> bool:
    return reviews.find_record(looked_at_key(run.dag_id, run.run_id), LookedAt) is not None
