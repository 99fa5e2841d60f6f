"""The record of what housekeeping deleted."""

from __future__ import annotations

from typing import Literal

from pipelines.core import keys
from pipelines.core.record import Record, StoredRecord


class Doomed(Record):
    """An object that is deleted because nothing needs it any more."""

    bucket: Literal["reviews", "models"]
    key: str
    size_bytes: int
    stored_at: str  # by the store's clock
    why: str


class Housekeeping(StoredRecord):
    """What was deleted in one go, and why. It is written before the first object is deleted."""

    schema_version: Literal[1] = 1
    objects: tuple[Doomed, ...]  # in the order in which they are deleted
    actor: str
    at: str  # ISO 8601, UTC, seconds

    @property
    def object_key(self) -> str:
        return keys.housekeeping_key(self.digest())
