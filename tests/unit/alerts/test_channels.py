"""Mail, Slack and webhook against real servers on loopback, good ones and bad ones."""

from __future__ import annotations

import json
import logging
import socket

import pytest

from pipelines.alerts.channels import open_channels
from pipelines.alerts.webhooks import signature
from pipelines.core import config
from pipelines.core.errors import AlertChannelError
from pipelines.core.settings.operation import AlertSettings
from tests.support.made.alert_builders import an_alert
from tests.support.services.alert_servers import HANG_SECONDS, mail_server, self_signed, web_server

SECRET = "SECRET-TOKEN"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def settings(**channels):
    """The default settings with some channels switched on."""
    values = config.load(config.CONFIG_FOLDER / "default.toml").alerts.model_dump()
    for name, changes in channels.items():
        values[name] |= {"is_enabled": True, "timeout_seconds": 30.0} | changes
    return AlertSettings.model_validate(values)


def mail(port, *, scheme="smtp", login="", **changes):
    wanted = settings(
        mail={"sender": "loop@example.org", "recipients": ["ops@example.org"]} | changes
    )
    (channel,) = open_channels(wanted, {"LOOP_SMTP_URL": f"{scheme}://{login}127.0.0.1:{port}"})
    return channel


def slack(url, **changes):
    (channel,) = open_channels(settings(slack=changes), {"LOOP_SLACK_WEBHOOK_URL": url})
    return channel


def refusal(channel):
    """Why it could not send."""
    with pytest.raises(AlertChannelError) as refused:
        channel.send(an_alert())
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
    return refused.value.why


def test_no_channel_is_on_unless_configured():
    everything = dict.fromkeys(("LOOP_SMTP_URL", "LOOP_SLACK_WEBHOOK_URL", "LOOP_WEBHOOK_URL"), "x")

    assert open_channels(settings(), everything) == []


def test_a_mail_arrives():
    with mail_server() as mails:
        mail(mails.port).send(an_alert())

        (received,) = mails.messages
    assert received["Subject"] == "[critical] A delivery of source 'web' is held"
    assert received["To"] == "ops@example.org"


def test_a_mail_arrives_through_tls_with_a_login(tmp_path, monkeypatch):
    tls, pem = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with mail_server(tls) as mails:
        mail(mails.port, scheme="smtps", login="ada:p%40ss@").send(an_alert())

        assert len(mails.messages) == 1
    assert mails.logins == ["AGFkYQBwQHNz"]  # \0ada\0p@ss in base64


def test_a_refused_login_is_said_without_the_password():
    with mail_server(login_reply=f"535 no {SECRET}") as mails:
        why = refusal(mail(mails.port, login=f"ada:{SECRET}@"))

    assert why == "SMTPAuthenticationError 535"
    assert mails.received == []


def test_a_mail_that_one_recipient_does_not_get_is_sent_and_that_is_said():
    with mail_server(refuses="gone@example.org") as mails:
        channel = mail(mails.port, recipients=["ops@example.org", "gone@example.org"])
        complaint = channel.send(an_alert())

        assert len(mails.received) == 1
    assert complaint == "it refused 1 of 2 recipients"


def test_a_mail_that_no_recipient_gets_is_not_sent():
    with mail_server(refuses="ops@example.org") as mails:
        assert refusal(mail(mails.port)) == "SMTPRecipientsRefused"

        assert mails.received == []


def test_a_refused_text_says_nothing_of_other_mails():
    with (
        mail_server(data_reply="554 this looks like spam") as mails,
        pytest.raises(AlertChannelError) as refused,
    ):
        mail(mails.port).send(an_alert())

    assert (refused.value.why, refused.value.is_dead) == ("SMTPDataError 554", False)


@pytest.mark.parametrize(
    ("status", "is_dead"),
    [(400, False), (413, False), (422, False),
     (302, True), (401, True), (403, True), (404, True), (410, True), (429, True), (503, True)],
)  # fmt: skip
def test_an_answer_about_what_was_sent_says_nothing_of_other_alerts(status, is_dead):
    with web_server(status=status) as posts, pytest.raises(AlertChannelError) as refused:
        slack(posts.url).send(an_alert())

    assert refused.value.is_dead == is_dead


def test_slack_gets_its_blocks_and_the_webhook_its_signed_json():
    with web_server() as posts:
        environment = {
            "LOOP_SLACK_WEBHOOK_URL": posts.url,
            "LOOP_WEBHOOK_URL": posts.url,
            "LOOP_WEBHOOK_SECRET": "shared",
        }
        for channel in open_channels(settings(slack={}, webhook={}), environment):
            channel.send(an_alert())

        to_slack, generic = posts.received
    assert json.loads(to_slack.body)["blocks"]
    assert "X-Loop-Signature" not in to_slack.headers
    assert generic.headers["X-Loop-Signature"] == signature(generic.body, "shared")
    assert (
        generic.headers["Idempotency-Key"] == an_alert().key == to_slack.headers["Idempotency-Key"]
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_proxy_sees_a_webhook_on_this_machine(monkeypatch, host):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with web_server() as proxy, web_server() as posts:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        slack(posts.url.replace("127.0.0.1", host)).send(an_alert())

        assert (len(posts.received), proxy.received) == (1, [])


def test_a_redirect_is_not_followed():
    with web_server() as elsewhere, web_server(status=302, location=elsewhere.url) as posts:
        why = refusal(slack(posts.url))

        assert (len(posts.received), elsewhere.received) == (1, [])
    assert why == "it answered 302; redirects are not followed"


@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_an_answer_that_is_no_yes_is_a_failure(status):
    with web_server(status=status) as posts:
        assert refusal(slack(posts.url)) == f"it answered {status}"


def test_a_server_that_hangs_costs_no_more_than_its_seconds():
    with web_server(silent_seconds=HANG_SECONDS) as posts:
        why = refusal(slack(posts.url, timeout_seconds=0.3))

    assert why in {"it gave no answer within 0.3 seconds", "ReadTimeout"}


def test_a_server_that_drips_costs_no_more_than_its_seconds_in_all():
    with web_server(drips=True) as posts:
        why = refusal(slack(posts.url, timeout_seconds=3))

    assert why == "it gave no answer within 3 seconds"  # though each byte came in time


def test_a_mail_server_that_says_nothing_costs_no_more_than_its_seconds():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        why = refusal(mail(silent.getsockname()[1], timeout_seconds=0.3))

    assert why in {"it gave no answer within 0.3 seconds", "TimeoutError"}


def test_a_closed_port_is_said():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port
        port = closed.getsockname()[1]

        by_slack = refusal(slack(f"http://127.0.0.1:{port}/{SECRET}"))
        by_mail = refusal(mail(port, login=f"a:{SECRET}@"))

    assert by_slack == by_mail == "nobody listens there (connection refused)"


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path):
    tls, _ = self_signed(tmp_path)

    with web_server(tls) as posts, mail_server(tls) as mails:
        by_slack, by_mail = refusal(slack(posts.url)), refusal(mail(mails.port, scheme="smtps"))

        assert (posts.received, mails.received) == ([], [])
    assert by_slack.startswith("its certificate is not trusted")
    assert by_mail.startswith("its certificate is not trusted")


def test_a_password_never_crosses_the_network_in_the_clear(monkeypatch):
    monkeypatch.setattr("pipelines.alerts.channels.is_loopback", lambda host: False)

    with mail_server() as mails:
        assert refusal(mail(mails.port, login=f"a:{SECRET}@")) == "SMTPNotSupportedError"
    assert mails.logins == []


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "LOOP_SLACK_WEBHOOK_URL is not set to an https address"),
        ("hooks.example.org/SECRET-TOKEN", "LOOP_SLACK_WEBHOOK_URL is not set to an https address"),
        ("file:///SECRET-TOKEN", "LOOP_SLACK_WEBHOOK_URL is not set to an https address"),
        (
            "https://x:99999999/SECRET-TOKEN",
            "LOOP_SLACK_WEBHOOK_URL is not set to an https address",
        ),
        (
            "http://hooks.example.org/SECRET-TOKEN",
            "LOOP_SLACK_WEBHOOK_URL must be https: http shows its secret to the network",
        ),
    ],
)
def test_an_address_that_cannot_be_used_is_said_without_showing_it(url, why):
    assert refusal(slack(url)) == why


@pytest.mark.parametrize("url", ["", "mail.example.org:25", "https://mail.example.org", "smtp://"])
def test_a_mail_server_that_cannot_be_one_is_said(url):
    wanted = settings(mail={"sender": "a@b.c", "recipients": ["d@e.f"]})

    (channel,) = open_channels(wanted, {"LOOP_SMTP_URL": url})

    assert refusal(channel).startswith("LOOP_SMTP_URL is not set to smtps://")


def test_mail_without_anybody_to_read_it_is_said():
    (channel,) = open_channels(settings(mail={}), {"LOOP_SMTP_URL": "smtp://127.0.0.1"})

    assert "alerts.mail.recipients is empty" in refusal(channel)


def test_no_secret_is_in_any_log_line(caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="httpx")

    with web_server() as posts, web_server(status=500) as broken:
        slack(posts.url).send(an_alert())
        refusal(slack(broken.url))

    assert posts.received[0].path == f"/hook/{SECRET}"
    assert SECRET not in caplog.text
    assert caplog.records  # the loggers below httpx did speak
