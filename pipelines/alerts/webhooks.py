"""An alert as the body for a webhook: Slack's blocks, or plain JSON with a signature."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any
from urllib.parse import quote

from pipelines.alerts.alert import Alert
from pipelines.alerts.mail import facts, is_web
from pipelines.core.escaping import plain
from pipelines.core.record import canonical_json

# Slack's own limits: https://api.slack.com/reference/block-kit/blocks
_MAX_HEADER_CHARS, _MAX_SECTION_CHARS = 150, 3000
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def slack(alert: Alert) -> dict[str, Any]:
    """The payload of an incoming webhook.

    Foreign text is in ``plain_text`` objects, which Slack does not parse: it cannot become a
    mention, link or markup. The line for notifications cannot have them, so it is escaped.
    """
    title = f"{alert.severity}: {alert.title}"
    blocks = [
        {"type": "header", "text": _plain_text(plain(title, most=_MAX_HEADER_CHARS))},
        {"type": "section", "text": _plain_text(_words(alert)[:_MAX_SECTION_CHARS])},
    ]
    if clickable := [f"<{_address(link.url)}|{link.name}>" for link in alert.links if is_web(link)]:
        blocks.append(
            {"type": "section", "text": {"type": "mrkdwn", "text": " | ".join(clickable)}}
        )
    return {
        "text": inert(title),
        "mrkdwn": False,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": blocks,
    }


def _words(alert: Alert) -> str:
    lines = [*alert.sentences, *(f"{name}: {value}" for name, value in facts(alert))]
    lines += [f"{link.name}: {link.url}" for link in alert.links if not is_web(link)]
    return "\n".join(lines)


def inert(text: str) -> str:
    """Text that Slack shows as it is: nothing in it becomes a mention, a link or markup."""
    escaped = "".join(_ESCAPES.get(letter, letter) for letter in text)
    return escaped.replace("@", "@\N{WORD JOINER}")


def _plain_text(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _address(url: str) -> str:
    """An address that cannot end Slack's ``<address|label>`` early."""
    return quote(url, safe=":/?#[]@!$&'()*+,;=%-._~")


def generic(alert: Alert) -> bytes:
    """The body of a generic webhook: one JSON object, the same bytes for the same alert."""
    return canonical_json(
        {
            "schema_version": 1,
            "incident": alert.key,
            "kind": alert.kind,
            "severity": alert.severity,
            "owner": alert.owner,
            "runbook": alert.runbook,
            "title": alert.title,
            "sentences": list(alert.sentences),
            "night": alert.night,
            "dag_id": alert.dag_id,
            "run_id": alert.run_id,
            "delivery": alert.delivery,
            "links": [link.model_dump() for link in alert.links],
        }
    )


def signature(body: bytes, secret: str) -> str:
    """The header ``X-Loop-Signature``: HMAC-SHA256 of the body, in hex."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
