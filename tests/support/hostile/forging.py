"""Stored records as somebody without the key, or with it, could make them."""

from __future__ import annotations

import json
from typing import Any

from pipelines.core.record import StoredRecord, canonical_json
from tests.support.sealing import to_stored


def fields_in(stored: bytes) -> dict[str, Any]:
    """What a stored record says, read by nobody's rules: the line after the seal."""
    return dict(json.loads(stored.partition(b"\n")[2]))


def tampered(stored: bytes, **changes: Any) -> bytes:
    """A stored record with other fields under its old seal, as without the key."""
    seal, newline, _ = stored.partition(b"\n")
    return seal + newline + canonical_json(fields_in(stored) | changes)


def resealed(record: StoredRecord, **changes: Any) -> bytes:
    """A record with other fields, sealed by this process's key for where it then belongs."""
    return to_stored(record.model_copy(update=changes))
