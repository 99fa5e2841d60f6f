"""Report each incident once: claims in the reviews bucket, one per incident, channel and attempt.

A claim is created if absent, so only one of many processes that report an incident sends it.
`sweep` repeats an attempt that failed, or whose process was killed: better sent twice than never.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pipelines.alerts import messages
from pipelines.alerts.alert import Alert
from pipelines.alerts.channels import Channel, open_channels
from pipelines.alerts.records import (
    Attempt,
    AttemptEnd,
    Claim,
    attempts,
    read_alert,
    read_claim,
    read_end,
)
from pipelines.core.errors import AlertChannelError, LoopError, TrustError, sentence
from pipelines.core.settings.operation import AlertSettings, ChannelName
from pipelines.core.settings.settings import Settings
from pipelines.core.store import clock
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.stores import open_stores

logger = logging.getLogger(__name__)


@dataclass
class Notifier:
    """Reports incidents through the channels that are switched on.

    Attributes
    ----------
    reviews : Bucket
        Where the claims are.
    channels : sequence of Channel
        That are switched on; may be none.
    settings : AlertSettings
        Which alerts each channel sends.
    now : callable or None
        For tests; else the store's clock, for the dates of records and their age.
    """

    reviews: Bucket
    channels: Sequence[Channel]
    settings: AlertSettings
    now: Callable[[], datetime] | None = None
    _dead: dict[ChannelName, str] = field(default_factory=dict)  # fail for any alert; and why
    _trouble: dict[ChannelName, str] = field(default_factory=dict)  # work, but not for all
    _reported: set[str] = field(default_factory=set)

    @property
    def is_on(self) -> bool:
        return bool(self.channels)

    def notify(self, alert: Alert) -> None:
        """Report an incident by every channel that sends its kind, unless that was done before.

        Never raises for a channel that fails: that is recorded, logged, and reported by the others.
        """
        if not self.is_on:
            return
        channels = [channel for channel in self.channels if self._wants(channel, alert)]
        try:
            self._record(alert)
            # All claims first: if this process is killed, `sweep` finds and repeats each of them.
            claims = [(channel, self._first_claim(alert, channel.name)) for channel in channels]
        except LoopError as error:
            self._notify_unclaimed(alert, channels, error)
        else:
            for channel, claim in claims:
                if claim is not None:
                    self._attempt(channel, alert, claim)
        self._report_dead()

    def sweep(self) -> None:
        """Repeat attempts that failed or did not finish, up to ``max_attempts`` times."""
        if not self.is_on:
            return
        by_name = {channel.name: channel for channel in self.channels}
        for last in attempts(self.reviews):
            channel = by_name.get(last.channel)
            if channel is None or last.state == "sent":
                continue
            try:
                self._again(channel, last)
            except Exception as error:  # noqa: BLE001 - one must not silence the others
                logger.warning("incident=%s remains unsent: %s", last.incident, sentence(error))
        self._report_dead()

    def _again(self, channel: Channel, last: Attempt) -> None:
        if channel.name in self._dead or not self._is_due(last):
            return
        alert = read_alert(self.reviews, last.incident)
        claim = self._claim(alert, channel.name, last.number + 1)
        if claim is not None:
            self._attempt(channel, alert, claim)

    def _is_due(self, last: Attempt) -> bool:
        if last.number >= self.settings.max_attempts:
            return False
        try:
            newest = (
                read_end(self.reviews, last, "failed")
                if last.state == "failed"
                else read_claim(self.reviews, last)
            )
        except TrustError as error:  # forged or torn: better sent twice than not at all
            logger.warning("incident=%s is sent again: %s", last.incident, error)
            return True
        began, now = clock.read(newest.at), self._now()
        if began is None or began > now + clock.CLOCKS_AGREE:
            return True  # a date that cannot be right: better sent twice than never
        return now - began >= timedelta(minutes=self.settings.retry_after_minutes)

    def _now(self) -> datetime:
        return self.now() if self.now else clock.now(self.reviews)

    def _wants(self, channel: Channel, alert: Alert) -> bool:
        wishes = getattr(self.settings, channel.name)
        is_named = not wishes.kinds or alert.kind in wishes.kinds
        return is_named and alert.severity in wishes.severities

    def _record(self, alert: Alert) -> None:
        if self.reviews.put_first(alert) != alert:
            logger.debug("incident=%s was recorded in other words", alert.key)  # which are kept

    def _claim(self, alert: Alert, channel: ChannelName, number: int) -> Claim | None:
        """The right to send; None when another process has or had it."""
        claim = Claim(
            incident=alert.key, channel=channel, number=number, token=uuid.uuid4().hex, at=self._at
        )
        return claim if self.reviews.put_first(claim) == claim else None

    def _first_claim(self, alert: Alert, channel: ChannelName) -> Claim | None:
        """Claim the first attempt.

        For a channel known to be down, record attempt 0 as failed so that it keeps all its retries.
        """
        if channel not in self._dead:
            return self._claim(alert, channel, 1)
        self._note_end(alert, channel, 0, self._dead[channel])
        return None

    def _attempt(self, channel: Channel, alert: Alert, claim: Claim) -> None:
        self._note_end(alert, channel.name, claim.number, self._send(channel, alert))

    def _note_end(self, alert: Alert, channel: ChannelName, number: int, why: str) -> None:
        end = AttemptEnd(
            incident=alert.key, channel=channel, number=number,
            state="failed" if why else "sent", why=why, at=self._at,
        )  # fmt: skip
        try:
            self.reviews.put_record(end)
        except LoopError as error:  # `sweep` finds it without an end and repeats it
            logger.warning("alert=%s channel=%s: end not recorded: %s", alert.kind, channel, error)

    def _send(self, channel: Channel, alert: Alert) -> str:
        """Send it; returns why that failed, or the empty text."""
        if channel.name in self._dead:  # do not wait for it a second time
            return self._dead[channel.name]
        try:
            complaint = channel.send(alert)
        except AlertChannelError as error:
            logger.warning("alert=%s was not sent: %s", alert.kind, error)
            (self._dead if error.is_dead else self._trouble)[channel.name] = error.why
            return error.why
        except Exception as error:  # noqa: BLE001 - this alert's fault, not the other channels'
            why = f"{type(error).__name__} while it was written"  # its text may hold an address
            logger.warning("alert=%s was not sent by %s: %s", alert.kind, channel.name, why)
            self._trouble[channel.name] = why
            return why
        if complaint:
            logger.warning("alert=%s channel=%s sent, but %s", alert.kind, channel.name, complaint)
            self._trouble[channel.name] = complaint
        logger.info("alert=%s incident=%s channel=%s sent", alert.kind, alert.key, channel.name)
        return ""

    def _notify_unclaimed(
        self, alert: Alert, channels: Iterable[Channel], error: LoopError
    ) -> None:
        """Send without a claim: the store failed or a claim was forged, but people must know."""
        logger.warning("alert=%s cannot be claimed and may be sent twice: %s", alert.kind, error)
        doubt = ("The store did not answer correctly, so this alert may be sent more than once.",)
        doubtful = alert.model_copy(update={"sentences": alert.sentences + doubt})
        for channel in channels:
            self._send(channel, doubtful)

    def _report_dead(self) -> None:
        """Report by the channels that work which ones do not, or not for all."""
        if not (self._dead or self._trouble):
            return
        about = self._day(), self.settings.airflow_url
        alerts = [messages.dead_channel(name, why, *about) for name, why in self._dead.items()]
        alerts += [
            messages.flawed_channel(name, why, *about) for name, why in self._trouble.items()
        ]
        for alert in alerts:
            if alert.key in self._reported:
                continue
            self._reported.add(alert.key)
            alive = [channel for channel in self.channels if channel.name not in self._dead]
            # It shares what was reported, so that a flawed channel does not report itself for ever.
            Notifier(self.reviews, alive, self.settings, self.now, _reported=self._reported).notify(
                alert
            )

    def _day(self) -> str:
        """Today; by this machine's clock while the store is down, so that alerts are still sent.

        At worst, a wrong day reports a dead channel once more.
        """
        try:
            return self._now().date().isoformat()
        except LoopError:
            return datetime.now(UTC).date().isoformat()

    @property
    def _at(self) -> str:
        return clock.written(self._now())


def open_notifier(settings: Settings, environment: Mapping[str, str]) -> Notifier:
    """A notifier for the channels that are switched on in the settings."""
    channels = open_channels(settings.alerts, environment)
    return Notifier(open_stores(settings, "alerts").reviews, channels, settings.alerts)


def warn_of_unsent(notifier: Notifier) -> None:
    """Log how many alerts were not sent. Never raises: a summary must not fail because of it."""
    if not notifier.is_on:
        return
    try:
        unsent = [attempt for attempt in attempts(notifier.reviews) if attempt.state != "sent"]
    except Exception as error:  # noqa: BLE001 - as said above
        logger.warning("cannot tell whether alerts are unsent: %s", sentence(error))
        return
    if unsent:
        logger.warning(
            "unsent_alerts=%d were not sent, or it is not known whether they were. See: "
            "python -m pipelines alerts list --unsent, docs/runbooks/dead-alert-channel.md",
            len(unsent),
        )
