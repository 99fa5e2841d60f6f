"""Records of rows: a partition, and a snapshot of many."""

from __future__ import annotations

from typing import Literal

from pipelines.core import keys
from pipelines.core.record import Record, Sha256, StoredRecord


class Partition(Record):
    """Rows of one delivery: an immutable Parquet file."""

    key: str  # <accepted, quarantine or sketches>/date=<night>/<sha256>.parquet
    sha256: Sha256
    rows: int
    size_bytes: int

    @property
    def night(self) -> str:
        """The day the rows were delivered for, ``YYYY-MM-DD``."""
        return keys.night_of_partition(self.key)


class Snapshot(StoredRecord):
    """Exactly which accepted partitions a model may see, and how rows are split."""

    schema_version: Literal[1] = 1
    partitions: tuple[Partition, ...]
    rows: int
    holdout_share: float
    selection_share: float
    salt: str

    @property
    def object_key(self) -> str:
        return keys.snapshot_key(self.digest())
