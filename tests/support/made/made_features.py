"""Fingerprints and partitions for tests."""

from __future__ import annotations

import pyarrow as pa

from pipelines.features.fingerprints import Fingerprints
from pipelines.intake.partitions import ACCEPTED_SCHEMA, write_partition
from pipelines.records.data import Partition, Snapshot
from tests.support.made.builders import some_rows


def a_partition(stores, *, first: int, rows: int = 6) -> tuple[Partition, list[str]]:
    texts = [row["text"] for row in some_rows(rows, first=first)]
    constant = {"review_id": None, "movie_id": None, "label": 1, "rating": None, "source": "web"}
    day = {"written_on": pa.scalar(20_000, pa.date32()).as_py()}
    table = pa.Table.from_pylist(
        [{"text_id": f"{number:064d}", "text": text} | constant | day
         for number, text in enumerate(texts, start=first)],
        schema=ACCEPTED_SCHEMA,
    )  # fmt: skip
    return write_partition(stores.reviews, "accepted/date=2026-01-05", table), texts


def a_snapshot(*partitions: Partition) -> Snapshot:
    return Snapshot(
        partitions=partitions,
        rows=sum(partition.rows for partition in partitions),
        holdout_share=0.2,
        selection_share=0.2,
        salt="films",
    )


def plain(prints: Fingerprints) -> tuple[list[int], list[int], int, int]:
    return prints.ids.tolist(), prints.lengths.tolist(), prints.ngram_max, prints.bits
