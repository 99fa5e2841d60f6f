"""What the demo shows ends no line inside a word, on narrow terminals too."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from ops.demo.night_results import NightResult, table_of
from ops.display import Display

REPORT = "  ALARM source web, landing/web/2026-03-02/reviews.csv.gz: label_agreement: the champion"
RESULTS = [
    NightResult(
        night=f"2026-03-0{number}", story="more", delivered=20_000, accepted=19_974,
        quarantined=26, held=1_000, held_deliveries=number, alarms=(), replay=None, watch=None,
        ingest_state="success", retrain_state=None, verdict="NO_NEW_DATA", why="",
        champion="0123456789abcdef", generation=3, holdout_accuracy=0.918244,
        put_back="", requests=1_200, failed_requests=0, answered_by=(2, 3), seconds=44.4,
    )
    for number in (1, 2)
]  # fmt: skip


def terminal(width):
    return Console(width=width, force_terminal=True, color_system=None, file=io.StringIO())


def shown_by(console):
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 110, 150])
def test_a_line_ends_between_words(width):
    console = terminal(width)

    Display(console).line(f"\n{REPORT} disagrees\n  export AWS_ENDPOINT={'x' * 200}")

    lines = shown_by(console).splitlines()
    assert " ".join(" ".join(lines).split()).startswith(" ".join(REPORT.split()))
    assert all(len(line) <= width for line in lines if "xxx" not in line)
    assert "x" * 200 in shown_by(console)


@pytest.mark.parametrize(("width", "left_out"), [(80, 7), (110, 4), (150, 0)])
def test_the_table_leaves_out_columns_rather_than_break_a_word(width, left_out):
    console = terminal(width)
    table = table_of(RESULTS, console)

    console.print(table)

    words = set(re.findall(r"[\w.:,-]+", shown_by(console)))
    assert {"2026-03-01", "19,974", "NO_NEW_DATA", "0.9182", "accuracy", "success"} <= words
    assert len(table.columns) == 13 - left_out
    assert all(len(line) <= width for line in shown_by(console).splitlines())
