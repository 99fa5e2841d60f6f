"""Check everything a registry holds against everything it says of itself.

Reads all, changes nothing, stops at nothing: each fault becomes a finding that names the object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

from pipelines import clock
from pipelines.errors import LoopError, ObjectMissingError, TransientError
from pipelines.judgement import ApprovalRecord, Decision, Evaluation
from pipelines.keys import snapshot_key
from pipelines.partitions import read_partition
from pipelines.records import (
    ChampionHint,
    LogEntry,
    Manifest,
    Plan,
    Record,
    RollbackPlan,
)
from pipelines.registry import Registry
from pipelines.sealed import AnyRecord
from pipelines.snapshot import pinned
from pipelines.store import Bucket

_VERSION = re.compile(r"versions/([0-9a-f]{20})/(.+)")
_MODEL = re.compile(r"model-[0-9a-f]{16}\.skops")
_GATE = re.compile(
    r"gates/\d{8}-[0-9a-f]{16}/"
    r"((evaluation|artefact_check|decision|approval)\.json|card\.md|card\.json|(calibration|slices|history)\.svg)"
)
_NAMED_BY_DIGEST = re.compile(r"(plans|rollbacks)/([0-9a-f]{20})\.json")
_LOG = re.compile(r"log/(\d{8})\.json")

Kind = Literal["error", "warning", "note"]
Read = TypeVar("Read")


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    An ``error`` means that something recorded is lost or was changed; a ``warning`` that readers
    manage without; a ``note`` that something is unfinished or not used by anything.
    """

    kind: Kind
    key: str
    what: str


def check(reviews: Bucket, registry: Registry, *, is_deep: bool = False) -> list[Finding]:
    """All findings on a registry, errors first.

    Parameters
    ----------
    reviews : Bucket
        Where the snapshots and partitions are.
    registry : Registry
        What to check.
    is_deep : bool
        Also read every partition that a version was trained on.
    """
    inspection = _Inspection(reviews, registry, is_deep=is_deep)
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(
        set(inspection.findings()), key=lambda found: (order[found.kind], found.key, found.what)
    )


def _named_by(registry: Registry, entry: LogEntry) -> Iterator[tuple[str, str, type[Record]]]:
    """The objects that a log entry names: key, recorded digest, and kind."""
    yield registry.manifest_key(entry.version), entry.manifest_sha256, Manifest
    yield registry.manifest_key(entry.reference), entry.reference_manifest_sha256, Manifest
    yield entry.decision_key, entry.decision_sha256, Decision
    if entry.approval_key is not None and entry.approval_sha256 is not None:
        yield entry.approval_key, entry.approval_sha256, ApprovalRecord


class _Inspection:
    """One pass over one registry."""

    def __init__(self, reviews: Bucket, registry: Registry, *, is_deep: bool) -> None:
        self.reviews, self.registry, self.is_deep = reviews, registry, is_deep
        self.prefix = f"{registry.name}/"
        self.keys = {
            info.key.removeprefix(self.prefix) for info in registry.models.list(self.prefix)
        }
        self.snapshots_seen: set[str] = set()

    def findings(self) -> Iterator[Finding]:
        yield from self._foreign_objects()
        yield from self._log()
        yield from self._hint()
        yield from self._named_by_digest()
        for version in sorted({found[1] for key in self.keys if (found := _VERSION.match(key))}):
            yield from self._version(version)

    def _foreign_objects(self) -> Iterator[Finding]:
        for key in self.keys:
            inside = _VERSION.fullmatch(key)
            is_known = (
                key == "champion.json" or _LOG.fullmatch(key) or _NAMED_BY_DIGEST.fullmatch(key)
                if inside is None
                else inside[2] == "manifest.json"
                or _MODEL.fullmatch(inside[2])
                or _GATE.fullmatch(inside[2])
            )
            if not is_known:
                yield Finding("warning", self.prefix + key, "is nothing this project writes")

    # The succession

    def _log(self) -> Iterator[Finding]:
        generations = sorted(int(found[1]) for key in self.keys if (found := _LOG.fullmatch(key)))
        before: LogEntry | None = None
        history: list[LogEntry] = []
        for generation in range(1, (generations[-1] if generations else 0) + 1):
            key = self.registry.log_key(generation)
            if generation not in generations:
                yield Finding("error", key, "is missing from the champion log")
                before = None
                continue
            entry, faults = self._read(key, partial(self.registry.entry, generation))
            yield from faults
            if entry is not None:
                yield from self._entry(key, entry, before)
                history.append(entry)
            before = entry
        yield from self._dates(history)

    def _dates(self, history: list[LogEntry]) -> Iterator[Finding]:
        for entry in clock.misdated(history, clock.now(self.registry.models)):
            yield Finding(
                "warning", self.registry.log_key(entry.generation),
                f"is dated {entry.at!r}, which contradicts the other entries or is after today: "
                "`champion at` goes by the others",
            )  # fmt: skip

    def _entry(self, key: str, entry: LogEntry, before: LogEntry | None) -> Iterator[Finding]:
        follows = before.digest() if before else None
        if (before or entry.generation == 1) and entry.previous_entry_sha256 != follows:
            yield Finding("error", key, "does not follow from the entry before it")
        for named, expected, kind in _named_by(self.registry, entry):
            record, found = self._record(named, kind)
            yield from found
            if record is not None and record.digest() != expected:
                yield Finding("error", named, f"is not what {key} recorded: it was replaced")

    def _hint(self) -> Iterator[Finding]:
        key = self.registry.hint_key
        entries = [key for key in self.keys if _LOG.fullmatch(key)]
        if "champion.json" not in self.keys:
            if entries:
                yield Finding("warning", key, "is missing; readers look at the log instead")
            return
        hint, found = self._record(key, ChampionHint)
        if hint is None:
            yield from (Finding("warning", one.key, one.what) for one in found)
        elif hint.generation != len(entries):
            yield Finding(
                "warning", key, f"names generation {hint.generation} of {len(entries)}: it is stale"
            )

    # Versions

    def _version(self, version: str) -> Iterator[Finding]:
        key = self.registry.manifest_key(version)
        inside = [name for name in self.keys if name.startswith(f"versions/{version}/")]
        if key.removeprefix(self.prefix) not in self.keys:
            for name in inside:
                yield Finding("note", self.prefix + name, "belongs to a version never finished")
            return
        manifest, found = self._read(key, lambda: self.registry.manifest(version))
        yield from found
        if manifest is not None:
            yield from self._model(manifest, inside)
            yield from self._snapshot(manifest)
        for name in inside:
            if name.endswith("/decision.json"):
                yield from self._decision(self.prefix + name)
            elif name.endswith("/evaluation.json"):
                yield from self._evaluation(self.prefix + name)
            elif name.endswith("/approval.json"):
                yield from self._approval(self.prefix + name)

    def _model(self, manifest: Manifest, inside: list[str]) -> Iterator[Finding]:
        _, found = self._read(manifest.model_key, lambda: self.registry.model_bytes(manifest))
        yield from found
        for name in inside:
            if name.endswith(".skops") and self.prefix + name != manifest.model_key:
                yield Finding("note", self.prefix + name, "is a model that no manifest names")

    def _decision(self, key: str) -> Iterator[Finding]:
        if key.replace("/decision.json", "/card.md").removeprefix(self.prefix) not in self.keys:
            yield Finding("note", key, "has no model card: the run ended before it was drawn")
        decision, found = self._read(key, lambda: self.registry.decision(key))
        yield from found
        if decision is None:
            return
        named = key.replace("/decision.json", "/evaluation.json")
        evaluation, found = self._record(named, Evaluation)
        yield from found
        if evaluation is not None and evaluation.digest() != decision.evaluation_sha256:
            yield Finding("error", named, f"is not what {key} was decided on: changed")

    def _evaluation(self, key: str) -> Iterator[Finding]:
        _, found = self._record(key, Evaluation)
        yield from found
        if key.replace("/evaluation.json", "/decision.json").removeprefix(self.prefix) not in (
            self.keys
        ):
            yield Finding("note", key, "was never decided on")

    def _approval(self, key: str) -> Iterator[Finding]:
        decision_key = key.replace("/approval.json", "/decision.json")
        approval, found = self._record(key, ApprovalRecord)
        yield from found
        decision, found = self._record(decision_key, Decision)
        yield from found
        if approval and decision and approval.decision_sha256 != decision.digest():
            yield Finding("error", key, f"answers another decision than {decision_key}")

    def _snapshot(self, manifest: Manifest) -> Iterator[Finding]:
        key = snapshot_key(manifest.plan.snapshot)
        if key in self.snapshots_seen:
            return
        self.snapshots_seen.add(key)
        snapshot, found = self._read(key, lambda: pinned(self.reviews, manifest.plan))
        yield from found
        if snapshot is None:
            return
        for part in snapshot.partitions if self.is_deep else ():
            if part.key not in self.snapshots_seen:
                self.snapshots_seen.add(part.key)
                _, found = self._read(
                    part.key, partial(read_partition, self.reviews, part, ["label"])
                )
                yield from found

    def _named_by_digest(self) -> Iterator[Finding]:
        for name in sorted(self.keys):
            found = _NAMED_BY_DIGEST.fullmatch(name)
            if found is None:
                continue
            kind: type[Record] = Plan if found[1] == "plans" else RollbackPlan
            record, faults = self._record(self.prefix + name, kind)
            yield from faults
            if record is not None and record.digest()[:20] != found[2]:
                yield Finding("error", self.prefix + name, "is not what its name says: changed")

    # Reading

    def _record(self, key: str, kind: type[AnyRecord]) -> tuple[AnyRecord | None, list[Finding]]:
        return self._read(key, lambda: self.registry.models.get_record(key, kind))

    def _read(self, key: str, read: Callable[[], Read]) -> tuple[Read | None, list[Finding]]:
        try:
            return read(), []
        except TransientError:
            raise
        except ObjectMissingError:
            return None, [Finding("error", key, "is named by a record and does not exist")]
        except LoopError as error:
            return None, [Finding("error", key, str(error))]
