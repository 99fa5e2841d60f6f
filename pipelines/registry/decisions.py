"""Evaluation, check, decision, card and answer of a version: one folder per decision."""

from __future__ import annotations

from pipelines.core import keys
from pipelines.core.errors import (
    ObjectMissingError,
    PromotionError,
    TrustError,
)
from pipelines.core.settings.settings import command
from pipelines.core.store.bucket import Bucket
from pipelines.records.decisions import ApprovalRecord, CardFiles, Decision
from pipelines.records.evaluations import ArtefactCheck, Evaluation, GateRecord
from pipelines.records.succession import LogEntry
from pipelines.registry.versions import Versions, check_digest, checked_own

_KINDS: dict[str, type[GateRecord]] = {
    keys.EVALUATION: Evaluation, keys.CHECK: ArtefactCheck, keys.DECISION: Decision,
    keys.CARD: CardFiles, keys.APPROVAL: ApprovalRecord,
}  # fmt: skip


class Decisions:
    """Evaluations, checks, decisions, cards and answers on the versions of one model."""

    def __init__(self, models: Bucket, name: str, versions: Versions) -> None:
        self.models = models
        self.name = name
        self.versions = versions

    def add_evaluation(self, evaluation: Evaluation) -> Evaluation:
        """Store an evaluation; the first one of its version, champion and policy stands."""
        return self.models.put_first(evaluation)

    def evaluation(self, key: str) -> Evaluation:
        """An evaluation by its key, if its version is unchanged.

        Raises
        ------
        TrustError
            If it is not proven, or its version is not the one that was evaluated.
        """
        evaluation = checked_own(self.models.get_record(key, Evaluation), self.name)
        self.versions.manifest_as(evaluation.version, evaluation.manifest_sha256)
        return evaluation

    def evaluation_of(self, decision: Decision) -> Evaluation:
        """The evaluation that a decision was made on, if it is unchanged."""
        key = keys.sibling(decision.object_key, keys.EVALUATION)
        evaluation = self.models.get_record(key, Evaluation)
        check_digest(self.models, evaluation, decision.evaluation_sha256)
        return evaluation

    def add_check(self, check: ArtefactCheck) -> ArtefactCheck:
        """Store what a clean process measured; the first check of an evaluation stands."""
        return self.models.put_first(check)

    def find_check(self, evaluation: Evaluation) -> ArtefactCheck | None:
        """What a clean process measured of the evaluated model; None if it never ran.

        Raises
        ------
        TrustError
            If the stored check is about another evaluation or model.
        """
        key = keys.sibling(evaluation.object_key, keys.CHECK)
        check = self.models.find_record(key, ArtefactCheck)
        if check is None:
            return None
        checked = (check.evaluation_sha256, check.model_sha256)
        expected = (evaluation.digest(), self.versions.manifest(evaluation.version).model_sha256)
        if checked != expected:
            raise TrustError(
                f"{self.models.uri(key)} is about another evaluation or model file: about "
                f"{checked[0][:16]}… and {checked[1][:16]}…, not {expected[0][:16]}… and "
                f"{expected[1][:16]}…. It is not used."
            )
        return check

    def add_decision(self, decision: Decision) -> Decision:
        """Store a decision; the first one of its version, champion and policy stands."""
        return self.models.put_first(decision)

    def decision_keys(self, version: str) -> list[str]:
        """All decisions on a version, the one against the newest champion last."""
        listed = self.models.list(keys.gates_folder(self.name, version))
        return [info.key for info in listed if keys.is_decision(info.key)]

    def last_decision(self, version: str, policy: str) -> Decision:
        """The decision on a version under a policy against the newest champion.

        Raises
        ------
        PromotionError
            If none was made under this policy.
        """
        decisions = [
            self.decision(key)
            for key in self.decision_keys(version)
            if (gate := keys.gate_of(key, self.name)) and policy.startswith(gate.policy)
        ]
        decisions = [decision for decision in decisions if decision.policy == policy]
        if not decisions:
            raise PromotionError(
                f"no decision on version {version!r} was made by the rules in force: settings, "
                f"code or libraries changed since. Run: {command('retrain', self.name)}"
            )
        return decisions[-1]

    def against(self, generation: int, policy: str) -> list[Decision]:
        """All decisions against one champion under one policy; 0 is none."""
        keys_of_all = [
            info.key
            for info in self.models.list(keys.versions_folder(self.name))
            if keys.is_decision(info.key)
            and (gate := keys.gate_of(info.key, self.name))
            and gate.generation == generation
            and policy.startswith(gate.policy)
        ]
        return [self.decision(key) for key in keys_of_all]

    def decision(self, key: str) -> Decision:
        """A decision by its key, if its version is unchanged."""
        decision = checked_own(self.models.get_record(key, Decision), self.name)
        self.versions.manifest_as(decision.version, decision.manifest_sha256)
        return decision

    def decision_of(self, entry: LogEntry) -> Decision:
        """The decision that a log entry was made on, if it is unchanged."""
        decision = self.decision(entry.decision_key)
        check_digest(self.models, decision, entry.decision_sha256)
        return decision

    def find_decision(self, version: str, generation: int, policy: str) -> Decision | None:
        """The decision on a version against one champion under one policy, if it was made."""
        key = keys.decision_key(self.name, version, generation, policy)
        try:
            decision = self.decision(key)
        except ObjectMissingError:
            return None
        if not decision.policy.startswith(policy):
            raise TrustError(f"{self.models.uri(key)} was decided under another policy")
        return decision

    def add_card(self, card: CardFiles) -> CardFiles:
        """Store the digests of a card's files; the first card of a decision stands."""
        return self.models.put_first(card)

    def find_card(self, decision: Decision) -> CardFiles | None:
        """Which files a decision's card consists of; None where it was never drawn."""
        key = keys.sibling(decision.object_key, keys.CARD)
        card = self.models.find_record(key, CardFiles)
        if card is not None and card.decision_sha256 != decision.digest():
            raise TrustError(f"{self.models.uri(key)} was drawn of another decision")
        return card

    def add_approval(self, approval: ApprovalRecord) -> ApprovalRecord:
        """Store a person's answer to a decision; the first one stands."""
        return self.models.put_first(approval)

    def find_approval(self, decision: Decision) -> ApprovalRecord | None:
        """The answer to a decision; None when nobody answered."""
        key = keys.sibling(decision.object_key, keys.APPROVAL)
        return self.models.find_record(key, ApprovalRecord)

    def generations_named(self) -> list[tuple[int, str, type[GateRecord]]]:
        """The champion generation in the key of each record of a gate, the key, and the kind."""
        return [
            (gate.generation, info.key, kind)
            for info in self.models.list(keys.versions_folder(self.name))
            if (gate := keys.gate_of(info.key, self.name))
            and (kind := _KINDS.get(info.key.rpartition("/")[2]))
        ]
