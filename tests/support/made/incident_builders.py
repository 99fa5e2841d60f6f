"""Nights with troubles, made by the pipeline's own steps."""

from __future__ import annotations

from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.core.store.stores import Stores
from pipelines.intake.landing import delivery_digest, parse_name
from pipelines.records.deliveries import ReplayAction
from pipelines.steps import replay as steps_replay
from tests.support.made.builders import NIGHT, Row, as_csv, deliver, landing_key, some_rows

SECOND, THIRD = "2026-01-06", "2026-01-07"
REASON = "upstream says so"


def sent(
    stores: Stores, rows: list[Row], name: str, *, source: str = "web", night: str = NIGHT
) -> str:
    """Drop a file; returns its delivery."""
    key, body = landing_key(name, source=source, night=night), as_csv(rows)
    deliver(stores, key, body)
    return delivery_digest(parse_name(key), body).hexdigest()


def ingest(night: str = NIGHT) -> None:
    CliRunner().invoke(app, ["ingest", "--night", night, "--json"])


def replay(delivery: str, action: ReplayAction) -> None:
    steps_replay.apply_replay(steps_replay.plan_replay(delivery, action, REASON), "tester")


def odd_rows(count: int, *, first: int = 0, night: str = NIGHT) -> list[Row]:
    """Forty rows; the first ``count`` have a label that nobody knows. Three are over the budget."""
    rows = some_rows(40, first=first, night=night)
    return [row | ({"label": "so so"} if place < count else {}) for place, row in enumerate(rows)]
