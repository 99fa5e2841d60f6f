"""The only place where records are written to a store and read from it.

A stored record is one line, the seal (`core.store.signing`), and then the record. A reader names
the kind of record that it expects and its key, and gets the record only if

1. a trusted key sealed these very bytes, as a record of this kind, for this key;
2. they are a record of this kind; and
3. the record's own fields make this key.

So every reader refuses a record that was changed, forged, or put in the place of another one,
before it looks at the content. No caller can forget one of these checks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TypeVar

from pipelines.core.errors import AlreadyExistsError, ObjectMissingError, SignatureError, TrustError
from pipelines.core.record import StoredRecord
from pipelines.core.store import signing
from pipelines.core.store.keyring import Keyring

logger = logging.getLogger(__name__)

MAX_RECORD_BYTES = 64 * 1024 * 1024

AnyRecord = TypeVar("AnyRecord", bound=StoredRecord)


def to_stored(record: StoredRecord, keyring: Keyring) -> bytes:
    """A record as it is stored: sealed for its place.

    Raises
    ------
    ConfigError
        If this process has no key, or its key is not trusted.
    """
    kind = type(record)
    return signing.seal(
        record.to_bytes(),
        kind=kind.__name__,
        place=_place(kind, record.object_key),
        keyring=keyring,
    )


def from_stored(
    data: bytes, kind: type[AnyRecord], key: str, *, uri: str, keyring: Keyring
) -> AnyRecord:
    """The record in stored bytes, if it is proven to belong under this key.

    Raises
    ------
    TrustError
        If it is not; the message says which proof failed.
    """
    place = _place(kind, key)
    payload = signing.unseal(data, kind=kind.__name__, place=place, uri=uri, keyring=keyring)
    record = kind.from_bytes(bytes(payload), uri=uri)
    if record.object_key != key:
        raise SignatureError(
            f"{uri} holds the {kind.__name__} that belongs under {record.object_key}. "
            "It is not used: find out who put it there."
        )
    return record


def named_key(data: bytes, kind: type[StoredRecord], *, uri: str) -> str:
    """The key that stored bytes say they were sealed for; `from_stored` proves it.

    Raises
    ------
    SignatureError
        If they are not sealed for a key of this kind of record.
    """
    bucket, _, key = signing.read_seal(data, uri=uri)["place"].partition("/")
    if bucket != kind.BUCKET:
        raise SignatureError(f"{uri} was signed for the bucket {bucket!r}. It is not used.")
    return key


def _place(kind: type[StoredRecord], key: str) -> str:
    return f"{kind.BUCKET}/{key}"


class SealedRecords:
    """What a bucket does with records and caches; how it reads and writes bytes is its own."""

    keyring: Keyring

    def get_record(self, key: str, kind: type[AnyRecord]) -> AnyRecord:
        """The record of this kind under a key.

        Raises
        ------
        ObjectMissingError
            If it does not exist.
        TrustError
            If the stored object is not proven to be this record, see `from_stored`.
        """
        return from_stored(self.stored(key), kind, key, uri=self.uri(key), keyring=self.keyring)

    def find_record(self, key: str, kind: type[AnyRecord]) -> AnyRecord | None:
        """The record, or None when the store says that it does not exist."""
        try:
            return self.get_record(key, kind)
        except ObjectMissingError:
            return None

    def proven(self, names: Iterable[str], kind: type[AnyRecord]) -> Iterator[AnyRecord]:
        """Those of these records that are proven to be ours, read one after the other.

        Somebody who can write to the bucket may have put others there; they hide none of ours.
        """
        for name in names:
            try:
                yield self.get_record(name, kind)
            except (TrustError, ObjectMissingError) as error:
                logger.warning("key=%s is left out: %s", name, error)

    def put_record(self, record: StoredRecord) -> None:
        """Commit a record under its own key. Repeating it changes nothing.

        Raises
        ------
        AlreadyExistsError
            If another record was committed there.
        TrustError
            If the object there is not one of our records.
        """
        stored = self.put_first(record)
        if stored != record:
            raise AlreadyExistsError(
                f"{self.uri(record.object_key)} already exists with other content and is never "
                "overwritten"
            )

    def put_first(self, record: AnyRecord) -> AnyRecord:
        """Commit a record unless one exists; returns the stored one.

        Raises
        ------
        TrustError
            If the object there is not one of our records.
        """
        key = record.object_key
        try:
            self.put_once(key, to_stored(record, self.keyring))
        except AlreadyExistsError:
            return self.get_record(key, type(record))
        return record

    def put_cached(self, key: str, payload: bytes, *, kind: str) -> None:
        """Write or replace an entry of a cache, sealed because training may depend on it."""
        self.put(
            key, signing.seal(payload, kind=kind, place=f"reviews/{key}", keyring=self.keyring)
        )

    def find_cached(
        self, key: str, *, kind: str, usual_bytes: int = MAX_RECORD_BYTES
    ) -> memoryview | None:
        """An entry of a cache, see `get_cached`; None where it is missing or not ours."""
        try:
            return self.get_cached(key, kind=kind, usual_bytes=usual_bytes)
        except ObjectMissingError:
            return None
        except TrustError as error:
            logger.warning("cache=%s is not used: %s", key, error)
            return None

    def get_cached(self, key: str, *, kind: str, usual_bytes: int = MAX_RECORD_BYTES) -> memoryview:
        """An entry of a cache; TrustError where it is not proven to be ours.

        One that is larger than ``usual_bytes`` is proven while it is read piece by piece, and only
        then read into memory: so nobody without a key can make a reader take much memory.
        """
        sealed = {"kind": kind, "place": f"reviews/{key}", "uri": self.uri(key)}
        try:
            data = self.get(key, max_bytes=usual_bytes)
        except TrustError:
            chunks = self.stream(key)[1]
            size = signing.check_unkept(chunks, **sealed, keyring=self.keyring)
            data = self.get(key, max_bytes=size)
        return signing.unseal(data, **sealed, keyring=self.keyring)

    def signed_by(self, key: str) -> str:
        """The public key in an object's seal, without checking the signature."""
        return signing.read_seal(self.stored(key), uri=self.uri(key))["key_id"]

    def stored(self, key: str) -> bytes:
        """A record as it is stored, with its seal, which is not checked here."""
        return self.get(key, max_bytes=MAX_RECORD_BYTES)

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        raise NotImplementedError

    def stream(self, key: str) -> tuple[str, Iterator[bytes]]:
        raise NotImplementedError

    def put(self, key: str, data: bytes) -> None:
        raise NotImplementedError

    def put_once(self, key: str, data: bytes) -> object:
        raise NotImplementedError

    def uri(self, key: str) -> str:
        raise NotImplementedError
