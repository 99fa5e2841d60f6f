"""`python -m pipelines alerts`: test the channels, and list what was sent."""

from __future__ import annotations

import os
import uuid
from typing import Annotated, Any

import typer

from pipelines.alerts import messages
from pipelines.alerts.channels import open_channels
from pipelines.cli.output import (
    EXIT_ERROR,
    AsJson,
    complain,
    print_json,
    reports_errors,
)
from pipelines.cli.tables import print_table
from pipelines.core import config
from pipelines.core.errors import AlertChannelError
from pipelines.steps import alerts as steps_alerts


def check() -> list[dict[str, Any]]:
    """Send a test alert by every channel that is switched on; nothing is recorded.

    Returns
    -------
    lines : list of dict
        Per channel whether it ``is_sent``, and ``why`` not, or not to all. Empty when alerts are
        off.
    """
    settings = config.load().alerts
    alert = messages.trial(uuid.uuid4().hex, settings.airflow_url)
    lines = []
    for channel in open_channels(settings, os.environ):
        try:
            complaint = channel.send(alert)
        except AlertChannelError as error:
            lines.append({"channel": channel.name, "is_sent": False, "why": error.why})
        except Exception as error:  # noqa: BLE001 - the other channels must still be tried
            why = type(error).__name__  # its text may hold an address
            lines.append({"channel": channel.name, "is_sent": False, "why": why})
        else:
            lines.append({"channel": channel.name, "is_sent": True, "why": complaint})
    return lines


def reported(*, only_unsent: bool) -> list[dict[str, Any]]:
    """Every alert that was sent, or should have been."""
    return [
        line for line in steps_alerts.every_alert() if not only_unsent or line["state"] != "sent"
    ]


alerts_app = typer.Typer(help="Test the alert channels; list what was sent.", no_args_is_help=True)


@alerts_app.command("check")
@reports_errors
def alerts_check(as_json: AsJson = False) -> None:
    """Send a test alert by every channel that is switched on, and show the result.

    Exit code 0: all channels work. 1: a channel failed, or alerts are off.
    """
    lines = check()
    if as_json:
        print_json(lines)
    else:
        rows = [
            (line["channel"], "sent" if line["is_sent"] else "FAILED", line["why"])
            for line in lines
        ]
        print_table("Alerts", ("channel", "test", "why"), rows, if_empty="Nothing was sent.")
    if not lines:
        complain("alerts are off: no channel of [alerts] is switched on in the configuration")
    if not lines or not all(line["is_sent"] and not line["why"] for line in lines):
        raise typer.Exit(EXIT_ERROR)


@alerts_app.command("list")
@reports_errors
def alerts_list(
    only_unsent: Annotated[
        bool,
        typer.Option("--unsent", help="Only alerts that may not have been sent."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List every reported incident by channel, and what could not be sent."""
    lines = reported(only_unsent=only_unsent)
    if as_json:
        print_json(lines)
        return
    names = ("kind", "title", "channel", "state", "attempts", "why")
    print_table(
        "Alerts", names, [tuple(str(line[name]) for name in names) for line in lines],
        if_empty="Every alert was sent." if only_unsent else "Nothing was reported yet.",
    )  # fmt: skip
