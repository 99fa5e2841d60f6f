"""`python -m pipelines alerts`: are people reached, and what were they told?"""

from __future__ import annotations

import os
import uuid
from typing import Any

from pipelines import alert_steps, alert_words, config
from pipelines.alert_channels import open_channels
from pipelines.errors import AlertChannelError


def check() -> list[dict[str, Any]]:
    """Send a test by every channel that is switched on; nothing is recorded.

    Returns
    -------
    lines : list of dict
        Per channel whether it ``is_sent``, and ``why`` not, or not to all. Empty when alerts are
        off.
    """
    alert = alert_words.trial(uuid.uuid4().hex)
    lines = []
    for channel in open_channels(config.load().alerts, os.environ):
        try:
            complaint = channel.send(alert)
        except AlertChannelError as error:
            lines.append({"channel": channel.name, "is_sent": False, "why": error.why})
        except Exception as error:  # noqa: BLE001 - the other channels are tried, too
            why = type(error).__name__  # its text may hold an address
            lines.append({"channel": channel.name, "is_sent": False, "why": why})
        else:
            lines.append({"channel": channel.name, "is_sent": True, "why": complaint})
    return lines


def told(*, only_untold: bool) -> list[dict[str, Any]]:
    """What people were told, or should have been."""
    return [
        line for line in alert_steps.every_alert() if not only_untold or line["state"] != "sent"
    ]
