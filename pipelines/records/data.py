"""Records of rows: a partition, and a snapshot of many."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

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


def _further() -> Any:
    """A field that a record does not have where everything fits into one partition."""
    return Field(default=(), exclude_if=lambda parts: not parts)


class WithRows(StoredRecord):
    """A record that says where rows of a delivery are, those of each kind in their order.

    A partition has at most ``intake.partition_rows`` rows; where there are more, the others are in
    further ones.
    """

    accepted: Partition | None
    quarantined: Partition | None
    sketch: Partition | None = None  # of the accepted rows: how their texts are recognised
    further_accepted: tuple[Partition, ...] = _further()
    further_quarantined: tuple[Partition, ...] = _further()
    further_sketches: tuple[Partition, ...] = _further()

    @property
    def accepted_parts(self) -> tuple[Partition, ...]:
        return _all(self.accepted, self.further_accepted)

    @property
    def quarantined_parts(self) -> tuple[Partition, ...]:
        return _all(self.quarantined, self.further_quarantined)

    @property
    def sketches(self) -> tuple[Partition, ...]:
        return _all(self.sketch, self.further_sketches)

    def stored_rows(self) -> dict[str, Any]:
        """These fields, for a record that follows from this one."""
        return {name: getattr(self, name) for name in WithRows.model_fields}


def _all(first: Partition | None, further: tuple[Partition, ...]) -> tuple[Partition, ...]:
    return () if first is None else (first, *further)


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
