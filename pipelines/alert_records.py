"""What is recorded of alerts in the reviews bucket.

alerts/<incident>/alert.json                    what is told
alerts/<incident>/<channel>/<number>.json       claim: somebody is about to send it
alerts/<incident>/<channel>/<number>.sent.json  it was sent; or .failed.json, with the reason
alerts/<incident>/<channel>/000.failed.json     not tried: the channel had just failed
alerts/runs/<run>.json                          a run's own alert task looked at how it ended
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

from pipelines.alerts import Alert, ChannelName, Run
from pipelines.records import Record, Sha256, sha256_of
from pipelines.store import Bucket

PREFIX = "alerts/"
_ATTEMPT = re.compile(
    rf"{PREFIX}([0-9a-f]{{64}})/({'|'.join(get_args(ChannelName))})"
    r"/([0-9]{3})(?:\.(sent|failed))?\.json"
)

State = Literal["sent", "failed", "unsettled"]


class Claim(Record):
    """Somebody is about to send an alert."""

    schema_version: Literal[1] = 1
    incident: Sha256
    channel: ChannelName
    number: int
    token: str  # of the one process that may send
    at: str  # ISO 8601, UTC; tells when a claim without an end was given up


class AttemptEnd(Record):
    """How an attempt ended."""

    schema_version: Literal[1] = 1
    why: str  # it failed; empty when sent
    at: str


@dataclass(frozen=True)
class Attempt:
    """The newest attempt to send one alert by one channel."""

    incident: str
    channel: ChannelName
    number: int
    state: State


def attempts(reviews: Bucket) -> list[Attempt]:
    """The newest attempt of every incident and channel, in the order of their keys."""
    found: dict[tuple[str, str], Attempt] = {}
    for info in reviews.list(PREFIX):
        if not (parts := _ATTEMPT.fullmatch(info.key)):
            continue  # the alert, a run, or an object that is not ours
        incident, channel, number, end = parts.groups()
        before = found.get((incident, channel))
        # A claim is listed after its end, or before it: the end tells more.
        if before is None or int(number) > before.number or before.state == "unsettled":
            named, state = cast("ChannelName", channel), cast("State", end or "unsettled")
            found[incident, channel] = Attempt(incident, named, int(number), state)
    return list(found.values())


def read_alert(reviews: Bucket, incident: str) -> Alert:
    return reviews.get_record(alert_key(incident), Alert)


def why_failed(reviews: Bucket, attempt: Attempt) -> str:
    """Why an attempt failed; the empty text for any other."""
    if attempt.state != "failed":
        return ""
    key = end_key(attempt.incident, attempt.channel, attempt.number, "failed")
    return reviews.get_record(key, AttemptEnd).why


def was_told(reviews: Bucket, incident: str) -> bool:
    """Whether anybody began to tell this incident."""
    return reviews.find(alert_key(incident)) is not None


def mark_looked(reviews: Bucket, run: Run) -> None:
    """Remember that a run's own alert task did its work."""
    reviews.put_record(run_key(run), Run(dag_id=run.dag_id, run_id=run.run_id))


def has_looked(reviews: Bucket, run: Run) -> bool:
    return reviews.find(run_key(run)) is not None


def alert_key(incident: str) -> str:
    return f"{PREFIX}{incident}/alert.json"


def claim_key(incident: str, channel: ChannelName, number: int) -> str:
    return f"{PREFIX}{incident}/{channel}/{number:03d}.json"


def end_key(incident: str, channel: ChannelName, number: int, state: State) -> str:
    return f"{PREFIX}{incident}/{channel}/{number:03d}.{state}.json"


def run_key(run: Run) -> str:
    name = sha256_of(f"{run.dag_id}\n{run.run_id}".encode("utf-8", "backslashreplace"))
    return f"{PREFIX}runs/{name}.json"
