"""How upstream may write a day: a format of Python's ``strptime``, or a number of seconds."""

from __future__ import annotations

from datetime import UTC, datetime

EPOCH = "epoch"
"""Seconds since 1970, or thousandths, millionths or billionths of them."""


def gives_a_day(form: str) -> bool:
    """Whether a day that is written in a format is read as the same day."""
    day = datetime(2026, 11, 20, tzinfo=UTC)  # a zone may be a part of the format
    try:
        return form == EPOCH or datetime.strptime(day.strftime(form), form).date() == day.date()  # noqa: DTZ007
    except ValueError:
        return False
