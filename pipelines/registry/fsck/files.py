"""Check the files: each is proven by the digest that a record has of it.

A cache is proven by its own seal. A bad one is a warning: it can be deleted and is made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from pipelines.core.errors import DigestMismatchError, LoopError, ObjectMissingError, TrustError
from pipelines.core.keys import report_key, sibling
from pipelines.intake.landing import delivery_digest, parse_name
from pipelines.records.data import Partition
from pipelines.records.decisions import CardFiles
from pipelines.records.deliveries import Delivery, Outcome, Replay
from pipelines.records.validations import Validation
from pipelines.records.versions import Manifest
from pipelines.registry.fsck.contents import Contents, Finding, Progress, read_each
from pipelines.registry.fsck.places import BucketName, FileKind

CACHES: dict[FileKind, str] = {
    "features": "Features",
    "signatures": "Signatures",
    "answers": "Answers",
    "roll-up": "RollUp",
    "monitoring reference": "MonitoringReference",
    "pack": "Pack",
}  # as what it is sealed
_ALWAYS: tuple[FileKind, ...] = ("model file", "card file", "report page")
_ONLY_DEEP: tuple[FileKind, ...] = ("raw delivery", "partition", "prediction file")


@dataclass(frozen=True)
class Expected:
    """A file that a record names, and what its bytes must hash to."""

    bucket: BucketName
    key: str
    sha256: str
    named_by: str
    size_bytes: int | None = None
    started: hashlib._Hash = field(default_factory=hashlib.sha256, compare=False)


def expected(contents: Contents) -> dict[str, Expected]:
    """Every file that a proven record or a service names, by key. No key is in both buckets."""
    files: dict[str, Expected] = {}
    for file in (*_of_deliveries(contents), *_of_versions(contents), *_of_services(contents)):
        files.setdefault(file.key, file)
    return files


def _of_deliveries(contents: Contents) -> Iterator[Expected]:
    for delivery in contents.of(Delivery):
        if delivery.raw_key is not None:
            yield Expected(
                "reviews", delivery.raw_key, delivery.sha256, delivery.object_key,
                delivery.size_bytes, delivery_digest(parse_name(delivery.landing_key)),
            )  # fmt: skip
    entries: list[Outcome | Replay | Validation] = [
        *contents.of(Outcome), *contents.of(Replay), *contents.of(Validation),
    ]  # fmt: skip
    for entry in entries:
        for part in partitions_of(entry):
            yield Expected("reviews", part.key, part.sha256, entry.object_key, part.size_bytes)
    for validation in contents.of(Validation):
        key = validation.object_key
        yield Expected("reviews", report_key(key), validation.page_sha256, key)


def partitions_of(entry: Outcome | Replay | Validation) -> list[Partition]:
    return [*entry.accepted_parts, *entry.quarantined_parts, *entry.sketches]


def _of_versions(contents: Contents) -> Iterator[Expected]:
    for manifest in contents.of(Manifest):
        yield Expected(
            "models", manifest.model_key, manifest.model_sha256, manifest.object_key,
            manifest.model_size_bytes,
        )  # fmt: skip
    for card in contents.of(CardFiles):
        for name, sha256 in card.files.items():
            yield Expected("models", sibling(card.object_key, name), sha256, card.object_key)


def _of_services(contents: Contents) -> Iterator[Expected]:
    """Files of answers: a service names each by its bytes."""
    for bucket, key in contents.keys_of("prediction file"):
        yield Expected(bucket, key, PurePosixPath(key).stem, "the service that wrote it")


def check(contents: Contents, progress: Progress, *, is_deep: bool) -> Iterator[Finding]:
    """Findings on all files; reads raw deliveries, partitions and caches only if ``is_deep``."""
    files = expected(contents)
    yield from _unnamed(contents, files)
    read = []
    for file in files.values():
        info = contents.listed[file.bucket].get(file.key)
        if info is None:
            what = f"is named by {file.named_by} and does not exist"
            yield Finding("error", file.bucket, file.key, what)
        elif file.size_bytes not in {None, info.size_bytes}:
            what = f"has {info.size_bytes:,} bytes, not the recorded {file.size_bytes:,}"
            yield Finding("error", file.bucket, file.key, what)
        elif is_deep or _kind(contents, file) not in _ONLY_DEEP:
            read.append(file)
    yield from _changed(contents, read, progress)
    if is_deep:
        yield from _bad_caches(contents, progress)


def _kind(contents: Contents, file: Expected) -> object:
    place = contents.places[file.bucket].get(file.key)
    return place.holds if place else None


def _unnamed(contents: Contents, files: dict[str, Expected]) -> Iterator[Finding]:
    for bucket, key in contents.keys_of(*_ALWAYS, *_ONLY_DEEP):
        if key not in files:
            yield Finding("note", bucket, key, "is not named by any record")
    for bucket, key in contents.keys_of("probe"):
        yield Finding("note", bucket, key, "was left by a stopped process; it can be deleted")


def _changed(
    contents: Contents, files: Iterable[Expected], progress: Progress
) -> Iterator[Finding]:
    def read(file: Expected) -> str:
        bucket, digest = contents.buckets[file.bucket], file.started.copy()
        for chunk in bucket.stream(file.key)[1]:
            digest.update(chunk)
        if digest.hexdigest() != file.sha256:
            raise DigestMismatchError(
                uri=bucket.uri(file.key), expected=file.sha256, found=digest.hexdigest()
            )
        return file.key

    files = list(files)
    for file, answer in zip(files, read_each(read, files, progress), strict=True):
        if isinstance(answer, LoopError):
            yield Finding("error", file.bucket, file.key, f"{answer} ({file.named_by} names it.)")


def _bad_caches(contents: Contents, progress: Progress) -> Iterator[Finding]:
    def read(entry: tuple[BucketName, str, str]) -> str:
        bucket, key, kind = entry
        contents.buckets[bucket].get_cached(key, kind=kind)
        return key

    caches = [
        (bucket, key, CACHES[holds]) for holds in CACHES for bucket, key in contents.keys_of(holds)
    ]
    for (bucket, key, _), answer in zip(caches, read_each(read, caches, progress), strict=True):
        if isinstance(answer, TrustError):
            yield Finding("warning", bucket, key, f"{answer} It is a cache: delete it.")
        elif isinstance(answer, LoopError) and not isinstance(answer, ObjectMissingError):
            yield Finding("note", bucket, key, f"was not read: {answer}")


def count(contents: Contents, *, is_deep: bool) -> int:
    """About how many files `check` will read."""
    kinds = (*_ALWAYS, *_ONLY_DEEP, *CACHES) if is_deep else _ALWAYS
    return sum(1 for _ in contents.keys_of(*kinds))
