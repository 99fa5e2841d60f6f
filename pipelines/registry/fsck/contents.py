"""Read everything in both buckets once: the proven records, and findings on all others.

Costs one request per object, eight at a time. The records are kept in memory, without the parts of
validations that are not compared with anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal, TypeVar

from pipelines.core.errors import (
    BucketMissingError,
    ConfigError,
    LoopError,
    ObjectMissingError,
    TransientError,
)
from pipelines.core.parallel import in_parallel
from pipelines.core.record import ModelRecord, StoredRecord
from pipelines.core.store import clock
from pipelines.core.store.answers import ObjectInfo
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.sealed import AnyRecord
from pipelines.records.succession import ChampionHint, LogEntry
from pipelines.records.validations import Validation
from pipelines.registry.fsck.places import BucketName, Place, place_of

Severity = Literal["error", "warning", "note"]
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Finding:
    """One fault.

    An ``error`` means that something recorded is lost, was changed or was forged; a ``warning``
    that readers can do without it; a ``note`` that something is unfinished or unused.
    """

    kind: Severity
    bucket: BucketName
    key: str
    what: str


@dataclass
class Progress:
    """How many objects were read of how many; ``on_object`` is called after each."""

    on_object: Callable[[int, int], None]
    done: int = 0
    total: int = 0

    def step(self) -> None:
        self.done += 1
        self.on_object(self.done, self.total)


@dataclass
class Contents:
    """What both buckets hold: every key, and every proven record.

    Attributes
    ----------
    listed : dict
        Per bucket, each key and its line of the listing.
    places : dict
        Per bucket, each key that this project writes, and what must lie there.
    records : dict
        Per kind of record, each key and the record.
    """

    buckets: Mapping[BucketName, Bucket]
    listed: dict[BucketName, dict[str, ObjectInfo]] = field(default_factory=dict)
    places: dict[BucketName, dict[str, Place]] = field(default_factory=dict)
    records: dict[type[StoredRecord], dict[str, StoredRecord]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    def of(self, kind: type[AnyRecord]) -> Iterator[AnyRecord]:
        """Every proven record of a kind, by key."""
        for _, record in sorted(self.records[kind].items()):
            if isinstance(record, kind):
                yield record

    def of_model(self, kind: type[AnyRecord], name: str) -> Iterator[AnyRecord]:
        """Every proven record of a kind and a model, by key."""
        for record in self._by_model[kind].get(name, ()):
            if isinstance(record, kind):
                yield record

    @cached_property
    def _by_model(self) -> dict[type[StoredRecord], dict[str, list[ModelRecord]]]:
        """Sorted once, so that a check of many models takes time in proportion to them."""
        sorted_out: dict[type[StoredRecord], dict[str, list[ModelRecord]]] = {}
        for kind in list(self.records):
            of_kind = sorted_out[kind] = defaultdict(list)
            for record in self.of(kind):
                if isinstance(record, ModelRecord):
                    of_kind[record.model_name].append(record)
        return defaultdict(dict, sorted_out)

    @cached_property
    def log_keys(self) -> dict[str, list[str]]:
        """Per model, the keys of its champion log, whether or not the entries are proven."""
        found: dict[str, list[str]] = defaultdict(list)
        for _, key in self.keys_of(LogEntry):
            found[key.partition("/")[0]].append(key)
        return found

    @cached_property
    def now(self) -> datetime:
        """By the store's clock, when it was first needed."""
        return clock.now(self.buckets["models"])

    def find(self, kind: type[AnyRecord], key: str) -> AnyRecord | None:
        record = self.records[kind].get(key)
        return record if isinstance(record, kind) else None

    def has(self, bucket: BucketName, key: str) -> bool:
        return key in self.listed[bucket]

    def keys_of(self, *holds: object) -> Iterator[tuple[BucketName, str]]:
        """Every key under which such records or files must lie, whether or not they are proven."""
        for bucket, places in self.places.items():
            yield from ((bucket, key) for key, place in places.items() if place.holds in holds)

    def needed(
        self, kind: type[AnyRecord], key: str, *, by: str, findings: list[Finding]
    ) -> AnyRecord | None:
        """The record that another one names; adds a finding when it does not exist.

        A record that exists and is not proven already has its own finding.
        """
        if not self.has(kind.BUCKET, key):
            what = f"is named by {by} and does not exist"
            findings.append(Finding("error", kind.BUCKET, key, what))
        return self.find(kind, key)

    def as_named(
        self, kind: type[StoredRecord], key: str, sha256: str, *, by: str
    ) -> Iterator[Finding]:
        """Findings on a record that another one names with a digest."""
        findings: list[Finding] = []
        record = self.needed(kind, key, by=by, findings=findings)
        yield from findings
        if record is not None and record.digest() != sha256:
            what = f"is not what {by} recorded: one of the two was replaced"
            yield Finding("error", kind.BUCKET, key, what)


def look(buckets: Mapping[BucketName, Bucket]) -> tuple[Contents, list[Finding]]:
    """List both buckets; every object that this project does not write is a finding."""
    contents, findings = Contents(buckets), []
    for name, bucket in buckets.items():
        contents.listed[name] = {info.key: info for info in bucket.list("")}
        places = {key: place_of(name, key) for key in contents.listed[name]}
        contents.places[name] = {key: place for key, place in places.items() if place is not None}
        findings += [
            Finding("warning", name, key, "is not an object that this project writes")
            for key, place in places.items()
            if place is None
        ]
    return contents, findings


def records_to_read(contents: Contents) -> list[tuple[str, type[StoredRecord]]]:
    """Each key under which a record must lie, and its kind."""
    return [
        (key, place.holds)
        for places in contents.places.values()
        for key, place in places.items()
        if isinstance(place.holds, type)
    ]


def read_records(contents: Contents, progress: Progress) -> list[Finding]:
    """Read every record into the contents; each record that is not proven is a finding."""

    def read(place: tuple[str, type[StoredRecord]]) -> StoredRecord:
        key, kind = place
        return _needed_parts(contents.buckets[kind.BUCKET].get_record(key, kind))

    findings = []
    places = records_to_read(contents)
    for (key, kind), answer in zip(places, read_each(read, places, progress), strict=True):
        if isinstance(answer, StoredRecord):
            contents.records[kind][key] = answer
        else:
            severity: Severity = "warning" if kind is ChampionHint else "error"
            findings.append(Finding(severity, kind.BUCKET, key, str(answer)))
    return findings


def _needed_parts(record: StoredRecord) -> StoredRecord:
    """The parts that are compared with other records: whole validations would not fit in memory."""
    if isinstance(record, Validation):
        unused = {"rules": (), "examples": (), "profile": None, "reference": None}
        return record.model_copy(update=unused)
    return record


def read_each(
    read: Callable[[Item], Answer], many: Iterable[Item], progress: Progress
) -> Iterator[Answer | LoopError]:
    """The result of reading each item, in order, or the error; several are read at a time.

    Raises
    ------
    TransientError
        If the store gives no conclusive answer: then nothing is known.
    ConfigError, BucketMissingError
        If nothing can be read at all.
    """

    def attempt(item: Item) -> Answer | LoopError:
        try:
            return read(item)
        except (TransientError, ConfigError, BucketMissingError):
            raise
        except ObjectMissingError:
            return ObjectMissingError("was listed, but did not exist a moment later")
        except LoopError as error:
            return error

    for answer in in_parallel(attempt, many):
        progress.step()
        yield answer
