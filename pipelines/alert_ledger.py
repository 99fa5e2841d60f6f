"""Tell each incident once: claims in the reviews bucket, one per incident, channel and attempt.

alerts/<incident>/alert.json                    what is told
alerts/<incident>/<channel>/<number>.json       claim: somebody is about to send it
alerts/<incident>/<channel>/<number>.sent.json  it was sent; or .failed.json, with the reason
alerts/runs/<run>.json                          a run's own alert task looked at how it ended

A claim is created if absent, so of many that tell the same incident one sends it. An attempt that
failed, or whose process was killed, is made again by `sweep`: better told twice than not at all.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, cast, get_args

from pipelines import alert_words
from pipelines.alert_channels import Channel, open_channels
from pipelines.alerts import Alert, ChannelName, Run
from pipelines.config import AlertSettings, Settings
from pipelines.errors import AlertChannelError, AlreadyExistsError, LoopError
from pipelines.records import Record, Sha256, sha256_of
from pipelines.store import Bucket, open_stores

logger = logging.getLogger(__name__)

PREFIX = "alerts/"

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


@dataclass
class Teller:
    """Tells incidents by the channels that are switched on.

    Attributes
    ----------
    reviews : Bucket
        Where the claims are.
    channels : sequence of Channel
        That are switched on; may be none.
    settings : AlertSettings
        Who wants what.
    now : callable
        The clock.
    """

    reviews: Bucket
    channels: Sequence[Channel]
    settings: AlertSettings
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _dead: dict[ChannelName, str] = field(default_factory=dict)
    _reported: set[ChannelName] = field(default_factory=set)

    @property
    def is_on(self) -> bool:
        return bool(self.channels)

    def tell(self, alert: Alert) -> None:
        """Tell an incident by every channel that wants it, unless that was done before.

        Raises nothing for a channel that fails: that is recorded, logged, and told by the others.
        """
        if not self.is_on:
            return
        wanted = [one for one in self.channels if self._wants(one, alert)]
        try:
            self._record(alert)
            # All claims first: if this process is killed, each of them is found and made again.
            claims = [(one, self._claim(alert, one.name, 1)) for one in wanted]
        except LoopError as error:
            self._tell_unclaimed(alert, wanted, error)
        else:
            for channel, claim in claims:
                if claim is not None:
                    self._attempt(channel, alert, claim)
        self._report_dead()

    def sweep(self) -> None:
        """Make attempts again that failed or came to no end, up to ``max_attempts`` times."""
        if not self.is_on:
            return
        by_name = {one.name: one for one in self.channels}
        for last in attempts(self.reviews):
            channel = by_name.get(last.channel)
            if channel is None or last.state == "sent":
                continue
            try:
                self._again(channel, last)
            except LoopError as error:  # one that cannot be read must not silence the others
                logger.warning("incident=%s stays untold: %s", last.incident, error)
        self._report_dead()

    def _again(self, channel: Channel, last: Attempt) -> None:
        if not self._is_due(last):
            return
        alert = read_alert(self.reviews, last.incident)
        claim = self._claim(alert, channel.name, last.number + 1)
        if claim is not None:
            self._attempt(channel, alert, claim)

    def _is_due(self, last: Attempt) -> bool:
        if last.number >= self.settings.max_attempts:
            return False
        if last.state == "failed":
            return True
        claim = self.reviews.get_record(_claim_key(last.incident, last.channel, last.number), Claim)
        age = self.now() - datetime.fromisoformat(claim.at)
        return age >= timedelta(minutes=self.settings.retry_after_minutes)

    def _wants(self, channel: Channel, alert: Alert) -> bool:
        wanted = getattr(self.settings, channel.name)
        is_named = not wanted.kinds or alert.kind in wanted.kinds
        return is_named and alert.severity in wanted.severities

    def _record(self, alert: Alert) -> None:
        try:
            self.reviews.put_record(_alert_key(alert.key), alert)
        except AlreadyExistsError:
            logger.debug("incident=%s is known in other words", alert.key)  # the first stand

    def _claim(self, alert: Alert, channel: ChannelName, number: int) -> Claim | None:
        """The right to send; None when somebody else has it, or had it."""
        claim = Claim(
            incident=alert.key, channel=channel, number=number, token=uuid.uuid4().hex, at=self._at
        )
        try:
            self.reviews.put_record(_claim_key(alert.key, channel, number), claim)
        except AlreadyExistsError:
            return None
        return claim

    def _attempt(self, channel: Channel, alert: Alert, claim: Claim) -> None:
        why = self._send(channel, alert)
        key = _end_key(claim.incident, claim.channel, claim.number, "failed" if why else "sent")
        try:
            self.reviews.put_record(key, AttemptEnd(why=why, at=self._at))
        except LoopError as error:  # it is found without an end, and made again
            logger.warning("alert=%s channel=%s has no end: %s", alert.kind, channel.name, error)

    def _send(self, channel: Channel, alert: Alert) -> str:
        """Send it; returns why that failed, or the empty text."""
        if channel.name in self._dead:  # do not wait for it a second time
            return self._dead[channel.name]
        try:
            channel.send(alert)
        except AlertChannelError as error:
            logger.warning("alert=%s was not sent: %s", alert.kind, error)
            self._dead[channel.name] = error.why
            return error.why
        logger.info("alert=%s incident=%s channel=%s sent", alert.kind, alert.key, channel.name)
        return ""

    def _tell_unclaimed(self, alert: Alert, wanted: Iterable[Channel], error: LoopError) -> None:
        """The store itself is in trouble, which is no reason to let people sleep."""
        logger.warning("alert=%s cannot be claimed, it may come twice: %s", alert.kind, error)
        doubt = ("The store did not answer, so this may be told more than once.",)
        told = alert.model_copy(update={"sentences": alert.sentences + doubt})
        for channel in wanted:
            self._send(channel, told)

    def _report_dead(self) -> None:
        """Tell by the other channels that one does not work."""
        unreported = [name for name in self._dead if name not in self._reported]
        for name in unreported:
            self._reported.add(name)
            alive = [one for one in self.channels if one.name not in self._dead]
            day = self.now().date().isoformat()
            others = Teller(self.reviews, alive, self.settings, self.now)
            others.tell(alert_words.dead_channel(name, self._dead[name], day))

    @property
    def _at(self) -> str:
        return self.now().isoformat(timespec="seconds")


def open_teller(settings: Settings, environment: Mapping[str, str]) -> Teller:
    """A teller for the channels that are switched on."""
    channels = open_channels(settings.alerts, environment)
    return Teller(open_stores(settings.store).reviews, channels, settings.alerts)


def warn_of_untold(teller: Teller) -> None:
    """Say in the log how many alerts were not sent. Never raises: a summary must not fail by it."""
    if not teller.is_on:
        return
    try:
        untold = [one for one in attempts(teller.reviews) if one.state != "sent"]
    except LoopError as error:
        logger.warning("whether alerts are untold is not known: %s", error)
        return
    if untold:
        logger.warning(
            "untold_alerts=%d were not sent, or not surely: python -m pipelines alerts list, "
            "docs/runbooks/dead-alert-channel.md",
            len(untold),
        )


def attempts(reviews: Bucket) -> list[Attempt]:
    """The newest attempt of every incident and channel, in the order of their keys."""
    found: dict[tuple[str, str], Attempt] = {}
    for info in reviews.list(PREFIX):
        incident, _, rest = info.key.removeprefix(PREFIX).partition("/")
        channel, _, name = rest.partition("/")
        number, _, ending = name.partition(".")
        if channel not in get_args(ChannelName):
            continue
        before = found.get((incident, channel))
        state: State = "sent" if ending == "sent.json" else "failed"
        if ending == "json":
            state = "unsettled"
        # A claim is listed after its end, or before it: the end tells more.
        if before is None or int(number) > before.number or before.state == "unsettled":
            named = cast("ChannelName", channel)
            found[incident, channel] = Attempt(incident, named, int(number), state)
    return list(found.values())


def read_alert(reviews: Bucket, incident: str) -> Alert:
    return reviews.get_record(_alert_key(incident), Alert)


def why_failed(reviews: Bucket, attempt: Attempt) -> str:
    """Why an attempt failed; the empty text for any other."""
    if attempt.state != "failed":
        return ""
    key = _end_key(attempt.incident, attempt.channel, attempt.number, "failed")
    return reviews.get_record(key, AttemptEnd).why


def was_told(reviews: Bucket, incident: str) -> bool:
    """Whether anybody began to tell this incident."""
    return reviews.find(_alert_key(incident)) is not None


def mark_looked(reviews: Bucket, run: Run) -> None:
    """Remember that a run's own alert task did its work."""
    reviews.put_record(_run_key(run), Run(dag_id=run.dag_id, run_id=run.run_id))


def has_looked(reviews: Bucket, run: Run) -> bool:
    return reviews.find(_run_key(run)) is not None


def _alert_key(incident: str) -> str:
    return f"{PREFIX}{incident}/alert.json"


def _claim_key(incident: str, channel: ChannelName, number: int) -> str:
    return f"{PREFIX}{incident}/{channel}/{number:03d}.json"


def _end_key(incident: str, channel: ChannelName, number: int, state: State) -> str:
    return f"{PREFIX}{incident}/{channel}/{number:03d}.{state}.json"


def _run_key(run: Run) -> str:
    name = sha256_of(f"{run.dag_id}\n{run.run_id}".encode("utf-8", "backslashreplace"))
    return f"{PREFIX}runs/{name}.json"
