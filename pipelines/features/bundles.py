"""Small objects that are read together, in a few large ones, so that a reading takes few requests.

    rollups/bundled-<sha256:16>/...     which object is in which bundle
    features/bundles/<sha256>.bundle    their bytes, one after the other

A bundle only carries bytes, and only of objects that are named by their content: whoever reads one
from it proves it as if it came from its own key, a partition by its digest, a cache entry by its
seal. So a bundle may be deleted at any time, and one that is torn, forged or stale costs requests
and changes no result.

Objects are added in the order in which they come. The last bundle is written again with what is
added until it is full; a full one never changes.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence

from pipelines.core.errors import (
    ObjectMissingError,
    StoreRefusedError,
    StoreUnavailableError,
    TrustError,
)
from pipelines.core.parallel import in_parallel
from pipelines.core.record import Record, Sha256, sha256_of
from pipelines.core.store import rollups
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.rollups import RollUp

logger = logging.getLogger(__name__)

FOLDER, KIND = "features/bundles/", "Bundle"
FULL_BYTES = 8 * 1024 * 1024
LARGEST_BYTES = 1024 * 1024  # a larger object is read by itself
_MOST_HELD = 8  # bundles in memory


class _Place(Record):
    bundle: Sha256
    start: int
    size: int


class Bundles:
    """Reads objects of a bucket, from bundles where they are in one."""

    def __init__(self, reviews: Bucket) -> None:
        self._reviews = reviews
        self._index = RollUp(reviews, "bundled")
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def bucket(self) -> Bucket:
        """The bucket, as one that reads through the bundles."""
        return self._reviews.reading_through(self.get)

    @property
    def named(self) -> set[str]:
        """The keys of all bundles that something is read from."""
        return {bundle_key(place.bundle) for _, place in self._index.all(_Place)}

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """As `Bucket.get`; what is not whole in its bundle is read from its own key."""
        place = self._index.find(key, _Place)
        data = None if place is None else self._bundle(place.bundle)
        if place is None or data is None or (max_bytes is not None and place.size > max_bytes):
            return self._reviews.get(key, max_bytes=max_bytes)
        return data[place.start : place.start + place.size]

    def add(self, objects: Mapping[str, Callable[[bytes], bool]]) -> None:
        """Bundle the objects that are not yet, if they are more than a few.

        Bundles are a cache: if the store refuses, the night goes on.

        Parameters
        ----------
        objects : mapping of str to callable
            The keys of the objects, and what tells whether its bytes are right; others are left.
        """
        listed = {info.key for info in self._reviews.list(FOLDER)}
        new = [
            key
            for key in objects
            if (place := self._index.find(key, _Place)) is None
            or bundle_key(place.bundle) not in listed
        ]
        if len(new) < rollups.FEWEST_NEW:
            return
        try:
            self._write(list(self._read(new, objects)))
        except (StoreRefusedError, StoreUnavailableError) as error:
            logger.warning("bundles were not written: %s", error)

    def _read(
        self, new: Sequence[str], objects: Mapping[str, Callable[[bytes], bool]]
    ) -> Iterator[tuple[str, bytes]]:
        def read(key: str) -> bytes | None:
            try:
                data = self._reviews.get(key, max_bytes=LARGEST_BYTES)
            except (ObjectMissingError, TrustError):  # TrustError: it is too large
                return None
            return data if objects[key](data) else None

        for key, data in zip(new, in_parallel(read, new), strict=True):
            if data is not None:
                yield key, data

    def _write(self, new: Sequence[tuple[str, bytes]]) -> None:
        last, members = self._last()
        written, size = set(), sum(len(data) for _, data in members)
        for key, data in new:
            if size >= FULL_BYTES:
                written.add(self._put(members))
                members, size = [], 0
            members.append((key, data))
            size += len(data)
        written.add(self._put(members))
        self._index.keep()
        if last not in {None, *written}:
            self._reviews.delete(bundle_key(str(last)))

    def _last(self) -> tuple[str | None, list[tuple[str, bytes]]]:
        """The name and the members of a bundle that is not full; None when all are."""
        members: dict[str, list[tuple[str, _Place]]] = {}
        for key, place in self._index.all(_Place):
            members.setdefault(place.bundle, []).append((key, place))
        for name, placed in members.items():
            is_full = sum(place.size for _, place in placed) >= FULL_BYTES
            if not is_full and (data := self._bundle(name)):
                placed.sort(key=lambda member: member[1].start)
                return name, [(key, data[at.start : at.start + at.size]) for key, at in placed]
        return None, []

    def _put(self, members: Sequence[tuple[str, bytes]]) -> str:
        data = b"".join(each for _, each in members)
        name, start = sha256_of(data), 0
        self._reviews.put_cached(bundle_key(name), data, kind=KIND)
        for key, each in members:
            self._index.put(key, _Place(bundle=name, start=start, size=len(each)))
            start += len(each)
        return name

    def _bundle(self, name: str) -> bytes | None:
        """A bundle's bytes; None if they are not those of its name."""
        with self._lock:
            if name not in self._held:
                self._held[name] = self._fetch(name)
                while len(self._held) > _MOST_HELD:
                    self._held.popitem(last=False)
            self._held.move_to_end(name)
            return self._held[name] or None

    def _fetch(self, name: str) -> bytes:
        try:
            data = self._reviews.find_cached(bundle_key(name), kind=KIND)
        except StoreRefusedError as error:
            logger.warning("bundle=%s cannot be read: %s", name, error)
            return b""
        if data is None or sha256_of(data) != name:
            logger.warning("bundle=%s is not used; its objects are read by themselves", name)
            return b""
        return bytes(data)


def bundle_key(name: str) -> str:
    return f"{FOLDER}{name}.bundle"
