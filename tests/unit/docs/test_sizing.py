"""What docs/sizing.md extrapolates follows from the slopes that it gives."""

from __future__ import annotations

import math
import re
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "sizing.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("|")
]
SHARE_OF_NEW = 1 / 100
DOLLARS_PER_GB = 0.023
MEASURED = (
    50  # thousands of reviews, to which verify was measured; its texts are not more with more
)


def number(cell: str) -> float:
    return float(cell.replace(",", ""))


def slope(what: str) -> tuple[float, float]:
    """What each thousand reviews cost, and what there is without any."""
    (row,) = (row for row in ROWS if row[0].startswith(what))
    return number(row[1]), number(row[2])


def grown(what: str, thousands: float) -> float:
    each, fixed = slope(what)
    return each * thousands + fixed


def a_night(candidate: str, thousands: float) -> tuple[float, float]:
    """CPU seconds and peak GB of a night that brings a hundredth of the reviews that count."""
    new = thousands * SHARE_OF_NEW
    seconds = grown("`reviews_ingest`", new) + grown("`featurize`", new)
    seconds += grown("`verify`, decision and card", min(thousands, MEASURED))
    if candidate == "`fingerprint_stream`":
        seconds += grown("`fingerprint_stream`, reviews that count, per 1,000: CPU s", thousands)
        return seconds, grown(
            "`fingerprint_stream`, reviews that count, per 1,000: peak", thousands
        ) / 1e3
    seconds += grown("`train`", thousands) + grown("`evaluate`", thousands)
    return seconds, grown("peak of a task's process", thousands) / 1e3


NIGHTS = [row for row in ROWS if len(row) == 7 and row[1].startswith("`fingerprint_")]


def test_the_table_reaches_a_hundred_million_reviews():
    assert [number(row[0]) for row in NIGHTS][-1] == 100_000_000


@pytest.mark.parametrize("row", NIGHTS, ids=lambda row: row[0])
def test_what_is_extrapolated_follows_from_the_slopes(row):
    thousands = number(row[0]) / 1000
    seconds, peak = a_night(row[1], thousands)
    stored = sum(slope(f"bytes {what}")[0] for what in ("that stay, as delivered",
                 "that stay, as accepted", "of caches")) * thousands / 1e6  # fmt: skip

    assert number(row[2]) == pytest.approx(seconds, rel=0.01, abs=0.6)
    assert number(row[3]) == pytest.approx(peak, rel=0.01, abs=0.06)
    assert number(row[4]) == pytest.approx(stored, rel=0.01, abs=0.06)
    assert number(row[5]) == pytest.approx(stored * DOLLARS_PER_GB, rel=0.01, abs=0.006)


# ── Models ───────────────────────────────────────────────────────────────────────────────────

HEAD = next(row for row in ROWS if row[0] == "with so many models")
COUNTS = [number(cell) for cell in HEAD[1:-2]]
OF_MODELS = [*takewhile(lambda row: len(row) == len(HEAD) and not row[1].startswith("candidate"),
                        ROWS[ROWS.index(HEAD) + 2 :])]  # fmt: skip


def of_models(what: str) -> tuple[float, float]:
    """What each model more costs, and what there is without any."""
    (row,) = (row for row in OF_MODELS if row[0] == what)
    return number(row[-2]), number(row[-1])


def breaks(what: str) -> float:
    """From how many models on something breaks, by the last table."""
    (row,) = (row for row in ROWS if row[0] == "models" and row[1].startswith(what))
    return number(re.findall(r"[0-9][0-9,]*", row[2])[-1])


def test_models_were_measured_up_to_a_thousand():
    assert COUNTS == [1, 10, 100, 1000]


@pytest.mark.parametrize("row", OF_MODELS, ids=lambda row: row[0])
def test_what_each_model_more_costs_is_the_line_through_what_was_measured(row):
    points = [
        (count, number(cell))
        for count, cell in zip(COUNTS, row[1:], strict=False)
        if cell != "not measured"
    ]
    counts, values = zip(*points, strict=True)
    each, fixed = np.polyfit(counts, values, 1)

    assert of_models(row[0]) == pytest.approx((each, fixed), rel=0.03, abs=0.01 * max(values))


def test_when_models_break_something_follows_from_what_each_costs():
    parsed, _ = of_models("parsing `sentiment_retrain.py`, CPU s")
    serialized, _ = of_models("serializing its DAGs, CPU s")
    (scraped,) = (number(row[3]) for row in OF_MODELS if row[0] == "`/metrics`, CPU s")  # of 100
    policy, fixed = of_models("largest policy, characters")

    assert breaks("the policy") == math.ceil((6_144 - fixed) / policy)
    assert breaks("a scrape") == pytest.approx(10 / (scraped / 100), rel=0.1)
    assert breaks("the file") == pytest.approx(50 / (parsed + serialized), rel=0.1)
