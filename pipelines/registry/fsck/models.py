"""Compare the records of one model: the champion log, versions, decisions, answers.

The log decides. A record that names a generation which is not in the log proves that it was cut
back; one that names another champion of a generation proves that it was rewritten.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.core import keys
from pipelines.core.keys import manifest_key, model_file_key, plan_key, sibling, snapshot_key
from pipelines.core.record import ModelRecord
from pipelines.core.store.sealed import AnyRecord
from pipelines.records.data import Snapshot
from pipelines.records.decisions import ApprovalRecord, CardFiles, Decision
from pipelines.records.evaluations import ArtefactCheck, Evaluation
from pipelines.records.succession import RollbackPlan
from pipelines.records.versions import Manifest, Plan
from pipelines.registry.fsck.contents import Contents, Finding
from pipelines.registry.fsck.log import Log, error

AtTheGate = Evaluation | ArtefactCheck | Decision | CardFiles | ApprovalRecord
_AT_THE_GATE: tuple[type[AtTheGate], ...] = (
    Evaluation, ArtefactCheck, Decision, CardFiles, ApprovalRecord,
)  # fmt: skip


def check(contents: Contents) -> Iterator[Finding]:
    """Findings on every model of the bucket."""
    models = [key.partition("/")[0] for key in contents.places["models"]]
    for name in sorted(set(models) - {"probes"}):
        yield from _Model(contents, name).findings()


class _Model:
    """One pass over the records of one model."""

    def __init__(self, contents: Contents, name: str) -> None:
        self.contents, self.name = contents, name
        self.log = Log(contents, name)

    def findings(self) -> Iterator[Finding]:
        yield from self.log.findings()
        yield from self._ahead()
        yield from self._versions()
        yield from self._gates()

    def _of(self, kind: type[AnyRecord]) -> Iterator[AnyRecord]:
        return self.contents.of_model(kind, self.name)

    def _ahead(self) -> Iterator[Finding]:
        """Findings on records that are ahead of the log, or contradict it."""
        for kind in _AT_THE_GATE:
            for record in self._of(kind):
                champion = getattr(record, "champion_version", None)
                place = record.object_key, record.champion_generation, champion
                yield from self.log.contradicts(*place)
        for plan in self._of(RollbackPlan):
            for generation, version in (
                (plan.champion_generation, plan.champion_version),
                (plan.target_generation, plan.target_version),
            ):
                yield from self.log.contradicts(plan.object_key, generation, version)

    def _versions(self) -> Iterator[Finding]:
        findings: list[Finding] = []
        for plan in self._of(Plan):
            pinned = snapshot_key(plan.snapshot)
            self.contents.needed(Snapshot, pinned, by=plan.object_key, findings=findings)
        for manifest in self._of(Manifest):
            key, pinned = manifest.object_key, snapshot_key(manifest.plan.snapshot)
            self.contents.needed(Snapshot, pinned, by=key, findings=findings)
            planned = plan_key(self.name, manifest.version)
            self.contents.needed(Plan, planned, by=key, findings=findings)
            own_file = model_file_key(self.name, manifest.version, manifest.model_sha256)
            if (manifest.plan.version, manifest.model_key) != (manifest.version, own_file):
                findings.append(error(key, "names the plan or the model file of another version"))
        yield from findings

    def _gates(self) -> Iterator[Finding]:
        for evaluation in self._of(Evaluation):
            yield from self._evaluation(evaluation)
        for check in self._of(ArtefactCheck):
            yield from self._check(check)
        for decision in self._of(Decision):
            yield from self._decision(decision)
        for card in self._of(CardFiles):
            yield from self._beside(card, keys.DECISION, Decision, card.decision_sha256)
        for approval in self._of(ApprovalRecord):
            yield from self._approval(approval)

    def _evaluation(self, evaluation: Evaluation) -> Iterator[Finding]:
        yield from self._manifest_of(evaluation)
        key = evaluation.object_key
        if not self.contents.has("models", sibling(key, keys.DECISION)):
            yield Finding("note", "models", key, "has no decision")

    def _check(self, check: ArtefactCheck) -> Iterator[Finding]:
        yield from self._beside(check, keys.EVALUATION, Evaluation, check.evaluation_sha256)
        manifest = self.contents.find(Manifest, manifest_key(self.name, check.version))
        if manifest is not None and manifest.model_sha256 != check.model_sha256:
            yield error(check.object_key, "is not about the version's model file")

    def _decision(self, decision: Decision) -> Iterator[Finding]:
        key = decision.object_key
        yield from self._manifest_of(decision)
        yield from self._beside(decision, keys.EVALUATION, Evaluation, decision.evaluation_sha256)
        check = sibling(key, keys.CHECK)
        is_checked = any(rule.rule == "clean_process" and rule.is_passed for rule in decision.rules)
        if is_checked and not self.contents.has("models", check):
            yield error(check, f"does not exist, but {key} was decided on it")
        if not self.contents.has("models", sibling(key, keys.CARD)):
            what = "has no model card: the run ended before it was drawn"
            yield Finding("note", "models", key, what)

    def _approval(self, approval: ApprovalRecord) -> Iterator[Finding]:
        yield from self._beside(approval, keys.DECISION, Decision, approval.decision_sha256)
        decision = self.contents.find(Decision, sibling(approval.object_key, keys.DECISION))
        if decision is not None and decision.approval != "needed":
            yield error(approval.object_key, "answers a decision that did not ask for approval")

    def _manifest_of(self, record: Evaluation | Decision) -> Iterator[Finding]:
        key = manifest_key(self.name, record.version)
        digest = record.manifest_sha256
        return self.contents.as_named(Manifest, key, digest, by=record.object_key)

    def _beside(
        self, record: AtTheGate, name: str, kind: type[ModelRecord], digest: str
    ) -> Iterator[Finding]:
        by = record.object_key
        return self.contents.as_named(kind, sibling(by, name), digest, by=by)
