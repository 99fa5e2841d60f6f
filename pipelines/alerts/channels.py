"""The ways to send an alert: mail, Slack, a webhook. Each is off unless it is configured.

Addresses with passwords or tokens come from the environment and are secrets as a whole: no error,
log line or record of this module holds any part of them.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import queue
import smtplib
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from pipelines.alerts import mail as alerts_mail
from pipelines.alerts import webhooks
from pipelines.alerts.alert import Alert
from pipelines.core.errors import AlertChannelError
from pipelines.core.settings.operation import (
    AlertSettings,
    ChannelName,
    ChannelSettings,
    MailSettings,
)

SMTP_VARIABLE = "LOOP_SMTP_URL"
SLACK_VARIABLE = "LOOP_SLACK_WEBHOOK_URL"
WEBHOOK_VARIABLE = "LOOP_WEBHOOK_URL"
SECRET_VARIABLE = "LOOP_WEBHOOK_SECRET"  # noqa: S105 - the variable's name
VARIABLES = (SMTP_VARIABLE, SLACK_VARIABLE, WEBHOOK_VARIABLE, SECRET_VARIABLE)

_USUAL_PORTS = {"smtps": 465, "smtp": 587}
_REFUSES_ONE_ALERT = {400, 413, 422}  # statuses about what was sent, not about who or where


class Channel(Protocol):
    """One way to send an alert."""

    @property
    def name(self) -> ChannelName: ...

    def send(self, alert: Alert) -> str:
        """Send it, or raise `AlertChannelError` within the configured seconds.

        Returns
        -------
        complaint : str
            What is wrong although it was sent; usually empty.
        """


@dataclass(frozen=True)
class Unusable:
    """A channel that is switched on and lacks something. It fails whenever it is used."""

    name: ChannelName
    why: str

    def send(self, _alert: Alert) -> str:
        raise AlertChannelError(channel=self.name, why=self.why)


@dataclass(frozen=True)
class Mail:
    """SMTP, always encrypted: ``smtps://`` from the start, ``smtp://`` by STARTTLS.

    Without encryption only to this very machine, where ``smtp://`` is enough.
    """

    settings: MailSettings
    address: SplitResult
    name: ChannelName = "mail"

    def send(self, alert: Alert) -> str:
        return within(self.name, self.settings.timeout_seconds, lambda: self._send(alert))

    def _send(self, alert: Alert) -> str:
        mail = alerts_mail.message(
            alert, sender=self.settings.sender, recipients=self.settings.recipients,
            at=datetime.now(UTC),
        )  # fmt: skip
        with self._connected() as server:
            if self.address.username:
                password = unquote(self.address.password or "")
                server.login(unquote(self.address.username), password)
            refused = server.send_message(mail)
        # The others have received it, and sending it again would send it to them twice.
        of_all = len(self.settings.recipients)
        return f"it refused {len(refused)} of {of_all} recipients" if refused else ""

    def _connected(self) -> smtplib.SMTP:
        host, seconds = self.address.hostname or "", self.settings.timeout_seconds
        port = self.address.port or _USUAL_PORTS[self.address.scheme]
        trusted = ssl.create_default_context()
        if self.address.scheme == "smtps":
            return smtplib.SMTP_SSL(host, port, timeout=seconds, context=trusted)
        server = smtplib.SMTP(host, port, timeout=seconds)
        try:
            server.ehlo()
            if server.has_extn("starttls") or not is_loopback(host):
                server.starttls(context=trusted)
        except BaseException:
            server.close()
            raise
        return server


@dataclass(frozen=True)
class Post:
    """A webhook, which gets one request per alert. Redirects are not followed."""

    name: ChannelName
    settings: ChannelSettings
    url: str
    secret: str = ""

    def send(self, alert: Alert) -> str:
        import httpx  # before the clock starts: the first time takes a while on a busy machine

        return within(self.name, self.settings.timeout_seconds, lambda: self._send(alert, httpx))

    def _send(self, alert: Alert, httpx: ModuleType) -> str:
        logging.getLogger("httpx").addFilter(_hide_requests)
        body = (
            json.dumps(webhooks.slack(alert)).encode()
            if self.name == "slack"
            else webhooks.generic(alert)
        )
        headers = {"Content-Type": "application/json", "Idempotency-Key": alert.key}
        if self.secret:
            headers["X-Loop-Signature"] = webhooks.signature(body, self.secret)
        with (
            self._client(httpx) as client,
            client.stream("POST", self.url, content=body, headers=headers) as reply,
        ):
            status = reply.status_code
        if not 200 <= status < 300:
            redirects = "; redirects are not followed" if 300 <= status < 400 else ""
            raise AlertChannelError(
                channel=self.name, why=f"it answered {status}{redirects}",
                is_dead=status not in _REFUSES_ONE_ALERT,
            )  # fmt: skip
        return ""

    def _client(self, httpx: ModuleType) -> Any:
        """Use the environment's proxy, except to this machine: the proxy would see the secret."""
        is_here = is_loopback(urlsplit(self.url).hostname or "")
        seconds = self.settings.timeout_seconds
        return httpx.Client(timeout=seconds, verify=_trusted(), trust_env=not is_here)


def open_channels(settings: AlertSettings, environment: Mapping[str, str]) -> list[Channel]:
    """Every channel that is switched on; one that lacks its variable is `Unusable`."""
    channels: list[Channel] = []
    if settings.mail.is_enabled:
        channels.append(_mail(settings.mail, environment))
    if settings.slack.is_enabled:
        channels.append(_post("slack", settings.slack, SLACK_VARIABLE, environment))
    if settings.webhook.is_enabled:
        channels.append(_post("webhook", settings.webhook, WEBHOOK_VARIABLE, environment))
    return channels


def _mail(settings: MailSettings, environment: Mapping[str, str]) -> Channel:
    if not settings.sender or not settings.recipients:
        return Unusable("mail", "alerts.mail.sender or alerts.mail.recipients is empty")
    address = _split(environment.get(SMTP_VARIABLE, ""))
    if address is None or address.scheme not in _USUAL_PORTS or not address.hostname:
        return Unusable(
            "mail", f"{SMTP_VARIABLE} is not set to smtps://user:password@host:465 or smtp://..."
        )
    return Mail(settings, address)


def _post(
    name: ChannelName, settings: ChannelSettings, variable: str, environment: Mapping[str, str]
) -> Channel:
    url = environment.get(variable, "").strip()
    address = _split(url)
    if address is None or address.scheme not in {"https", "http"} or not address.hostname:
        return Unusable(name, f"{variable} is not set to an https address")
    if address.scheme == "http" and not is_loopback(address.hostname):
        return Unusable(name, f"{variable} must be https: http shows its secret to the network")
    secret = environment.get(SECRET_VARIABLE, "").strip() if name == "webhook" else ""
    return Post(name, settings, url, secret)


def _split(url: str) -> SplitResult | None:
    """The parts of an address; None when it is not an address. The port is checked, too."""
    with contextlib.suppress(ValueError):
        address = urlsplit(url.strip())
        if address.port != 0:
            return address
    return None


def is_loopback(host: str) -> bool:
    """Whether it is this very machine, without asking a name server."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _trusted() -> ssl.SSLContext:
    return ssl.create_default_context()


def within(name: ChannelName, seconds: float, send: Callable[[], str]) -> str:
    """The result of ``send``, within so many seconds in all, however slowly the server answers.

    Raises
    ------
    AlertChannelError
        If it took longer, or failed. The cause is named by its kind only: the texts of network
        errors hold addresses.
    """
    ended: queue.Queue[Exception | str] = queue.Queue()
    threading.Thread(target=_attempt, args=(send, ended), daemon=True).start()
    try:
        end = ended.get(timeout=seconds)
    except queue.Empty:
        why = f"it gave no answer within {seconds:g} seconds"
        raise AlertChannelError(channel=name, why=why) from None
    if isinstance(end, str):
        return end
    if isinstance(end, AlertChannelError):
        raise end
    is_dead = not isinstance(end, smtplib.SMTPDataError)  # which is about this mail's text
    raise AlertChannelError(channel=name, why=_kind_of(end), is_dead=is_dead) from None


def _attempt(send: Callable[[], str], ended: queue.Queue[Exception | str]) -> None:
    try:
        ended.put(send())
    except Exception as error:  # noqa: BLE001 - whatever it is, a night must not end by it
        ended.put(error)


def _kind_of(error: Exception) -> str:
    """What went wrong, without any text from the server or the address."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__} {error.smtp_code}"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted (code {cause.verify_code})"
        if isinstance(cause, ConnectionRefusedError):
            return "nobody listens there (connection refused)"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def _hide_requests(record: logging.LogRecord) -> bool:
    """False for the line in which httpx logs the address that it calls: ours are secrets."""
    return record.levelno >= logging.WARNING
