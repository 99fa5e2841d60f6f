"""Fingerprints and partitions for tests."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from pipelines.features.fingerprints import Fingerprints
from pipelines.features.views import View
from pipelines.intake.partitions import ACCEPTED_SCHEMA, write_partition
from pipelines.records.data import Partition, Snapshot
from tests.support.made.builders import some_rows


def a_partition(
    stores, *, first: int, rows: int = 6, night: str = "2026-01-05"
) -> tuple[Partition, list[str]]:
    texts = [row["text"] for row in some_rows(rows, first=first)]
    constant = {"review_id": None, "movie_id": None, "label": 1, "rating": None, "source": "web"}
    day = {"written_on": pa.scalar(20_000, pa.date32()).as_py()}
    table = pa.Table.from_pylist(
        [{"text_id": f"{number:064d}", "text": text} | constant | day
         for number, text in enumerate(texts, start=first)],
        schema=ACCEPTED_SCHEMA,
    )  # fmt: skip
    return write_partition(stores.reviews, f"accepted/date={night}", table), texts


def a_snapshot(*partitions: Partition) -> Snapshot:
    return Snapshot(
        partitions=partitions,
        rows=sum(partition.rows for partition in partitions),
        holdout_share=0.2,
        selection_share=0.2,
        salt="films",
    )


def plain(prints: Fingerprints) -> tuple[list[int], list[bool], list[int], View]:
    return prints.ids.tolist(), prints.is_late.tolist(), prints.lengths.tolist(), prints.view


IDS = st.integers(0, 30) | st.integers(2**40 - 5, 2**40 - 1)
MARKED_SETS = st.lists(st.dictionaries(IDS, st.booleans()), max_size=12)
"""Reviews as a dictionary each: the fingerprints, and whether they are late."""

LATE = 1.5
ONE_BY_ONE = View(ngram_max=1)


def some_reviews(sets: list[dict[int, bool]], view: View = ONE_BY_ONE) -> Fingerprints:
    ids = [(fp, review[fp]) for review in sets for fp in sorted(review)]
    return Fingerprints(
        np.array([fp for fp, _ in ids], np.uint64),
        np.array([is_late for _, is_late in ids], np.bool_),
        np.array([len(review) for review in sets], np.int64),
        view,
    )


def values_of(sets: list[dict[int, bool]], columns: list[int]) -> list[list[float]]:
    """What a matrix of these reviews holds, found one by one."""
    return [
        [0.0 if fp not in review else LATE if review[fp] else 1.0 for fp in columns]
        for review in sets
    ]
