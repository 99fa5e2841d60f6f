"""Roll-ups: what was read and proven before, many records in one object, so that it is read once.

    rollups/<name>-<sha256:16>/<sha256>.rollup

A roll-up is a cache. It may be deleted at any time, and is sealed like one. Each entry has the key
and the version tag of the record that it was made from, and is used only while a listing still
has that record under that tag. So a record that was added, changed or removed since is noticed,
and a roll-up that is missing, stale, torn or forged costs requests and changes no result.

The folder's name holds a digest of the trusted keys: if one is withdrawn, all is read again.

There are two levels. Most entries lie in one large object. What is new lies in a small one, which
is replaced each time until it has an eighth of the entries of the large one; then both are written
as one. A few new entries are not written: they are read one by one until there are more. Two
writers at once, or one that was killed, leave one object more, and the next merges it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pipelines.core import keys
from pipelines.core.errors import (
    StoreRefusedError,
    StoreUnavailableError,
    TrustError,
)
from pipelines.core.parallel import in_parallel
from pipelines.core.record import Record, canonical_json, sha256_of
from pipelines.core.store.answers import ObjectInfo
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.keyring import Keyring
from pipelines.core.store.sealed import AnyRecord

logger = logging.getLogger(__name__)

KIND = "RollUp"
FEWEST_NEW = 16  # entries; fewer are read again, one by one
MOST_OBJECTS = 16  # that are read; what else lies there is nothing that a writer left
_FORMAT = "r1"
_LARGEST_SHARE_OF_NEW = 8
_DAMAGED = (ValueError, KeyError, TypeError, RecursionError)

AnyMade = TypeVar("AnyMade", bound=Record)
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class _Entry:
    version_tag: str
    data: bytes


_Entries = dict[str, _Entry]


def trust_of(keyring: Keyring) -> str:
    """16 digits that change when the format or the trusted keys do."""
    return sha256_of(canonical_json([_FORMAT, *sorted(keyring.trusted_keys())]))[:16]


class RollUp:
    """The roll-up of one name. It is read at once, and written only by `keep`.

    Parameters
    ----------
    bucket : Bucket
        Where the records and the roll-up are.
    name : str
        What is rolled up.
    model : str
        Whose records they are, in the bucket of models; else empty.
    """

    def __init__(self, bucket: Bucket, name: str, *, model: str = "") -> None:
        self._bucket = bucket
        self._folder = keys.rollup_folder(name, trust_of(bucket.keyring), model=model)
        self._listed = [info.key for info in bucket.list(self._folder)][:MOST_OBJECTS]
        self._stored = self._read_all()
        self._known = {key: entry for each in self._stored.values() for key, entry in each.items()}
        self._new: _Entries = {}

    def has(self, key: str, version_tag: str) -> bool:
        """Whether the record under this key, with this tag, was proven before."""
        entry = self._known.get(key)
        return entry is not None and entry.version_tag == version_tag

    def each(
        self,
        read: Callable[[Item], Answer],
        items: Sequence[Item],
        place: Callable[[Item], tuple[str, str]],
    ) -> list[Answer]:
        """The result of reading each item; several at once of those that are not rolled up.

        Parameters
        ----------
        read : callable
            Reads an item, with `record`, `made` or `data`.
        items : sequence
            What to read.
        place : callable
            Key and version tag of an item.
        """
        is_known = [self.has(*place(item)) for item in items]
        fresh = [item for item, known in zip(items, is_known, strict=True) if not known]
        answers = iter(list(in_parallel(read, fresh)) if fresh else ())
        return [
            read(item) if known else next(answers)
            for item, known in zip(items, is_known, strict=True)
        ]

    def record(self, info: ObjectInfo, kind: type[AnyRecord]) -> AnyRecord:
        """The record that a listing has; read from its own object if it is not rolled up.

        Raises
        ------
        ObjectMissingError, TrustError
            As `Bucket.get_record` does.
        """
        return self.made(
            info.key, kind, lambda: self._bucket.get_record(info.key, kind), tag=info.version_tag
        )

    def made(
        self, key: str, kind: type[AnyMade], make: Callable[[], AnyMade], *, tag: str = ""
    ) -> AnyMade:
        """What was made of something that never changes under its key, and is made if unknown."""
        if self.has(key, tag):
            try:
                return kind.from_bytes(self._known[key].data, uri=self._bucket.uri(self._folder))
            except TrustError as error:
                logger.warning("rollup=%s key=%s is not used: %s", self._folder, key, error)
        made = make()
        self._new[key] = _Entry(tag, made.to_bytes())
        return made

    def find(self, key: str, kind: type[AnyMade]) -> AnyMade | None:
        """An entry that has no tag; None if it is unknown."""
        entry = self._new.get(key) or self._known.get(key)
        return None if entry is None else kind.from_bytes(entry.data, uri=self._folder)

    def put(self, key: str, made: Record) -> None:
        """Replace an entry that has no tag."""
        self._new[key] = _Entry("", made.to_bytes())

    def all(self, kind: type[AnyMade]) -> Iterator[tuple[str, AnyMade]]:
        """Every entry, by key."""
        for key, entry in sorted((self._known | self._new).items()):
            yield key, kind.from_bytes(entry.data, uri=self._folder)

    def data(self, key: str, make: Callable[[], bytes]) -> bytes:
        """As `made`, for bytes."""
        if self.has(key, ""):
            return self._known[key].data
        data = make()
        self._new[key] = _Entry("", data)
        return data

    def keep(self, *, only: Collection[str] | None = None) -> None:
        """Store what is not rolled up yet, if it is worth an object: at least `FEWEST_NEW` entries.

        It is a cache: if the store refuses, the night goes on.

        Parameters
        ----------
        only : collection of str, optional
            The keys of the entries that are still needed; the others are dropped when the large
            object is written again. By default all are.
        """
        stored = self._stored
        if len(self._new) < FEWEST_NEW and len(self._listed) <= 2:
            return
        needed = {
            key: entry
            for key, entry in (self._known | self._new).items()
            if only is None or key in only
        }
        large = next(iter(stored), "")
        base = stored.get(large, {})
        added = {key: entry for key, entry in needed.items() if base.get(key) != entry}
        is_small = len(added) * _LARGEST_SHARE_OF_NEW <= len(base)
        written = added if is_small else needed
        outdated = set(self._listed) - ({large} if is_small else set())
        self._write(written, outdated)

    def _write(self, entries: _Entries, outdated: set[str]) -> None:
        payload = _encoded(entries)
        key = f"{self._folder}{sha256_of(payload)}.rollup"
        try:
            self._bucket.put_cached(key, payload, kind=KIND)
            for other in sorted(outdated - {key}):
                self._bucket.delete(other)
        except (StoreRefusedError, StoreUnavailableError) as error:
            logger.warning("rollup=%s was not stored, or an older one not deleted: %s", key, error)
        else:
            logger.info("rollup=%s entries=%d", key, len(entries))

    def _read_all(self) -> dict[str, _Entries]:
        """The entries of each object that can be used, by its key; those of the large one first."""
        answers = list(in_parallel(self._read, self._listed)) if self._listed else []
        read = [
            (key, entries)
            for key, entries in zip(self._listed, answers, strict=True)
            if entries is not None
        ]
        return dict(sorted(read, key=lambda each: len(each[1]), reverse=True))

    def _read(self, key: str) -> _Entries | None:
        try:
            payload = self._bucket.find_cached(key, kind=KIND)
            return None if payload is None else _decoded(payload)
        except (*_DAMAGED, StoreRefusedError) as error:
            logger.warning("rollup=%s is not used: %s", key, error)
            return None


def _encoded(entries: _Entries) -> bytes:
    """A line of JSON with key, tag and size of each entry, then their bytes."""
    ordered = sorted(entries.items())
    head = [[key, entry.version_tag, len(entry.data)] for key, entry in ordered]
    return b"".join([canonical_json(head), *(entry.data for _, entry in ordered)])


def _decoded(payload: memoryview) -> _Entries:
    """The entries of a roll-up; one of `_DAMAGED` if it is not one."""
    data = bytes(payload)
    start = data.index(b"\n") + 1
    entries: _Entries = {}
    for key, version_tag, size in json.loads(data[:start]):
        entries[key] = _Entry(version_tag, data[start : start + size])
        start += size
    if start != len(data):
        raise ValueError("its entries do not have the sizes that it says")
    return entries
