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
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from pipelines.core import keys
from pipelines.core.errors import (
    ChampionMovedError,
    DigestMismatchError,
    ModelFormatError,
    ObjectMissingError,
    TrustError,
)
from pipelines.core.record import ModelRecord, sha256_of
from pipelines.core.store import clock
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.sealed import AnyRecord, to_stored
from pipelines.records.decisions import ApprovalRecord, CardFiles, Decision
from pipelines.records.evaluations import ArtefactCheck, Evaluation
from pipelines.records.succession import ChampionHint, LogEntry
from pipelines.records.versions import Manifest, Plan
from pipelines.registry import champion_log
from pipelines.registry.champion_log import withdrawn_among

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

logger = logging.getLogger(__name__)

_PARALLEL_READS = 8
_GENERATION = re.compile(r"[0-9]{8}")


def load_version(manifest: Manifest, model: bytes) -> Pipeline:
    """Read a version's model, if this code makes the features that it was trained on.

    Raises
    ------
    ModelFormatError
        If the bytes are not a model of ours, or it needs features of another kind.
    """
    from pipelines.features.fingerprints import FEATURIZER_VERSION
    from pipelines.models.artefacts import load_model

    if manifest.featurizer not in {None, FEATURIZER_VERSION}:
        raise ModelFormatError(
            f"version {manifest.version} was trained on features {manifest.featurizer!r}; this "
            f"code makes {FEATURIZER_VERSION!r}, on which it would answer at random. Use the "
            "release of this project that made it."
        )
    return load_model(model)


class Registry:
    """All versions of one model, and who of them is champion."""

    def __init__(self, models: Bucket, name: str) -> None:
        self.models = models
        self.name = name

    # Keys

    def manifest_key(self, version: str) -> str:
        return keys.manifest_key(self.name, version)

    def log_key(self, generation: int) -> str:
        return keys.log_key(self.name, generation)

    @property
    def hint_key(self) -> str:
        return keys.hint_key(self.name)

    # Versions

    def add_version(self, manifest: Manifest, model: bytes) -> Manifest:
        """Store a trained model; the manifest, written last, makes it exist. The first stands."""
        self.models.put_once(manifest.model_key, model)
        return self.models.put_first(manifest)

    def find_version(self, version: str) -> Manifest | None:
        try:
            return self.manifest(version)
        except ObjectMissingError:
            return None

    def manifest(self, version: str) -> Manifest:
        """The manifest of a version.

        Raises
        ------
        ObjectMissingError
            If there is no such version.
        TrustError
            If it is not proven to be its manifest, or names the model file of another version.
        """
        manifest = self.models.get_record(self.manifest_key(version), Manifest)
        own_file = keys.model_file_key(self.name, version, manifest.model_sha256)
        named = (manifest.plan.model_name, manifest.plan.version, manifest.model_key)
        if named != (self.name, version, own_file):
            raise TrustError(f"the manifest of version {version} belongs to another version")
        return manifest

    def plan(self, key: str) -> Plan:
        """A plan by its key."""
        return self._own(self.models.get_record(key, Plan))

    def _own(self, record: AnyRecord) -> AnyRecord:
        """A record that was asked for by its key, if it is about this model."""
        if not isinstance(record, ModelRecord) or record.model_name != self.name:
            raise TrustError(
                f"{self.models.uri(record.object_key)} is about another model than {self.name!r}"
            )
        return record

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
            If a generation is missing, the newest entry was changed, or the log was cut back.
        """
        announced = self._announced()  # first: meanwhile the log may grow, but never shrink
        generations = self._generations()
        newest = generations[-1] if generations else 0
        if announced > newest:
            raise self._cut(f"the hint announces generation {announced}", newest)
        return self.entry(newest) if generations else None

    def _announced(self) -> int:
        """The generation of which the hint proves that it was promoted; 0 where there is none."""
        try:
            hint = self.models.find_record(self.hint_key, ChampionHint)
        except TrustError as error:
            logger.warning("the hint proves nothing: %s", error)
            return 0
        return hint.generation if hint else 0

    def check_nothing_cut(self, at_least: int = 0) -> int:
        """The newest generation, after looking for every proof that there was a later one.

        Parameters
        ----------
        at_least : int
            A generation of which somebody else knows that it was promoted.

        Raises
        ------
        TrustError
            If the log was cut back: it ends before a generation that a decision was made against,
            that the hint announces, or that somebody else has seen.
        """
        decided = self._decided_against()  # first, for the same reason
        champion = self.champion()
        newest = champion.generation if champion else 0
        for generation, key in decided:
            if generation > newest:
                self.decision(key)  # its name proves nothing
                raise self._cut(f"a decision was made against generation {generation}", newest)
        if at_least > newest:
            raise self._cut(f"generation {at_least} was seen before", newest)
        return newest

    def _decided_against(self) -> list[tuple[int, str]]:
        """The generation that each decision was made against, and its key, as the names say."""
        listed = (info.key for info in self.models.list(f"{self.name}/versions/"))
        decisions = [key for key in listed if key.endswith("/decision.json")]
        folders = [(key.split("/")[-2].partition("-")[0], key) for key in decisions]
        return [(int(number), key) for number, key in folders if _GENERATION.fullmatch(number)]

    def _cut(self, why: str, newest: int) -> TrustError:
        return TrustError(
            f"the champion log of {self.name!r} was cut back: {why}, and it ends with generation "
            f"{newest}. No champion is taken from it. What to do: "
            "docs/runbooks/champion-log-broken.md"
        )

    def champion_manifest(self, entry: LogEntry) -> Manifest:
        """The manifest that a log entry names, after checking that it is unchanged."""
        return self._manifest_as(entry.version, entry.manifest_sha256)

    def reference_manifest(self, entry: LogEntry) -> Manifest:
        """The manifest of the reference that is pinned since a log entry, unchanged."""
        return self._manifest_as(entry.reference, entry.reference_manifest_sha256)

    def _manifest_as(self, version: str, expected: str) -> Manifest:
        manifest = self.manifest(version)
        self._check_digest(manifest.object_key, manifest, expected)
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
        return self.models.get_record(self.log_key(generation), LogEntry)

    def find_entry(self, generation: int) -> LogEntry | None:
        try:
            return self.entry(generation)
        except ObjectMissingError:
            return None

    def _generations(self) -> list[int]:
        prefix = keys.log_folder(self.name)
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
        return champion_log.answering_at(self.history(), moment, clock.now(self.models))

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
        self.check_nothing_cut()
        standing = self.models.put_first(entry)
        if standing.token != entry.token:
            newest = self.champion()
            raise ChampionMovedError(
                decided_against=entry.generation - 1,
                champion_is=newest.generation if newest else entry.generation,
            )
        entry = standing
        self._leave_hint(entry)
        logger.info("champion=%s generation=%d", entry.version, entry.generation)
        return entry

    def _leave_hint(self, entry: LogEntry) -> None:
        hint = ChampionHint(
            model_name=self.name, generation=entry.generation, version=entry.version
        )
        try:
            self.models.put(hint.object_key, to_stored(hint))
        except Exception:  # noqa: BLE001 - the log has the entry already
            logger.warning(
                "hint=%s was not written; readers find the log without it", self.hint_key
            )

    # Plans, evaluations and decisions

    def add_plan(self, plan: Plan) -> str:
        self.models.put_record(plan)
        return plan.object_key

    def add_evaluation(self, evaluation: Evaluation) -> Evaluation:
        """Store an evaluation; the first one of its version, champion and policy stands."""
        return self.models.put_first(evaluation)

    def evaluation(self, key: str) -> Evaluation:
        """An evaluation by its key, if it is of the version as it stands.

        Raises
        ------
        TrustError
            If it is not proven to be, or its version is not the one that was evaluated.
        """
        found = self._own(self.models.get_record(key, Evaluation))
        self._manifest_as(found.version, found.manifest_sha256)
        return found

    def evaluation_of(self, decision: Decision) -> Evaluation:
        """What a decision was made on, unchanged."""
        key = keys.beside(decision.object_key, "evaluation.json")
        found = self.models.get_record(key, Evaluation)
        self._check_digest(key, found, decision.evaluation_sha256)
        return found

    def add_check(self, check: ArtefactCheck) -> ArtefactCheck:
        """Store what a clean process found; the first check of an evaluation stands."""
        return self.models.put_first(check)

    def find_check(self, evaluation: Evaluation) -> ArtefactCheck | None:
        """What a clean process found out about the evaluated model; None if it was never asked.

        Raises
        ------
        TrustError
            If what is there is about another evaluation or model.
        """
        key = keys.beside(evaluation.object_key, "artefact_check.json")
        check = self.models.find_record(key, ArtefactCheck)
        if check is None:
            return None
        found = (check.evaluation_sha256, check.model_sha256)
        expected = (evaluation.digest(), self.manifest(evaluation.version).model_sha256)
        if found != expected:
            raise TrustError(
                f"{self.models.uri(key)} is about another evaluation or model file: about "
                f"{found[0][:16]}… and {found[1][:16]}…, not {expected[0][:16]}… and "
                f"{expected[1][:16]}…. It is not used."
            )
        return check

    def add_decision(self, decision: Decision) -> Decision:
        """Store a decision; the first one of its version, champion and policy stands."""
        return self.models.put_first(decision)

    def decision_keys(self, version: str) -> list[str]:
        """All decisions on a version, the one against the newest champion last."""
        prefix = f"{self.name}/versions/{version}/gates/"
        listed = [info.key for info in self.models.list(prefix)]
        return [key for key in listed if key.endswith("/decision.json")]

    def last_decision(self, version: str, policy: str) -> Decision:
        """The decision on a version under a policy against the newest champion it met."""
        decisions = [self.decision(key) for key in self.decision_keys(version)]
        return [one for one in decisions if one.policy == policy][-1]

    def decision(self, key: str) -> Decision:
        """A decision by its key, if it is on the version as it stands."""
        found = self._own(self.models.get_record(key, Decision))
        self._manifest_as(found.version, found.manifest_sha256)
        return found

    def decision_of(self, entry: LogEntry) -> Decision:
        """The decision that a log entry was made on, unchanged."""
        found = self.decision(entry.decision_key)
        self._check_digest(entry.decision_key, found, entry.decision_sha256)
        return found

    def find_decision(self, version: str, generation: int, policy: str) -> Decision | None:
        """The decision on a version against one champion under one policy, if it was made."""
        key = keys.gate_key(self.name, version, generation, policy, "decision.json")
        try:
            found = self.decision(key)
        except ObjectMissingError:
            return None
        if not found.policy.startswith(policy):
            raise TrustError(f"{self.models.uri(key)} was decided under another policy")
        return found

    # What a person reads and says

    def add_card(self, card: CardFiles) -> CardFiles:
        """Store what a card was drawn as; the first one of a decision stands."""
        return self.models.put_first(card)

    def find_card(self, decision: Decision) -> CardFiles | None:
        """Which files a decision's card consists of; None where it was never drawn."""
        key = keys.beside(decision.object_key, "card.json")
        card = self.models.find_record(key, CardFiles)
        if card is not None and card.decision_sha256 != decision.digest():
            raise TrustError(f"{self.models.uri(key)} was drawn of another decision")
        return card

    def add_approval(self, approval: ApprovalRecord) -> ApprovalRecord:
        """Store a person's answer to a decision; the first one stands."""
        return self.models.put_first(approval)

    def find_approval(self, decision: Decision) -> ApprovalRecord | None:
        """The answer beside a decision; None when nobody answered."""
        key = keys.beside(decision.object_key, "approval.json")
        return self.models.find_record(key, ApprovalRecord)

    def _check_digest(self, key: str, record: ModelRecord, expected: str) -> None:
        if record.digest() != expected:
            raise DigestMismatchError(
                uri=self.models.uri(key), expected=expected, found=record.digest()
            )
