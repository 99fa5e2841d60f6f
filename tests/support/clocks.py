"""Machines whose clock is wrong, and stores whose clock says what a test wants."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import pytest

FAR = timedelta(days=400)


def set_machine_clock(monkeypatch: pytest.MonkeyPatch, off_by: timedelta) -> None:
    """Every module of the project sees a machine clock that is off; the store's is right."""

    class Shifted(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + off_by

    import pipelines.__main__

    assert pipelines.__main__
    for name, module in list(sys.modules.items()):
        if name == "pipelines.core.store.answers":
            continue  # it knows datetimes of replies by their type, and asks no clock
        if name.startswith("pipelines.") and getattr(module, "datetime", None) is datetime:
            monkeypatch.setattr(module, "datetime", Shifted)


def real_now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
