"""Versions and the champion's succession, on nothing but create-if-absent.

    <name>/plans/<version>.json                              what will be trained
    <name>/versions/<version>/model-<digest>.skops           named by its bytes
    <name>/versions/<version>/manifest.json                  written last: else it does not exist
    <name>/versions/<version>/gates/<generation>-<policy>/   evaluation and decision against one
                                                             champion under one gate policy, and
                                                             the model card
    <name>/log/<generation>.json                             THE truth about who is and was champion
    <name>/champion.json                                     a hint for others; never read here

The log only grows. Two runs that promote at once create the same next entry; one of them wins and
the other must decide again against the new champion.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from pipelines import clock, trust
from pipelines.errors import (
    AlreadyExistsError,
    ChampionMovedError,
    DigestMismatchError,
    ModelFormatError,
    ObjectMissingError,
    TrustError,
)
from pipelines.judgement import (
    ApprovalRecord,
    ArtefactCheck,
    Decision,
    Evaluation,
)
from pipelines.records import ChampionHint, LogEntry, Manifest, Plan, sha256_of
from pipelines.store import AnyRecord, Bucket

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

logger = logging.getLogger(__name__)

_PARALLEL_READS = 8


def load_version(manifest: Manifest, model: bytes) -> Pipeline:
    """Read a version's model, if this code makes the features that it was trained on.

    Raises
    ------
    ModelFormatError
        If the bytes are not a model of ours, or it needs features of another kind.
    """
    from pipelines.artefacts import load_model
    from pipelines.fingerprints import FEATURIZER_VERSION

    if manifest.featurizer not in {None, FEATURIZER_VERSION}:
        raise ModelFormatError(
            f"version {manifest.version} was trained on features {manifest.featurizer!r}; this "
            f"code makes {FEATURIZER_VERSION!r}, on which it would answer at random. Use the "
            "release of this project that made it."
        )
    return load_model(model)


def withdrawn_among(history: Iterable[LogEntry]) -> dict[str, LogEntry]:
    """Versions that were rolled back and not released since, with the entry that says so."""
    withdrawn: dict[str, LogEntry] = {}
    for entry in history:
        if entry.kind == "rollback" and entry.subject is not None:
            withdrawn[entry.subject] = entry
        elif entry.kind == "release" and entry.subject is not None:
            withdrawn.pop(entry.subject, None)
    return withdrawn


class Registry:
    """All versions of one model, and who of them is champion."""

    def __init__(self, models: Bucket, name: str) -> None:
        self.models = models
        self.name = name

    # Keys

    def plan_key(self, version: str) -> str:
        return f"{self.name}/plans/{version}.json"

    def model_key(self, version: str, sha256: str) -> str:
        return f"{self.name}/versions/{version}/model-{sha256[:16]}.skops"

    def manifest_key(self, version: str) -> str:
        return f"{self.name}/versions/{version}/manifest.json"

    def gate_key(self, version: str, generation: int, policy: str, record: str) -> str:
        folder = f"{generation:08d}-{policy[:16]}"
        return f"{self.name}/versions/{version}/gates/{folder}/{record}.json"

    def log_key(self, generation: int) -> str:
        return f"{self.name}/log/{generation:08d}.json"

    @property
    def hint_key(self) -> str:
        return f"{self.name}/champion.json"

    # Versions

    def add_version(self, manifest: Manifest, model: bytes) -> Manifest:
        """Store a trained model; the manifest, written last, makes it exist. The first stands."""
        self.models.put_once(manifest.model_key, model)
        return self._first_signed(self.manifest_key(manifest.version), manifest)

    def find_version(self, version: str) -> Manifest | None:
        try:
            return self.manifest(version)
        except ObjectMissingError:
            return None

    def manifest(self, version: str) -> Manifest:
        """The manifest of a version, its signature checked.

        Raises
        ------
        ObjectMissingError
            If there is no such version.
        TrustError
            If it was changed, or is signed by nobody trusted.
        """
        manifest = self._signed(self.manifest_key(version), Manifest)
        if (manifest.version, manifest.plan.version) != (version, version):
            raise TrustError(f"the manifest of version {version} belongs to another version")
        return manifest

    def model_bytes(self, manifest: Manifest) -> bytes:
        """A version's model file, after checking that its bytes are the recorded ones.

        Raises
        ------
        DigestMismatchError
            If the object was changed after it was recorded.
        """
        data = self.models.get(manifest.model_key, max_bytes=manifest.model_size_bytes)
        found = sha256_of(data)
        if found != manifest.model_sha256:
            raise DigestMismatchError(
                uri=self.models.uri(manifest.model_key),
                expected=manifest.model_sha256,
                found=found,
            )
        return data

    def load(self, manifest: Manifest) -> Pipeline:
        """A version's model, verified and read with the allow-list that is in our code."""
        return load_version(manifest, self.model_bytes(manifest))

    # The champion

    def champion(self) -> LogEntry | None:
        """The newest entry of the log; None only when the log was read and is empty.

        Raises
        ------
        TrustError
            If a generation is missing, or the newest entry was changed.
        """
        generations = self._generations()
        return self.entry(generations[-1]) if generations else None

    def champion_manifest(self, entry: LogEntry) -> Manifest:
        """The manifest that a log entry names, after checking that it is unchanged."""
        return self._manifest_as(entry.version, entry.manifest_sha256)

    def reference_manifest(self, entry: LogEntry) -> Manifest:
        """The manifest of the reference that is pinned since a log entry, unchanged."""
        return self._manifest_as(entry.reference, entry.reference_manifest_sha256)

    def _manifest_as(self, version: str, expected: str) -> Manifest:
        manifest = self.manifest(version)
        if manifest.digest() != expected:
            raise DigestMismatchError(
                uri=self.models.uri(self.manifest_key(version)),
                expected=expected,
                found=manifest.digest(),
            )
        return manifest

    def history(self) -> list[LogEntry]:
        """Every entry of the log, oldest first.

        Raises
        ------
        TrustError
            If a generation is missing, or an entry does not follow from the one before it.
        """
        generations = self._generations()
        with ThreadPoolExecutor(_PARALLEL_READS) as readers:
            found = list(readers.map(self.entry, generations))
        entries: list[LogEntry] = []
        for generation, entry in zip(generations, found, strict=True):
            before = entries[-1].digest() if entries else None
            if entry.previous_entry_sha256 != before:
                raise TrustError(
                    f"{self.models.uri(self.log_key(generation))} does not follow from the entry "
                    f"before it: it names {entry.previous_entry_sha256}, that one is {before}"
                )
            entries.append(entry)
        return entries

    def entry(self, generation: int) -> LogEntry:
        key = self.log_key(generation)
        entry = self._signed(key, LogEntry)
        if (entry.generation, entry.model_name) != (generation, self.name):
            raise TrustError(f"{self.models.uri(key)} holds the entry of another generation")
        return entry

    def find_entry(self, generation: int) -> LogEntry | None:
        try:
            return self.entry(generation)
        except ObjectMissingError:
            return None

    def _generations(self) -> list[int]:
        prefix = f"{self.name}/log/"
        names = [
            info.key.removeprefix(prefix).removesuffix(".json") for info in self.models.list(prefix)
        ]
        generations = sorted(int(name) for name in names if name.isdecimal())
        for expected, generation in enumerate(generations, start=1):
            if generation != expected:
                raise TrustError(
                    f"{self.models.uri(self.log_key(expected))} is missing from the champion log"
                )
        return generations

    def champion_at(self, moment: datetime) -> LogEntry | None:
        """Who was champion at a moment; None before the first promotion."""
        return clock.answering_at(self.history(), moment, clock.now(self.models))

    def withdrawn(self) -> dict[str, LogEntry]:
        """Versions that were rolled back and not released since, with the entry that says so."""
        return withdrawn_among(self.history())

    # Promotion

    def append(self, entry: LogEntry) -> LogEntry:
        """Write the next line of the log, or find that it is written already.

        Raises
        ------
        ChampionMovedError
            If somebody else wrote that line.
        UnsafeStoreError
            If the store does not honour create-if-absent.
        """
        self.models.prove_create_if_absent()
        key = self.log_key(entry.generation)
        try:
            self.models.put_record(key, trust.sign(entry))
            entry = self.entry(entry.generation)
        except AlreadyExistsError:
            standing = self.entry(entry.generation)
            if standing.token != entry.token:
                newest = self.champion()
                raise ChampionMovedError(
                    decided_against=entry.generation - 1,
                    champion_is=newest.generation if newest else entry.generation,
                ) from None
            entry = standing
        self._leave_hint(entry)
        logger.info("champion=%s generation=%d", entry.version, entry.generation)
        return entry

    def _leave_hint(self, entry: LogEntry) -> None:
        hint = ChampionHint(generation=entry.generation, version=entry.version)
        try:
            self.models.put(self.hint_key, hint.to_bytes())
        except Exception:  # noqa: BLE001 - the log has the entry already
            logger.warning(
                "hint=%s was not written; readers find the log without it", self.hint_key
            )

    # Plans, evaluations and decisions

    def add_plan(self, plan: Plan) -> str:
        key = self.plan_key(plan.version)
        self.models.put_record(key, plan)
        return key

    def add_evaluation(self, evaluation: Evaluation) -> tuple[str, Evaluation]:
        """Store an evaluation; the first one of its version, champion and policy stands."""
        key = self.gate_key(
            evaluation.version, evaluation.champion_generation, evaluation.policy, "evaluation"
        )
        return key, self._first(key, evaluation)

    def check_key(self, evaluation: Evaluation) -> str:
        return self.gate_key(
            evaluation.version, evaluation.champion_generation, evaluation.policy, "artefact_check"
        )

    def add_check(self, evaluation: Evaluation, check: ArtefactCheck) -> tuple[str, ArtefactCheck]:
        """Store what a clean process found; the first check of an evaluation stands."""
        key = self.check_key(evaluation)
        return key, self._first(key, check)

    def find_check(self, evaluation: Evaluation) -> ArtefactCheck | None:
        return self.models.find_record(self.check_key(evaluation), ArtefactCheck)

    def add_decision(self, decision: Decision) -> tuple[str, Decision]:
        """Store a decision; the first one of its version, champion and policy stands."""
        key = self.decision_key(decision)
        return key, self._first_signed(key, decision)

    def decision_key(self, decision: Decision) -> str:
        return self.gate_key(
            decision.version, decision.champion_generation, decision.policy, "decision"
        )

    def decision_keys(self, version: str) -> list[str]:
        """All decisions on a version, the one against the newest champion last."""
        prefix = f"{self.name}/versions/{version}/gates/"
        keys = [info.key for info in self.models.list(prefix)]
        return [key for key in keys if key.endswith("/decision.json")]

    def last_decision(self, version: str, policy: str) -> Decision:
        """The decision on a version under a policy against the newest champion it met."""
        decisions = [self.decision(key) for key in self.decision_keys(version)]
        return [one for one in decisions if one.policy == policy][-1]

    def decision(self, key: str) -> Decision:
        """A decision, its signature checked."""
        return self._signed(key, Decision)

    def find_decision(self, version: str, generation: int, policy: str) -> Decision | None:
        try:
            return self.decision(self.gate_key(version, generation, policy, "decision"))
        except ObjectMissingError:
            return None

    # Approvals

    @staticmethod
    def approval_key(decision_key: str) -> str:
        """Where the one answer to a decision is kept: beside it."""
        return decision_key.replace("/decision.json", "/approval.json")

    def add_approval(self, approval: ApprovalRecord) -> ApprovalRecord:
        """Store a person's answer to a decision; the first one stands."""
        return self._first_signed(self.approval_key(approval.decision_key), approval)

    def find_approval(self, decision_key: str) -> ApprovalRecord | None:
        """The answer to a decision, its signature checked; None when nobody answered."""
        try:
            return self._signed(self.approval_key(decision_key), ApprovalRecord)
        except ObjectMissingError:
            return None

    def _signed(self, key: str, kind: type[trust.Signed]) -> trust.Signed:
        record = self.models.get_record(key, kind)
        trust.check(record, uri=self.models.uri(key))
        return record

    def _first_signed(self, key: str, record: trust.Signed) -> trust.Signed:
        self._first(key, trust.sign(record))
        return self._signed(key, type(record))

    def _first(self, key: str, record: AnyRecord) -> AnyRecord:
        try:
            self.models.put_record(key, record)
        except AlreadyExistsError:
            return self.models.get_record(key, type(record))
        return record
