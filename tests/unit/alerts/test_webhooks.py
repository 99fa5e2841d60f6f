"""What webhooks are sent: Slack's blocks, and plain JSON."""

from __future__ import annotations

import hashlib
import hmac
import json

from pipelines.alerts import webhooks
from pipelines.alerts.alert import Link
from tests.support.made.alert_builders import HOSTILE, an_alert


def test_slack_is_told_what_happened_where_to_look_and_what_to_do():
    shown = webhooks.slack(an_alert())

    header, told, clickable = shown["blocks"]
    assert header["text"]["text"] == "critical: A delivery of source 'web' is held"
    assert (
        "None of its 5 rows count.\nwhat to do: docs/runbooks/held-delivery.md"
        in (told["text"]["text"])
    )
    assert "report: s3://reviews/reports/r/report.html" in told["text"]["text"]
    assert clickable["text"]["text"] == "<https://airflow.example.org/dags/x/runs/y|run>"


def test_slack_parses_no_foreign_text():
    shown = webhooks.slack(an_alert(title=HOSTILE, sentences=(HOSTILE,)))

    parsed = [block for block in shown["blocks"] if block["text"]["type"] != "plain_text"]
    assert [block["text"]["text"] for block in parsed] == [
        "<https://airflow.example.org/dags/x/runs/y|run>"
    ]
    assert shown["text"].startswith("critical: &lt;script&gt;alert(1)&lt;/script&gt;")
    assert "<" not in shown["text"]
    assert "@here" not in shown["text"]
    assert (shown["parse"], shown["mrkdwn"], shown["link_names"]) == ("none", False, False)


def test_slacks_limits_are_kept():
    shown = webhooks.slack(an_alert(title="t" * 500, sentences=("s" * 900,) * 8))

    header, told = shown["blocks"][:2]
    assert len(header["text"]["text"]) == 150
    assert len(told["text"]["text"]) == 3000


def test_an_address_cannot_end_slacks_link_early():
    link = Link(name="run", url="https://x/a|b> <!channel>")

    *_, clickable = webhooks.slack(an_alert(links=(link,)))["blocks"]

    assert clickable["text"]["text"] == "<https://x/a%7Cb%3E%20%3C!channel%3E|run>"


def test_the_webhook_gets_every_fact_and_the_same_bytes_each_time():
    alert = an_alert(sentences=(HOSTILE,))

    body = webhooks.generic(alert)

    payload = json.loads(body)
    assert body == webhooks.generic(alert)
    assert payload["incident"] == alert.key
    assert (payload["kind"], payload["severity"], payload["owner"]) == (
        "held_delivery", "critical", "ml-platform",
    )  # fmt: skip
    assert payload["runbook"] == "docs/runbooks/held-delivery.md"
    assert payload["links"][0]["url"] == "https://airflow.example.org/dags/x/runs/y"


def test_the_signature_is_the_hmac_of_the_body():
    expected = hmac.new(b"secret", b'{"a":1}', hashlib.sha256).hexdigest()

    assert webhooks.signature(b'{"a":1}', "secret") == f"sha256={expected}"
