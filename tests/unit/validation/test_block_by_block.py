"""What is found in a delivery does not depend on how many of its rows are in memory at a time."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from pipelines.core import config
from pipelines.intake.files.blocks import packed
from pipelines.intake.files.decoding import decode
from pipelines.intake.files.rows import Rows
from pipelines.intake.files.spooled_rows import SpooledRows
from pipelines.records.deliveries import Delivery
from pipelines.validation import checks, measurements, storing
from pipelines.validation.measurements import measure
from tests.support.in_memory import InMemory
from tests.support.made.builders import NIGHT, as_csv, some_rows

SETTINGS = config.load()
DAY = date.fromisoformat(NIGHT)
REPEATED = {12: {"text": some_rows(1)[0]["text"]}, 13: {"review_id": some_rows(3)[2]["review_id"]}}
ODD = {
    3: {"label": None}, 5: {"label": "so so"}, 7: {"text": None}, 8: {"written_on": "soon"},
    9: {"text": "x" * 30_000}, 15: {"label": "neutral"},
}  # fmt: skip
DELIVERY = Delivery(
    sha256="0" * 64, source="web", landing_key="landing/web/r.csv", file_format="csv",
    is_gzipped=False, size_bytes=1, night=NIGHT, raw_key=None,
)  # fmt: skip


class OneSided:
    """A champion that labels by the length of a text."""

    version, holdout_accuracy, holdout_rows = "0" * 20, 0.9, 1000

    def positive_scores(self, texts):
        return [0.9 - len(text) % 10 / 100 if len(text) % 2 == 0 else 0.2 for text in texts]


@pytest.fixture(scope="module")
def whole() -> Rows:
    changes = REPEATED | ODD
    rows = [row | changes.get(number, {}) for number, row in enumerate(some_rows(20))]
    return decode(as_csv(rows), "csv", is_gzipped=False, intake=SETTINGS.intake)


@pytest.fixture(scope="module")
def in_blocks(whole: Rows) -> SpooledRows:
    spooled = SpooledRows()
    spooled.extra_columns, spooled.found = whole.extra_columns, whole.found
    for start in range(0, len(whole), 3):
        block = whole.pick(range(start, min(start + 3, len(whole))))
        spooled.append(packed(block), len(block))
    return spooled


def test_the_rows_are_measured_alike(whole, in_blocks, monkeypatch):
    monkeypatch.setattr(measurements, "_ROWS_AT_ONCE", 4)
    first, second = (
        measure(rows, night=DAY, settings=SETTINGS.validation) for rows in (whole, in_blocks)
    )

    pd.testing.assert_frame_equal(second.frame, first.frame)
    for name in ("text_ids", "days", "signatures"):
        assert np.array_equal(getattr(second, name), getattr(first, name))
    for chosen in ([], [0, 4, 19], list(range(20))):
        counts = [each.grams.counts(np.array(chosen, np.intp)) for each in (first, second)]
        assert np.array_equal(*counts)
    assert first.frame["text_repeated"].to_numpy().nonzero()[0].tolist() == [12]
    assert first.frame["review_id_repeated"].to_numpy().nonzero()[0].tolist() == [13]


def test_the_rows_are_judged_alike(whole, in_blocks):
    first, second = (
        checks.check_rows(rows, night=DAY, settings=SETTINGS.validation, labeller=OneSided())
        for rows in (whole, in_blocks)
    )

    assert second.reasons == first.reasons
    assert first.reasons.keys() == REPEATED.keys() | ODD.keys()
    assert (second.profile, second.agreement, second.disputed) == (
        first.profile, first.agreement, first.disputed,
    )  # fmt: skip
    assert list(second.results) == list(first.results)
    assert set(second.disputed) <= set(second.good.tolist())


def test_a_partition_ends_where_its_texts_have_too_many_characters(in_blocks, monkeypatch):
    measured = measure(in_blocks, night=DAY, settings=SETTINGS.validation)
    good = np.array([row for row in range(20) if row not in REPEATED | ODD], np.intp)
    monkeypatch.setattr(storing, "MOST_PARTITION_CHARS", 150)  # two texts, three at most
    reviews = InMemory()

    fields = storing.store_rows(
        reviews, DELIVERY, in_blocks, measured, good=good, quarantined={}, partition_rows=20
    )

    parts = [fields["accepted"], *fields["further_accepted"]]
    assert len(parts) > 3
    assert max(part.rows for part in parts) <= 5
    assert sum(part.rows for part in parts) == len(good)


def test_a_file_without_rows_is_measured(monkeypatch):
    measured = measure(SpooledRows(), night=DAY, settings=SETTINGS.validation)

    assert len(measured.frame) == len(measured.text_ids) == len(measured.signatures) == 0
    assert measured.grams.counts(np.empty(0, np.intp)).sum() == 0
