"""A bucket without a server: keys are checked and nothing is overwritten, as in the real one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import IO, Any

from pipelines.core.config import load
from pipelines.core.errors import AlreadyExistsError, ObjectMissingError, TrustError
from pipelines.core.store.bucket import Bucket, ObjectInfo, checked_key
from pipelines.core.store.keyring import Keyring


class InMemory(Bucket):
    """Enough of a bucket for an ingest; what upstream and the ledger's copies need is replaced."""

    def __init__(self) -> None:
        settings = load()
        keyring = Keyring(settings.trust.trusted_keys)
        super().__init__("memory", client=None, settings=settings.store, keyring=keyring)
        self.objects: dict[str, bytes] = {}
        self.moments: dict[str, datetime] = {}  # when some of them were stored

    def put_once(self, key: str, data: bytes) -> Any:
        is_there = checked_key(key) in self.objects
        if self.objects.setdefault(key, data) != data:
            raise AlreadyExistsError(key)
        return "identical" if is_there else "created"

    def put(self, key: str, data: bytes) -> None:
        self.objects[checked_key(key)] = data

    def put_file(self, key: str, file: IO[bytes]) -> None:
        self.put(key, file.read())

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        if key not in self.objects:
            raise ObjectMissingError(key)
        if max_bytes is not None and len(self.objects[key]) > max_bytes:
            raise TrustError(key)
        return self.objects[key]

    def stream(self, key: str) -> tuple[str, Iterator[bytes]]:
        data = self.get(key)
        return self._info(key).version_tag, iter([data])

    def find(self, key: str) -> ObjectInfo | None:
        return self._info(key) if key in self.objects else None

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)

    def list(self, prefix: str) -> list[ObjectInfo]:
        return [self._info(key) for key in sorted(self.objects) if key.startswith(prefix)]

    def first(self, prefix: str, count: int) -> list[ObjectInfo]:
        return self.list(prefix)[:count]

    def clock(self) -> datetime:
        return datetime.now(UTC).replace(microsecond=0)

    def _info(self, key: str) -> ObjectInfo:
        data = self.objects[key]
        tag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return ObjectInfo(key, len(data), tag, self.moments.get(key))
