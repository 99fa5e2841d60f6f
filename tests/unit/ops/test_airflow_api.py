"""What the demo and the benchmarks assume of Airflow's schedule."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from ops.services.airflow_api import last_complete_night


@pytest.mark.parametrize(
    ("now", "night"),
    [("2026-03-10T01:59:59", "2026-03-08"), ("2026-03-10T02:00:00", "2026-03-09"),
     ("2026-03-10T23:59:59", "2026-03-09")],
)  # fmt: skip
def test_the_schedulers_own_night_is_the_last_whose_interval_is_over(now, night):
    """Played by the demo as well, it would be refused: two runs of one date."""
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)

    assert last_complete_night(moment) == date.fromisoformat(night)
