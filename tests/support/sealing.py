"""Sealing with the keys of the configuration in force."""

from __future__ import annotations

from pipelines.core import config
from pipelines.core.record import StoredRecord
from pipelines.core.store import sealed, signing
from pipelines.core.store.keyring import Keyring, public_hex


def keyring() -> Keyring:
    return Keyring(config.load().trust.trusted_keys)


def own_key_id() -> str:
    return public_hex(keyring().private_key())


def seal(payload: bytes, *, kind: str, place: str) -> bytes:
    return signing.seal(payload, kind=kind, place=place, keyring=keyring())


def to_stored(record: StoredRecord) -> bytes:
    return sealed.to_stored(record, keyring())
