"""The records of one model beside each other: the champion log, versions, decisions, answers.

The log is the truth. Whatever names a generation that it does not have proves that it was cut back,
and whatever names another champion of a generation proves that it was rewritten.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from pipelines.fsck_reading import Contents, Finding
from pipelines.judgement import (
    PROMOTABLE,
    ApprovalRecord,
    ArtefactCheck,
    CardFiles,
    Decision,
    Evaluation,
)
from pipelines.keys import beside, hint_key, log_key, manifest_key, plan_key, snapshot_key
from pipelines.records import (
    ChampionHint,
    LogEntry,
    Manifest,
    ModelRecord,
    Plan,
    RollbackPlan,
    Snapshot,
)
from pipelines.sealed import AnyRecord

CUT_BACK = "docs/runbooks/champion-log-broken.md"

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
        self.log = {entry.generation: entry for entry in self._of(LogEntry)}
        logged = (key for _, key in contents.keys_of(LogEntry) if key.startswith(f"{name}/"))
        self.generations = sorted(int(key.rpartition("/")[2][:8]) for key in logged)

    def findings(self) -> Iterator[Finding]:
        yield from self._holes()
        withdrawn: set[str] = set()
        for generation in sorted(self.log):
            yield from self._entry(self.log[generation], withdrawn)
        yield from self._dates()
        yield from self._hint()
        yield from self._ahead()
        yield from self._versions()
        yield from self._gates()

    def _of(self, kind: type[AnyRecord]) -> Iterator[AnyRecord]:
        for record in self.contents.of(kind):
            if isinstance(record, ModelRecord) and record.model_name == self.name:
                yield record

    # The log

    def _holes(self) -> Iterator[Finding]:
        for before, after in pairwise([0, *self.generations]):
            if after > before + 1:
                key, count = log_key(self.name, before + 1), after - before - 1
                more = f", and so are the {count - 1:,} after it" if count > 1 else ""
                yield _error(key, f"is missing from the champion log{more}: {CUT_BACK}")

    def _entry(self, entry: LogEntry, withdrawn: set[str]) -> Iterator[Finding]:
        key, before = entry.object_key, self.log.get(entry.generation - 1)
        follows = before.digest() if before else None
        if (before or entry.generation == 1) and entry.previous_entry_sha256 != follows:
            yield _error(key, "does not follow from the entry before it")
        for version, digest in (
            (entry.version, entry.manifest_sha256),
            (entry.reference, entry.reference_manifest_sha256),
        ):
            yield from self._as_named(Manifest, manifest_key(self.name, version), digest, key)
        yield from self._as_named(Decision, entry.decision_key, entry.decision_sha256, key)
        if entry.approval_key is not None:
            expected = entry.approval_sha256 or ""
            yield from self._as_named(ApprovalRecord, entry.approval_key, expected, key)
        yield from (_error(key, what) for what in self._nonsense(entry, before, withdrawn))
        if entry.subject is not None and entry.kind in {"rollback", "release"}:
            (withdrawn.add if entry.kind == "rollback" else withdrawn.discard)(entry.subject)

    def _nonsense(
        self, entry: LogEntry, before: LogEntry | None, withdrawn: set[str]
    ) -> Iterator[str]:
        """What no release of this project would have written."""
        if entry.kind == "promotion":
            yield from self._promotion(entry, withdrawn)
            return
        earlier = [one for number, one in self.log.items() if number < entry.generation]
        if entry.kind == "rollback":
            if before and entry.subject != before.version:
                yield f"withdraws {entry.subject}, which was not champion: {before.version} was"
            former = {one.version for one in earlier}
        else:
            if before and entry.version != before.version:
                yield f"is a {entry.kind}, and changes the champion"
            former = {one.version for one in earlier} | {entry.version}
        is_whole = len(earlier) == entry.generation - 1
        if entry.version not in former and is_whole:
            yield f"puts {entry.version} back, which was never champion"
        if entry.kind == "release" and entry.subject not in withdrawn:
            yield f"releases {entry.subject}, which was not withdrawn"
        if entry.kind == "pin" and entry.subject != entry.reference:
            yield f"pins {entry.subject}, and names {entry.reference} as the reference"

    def _promotion(self, entry: LogEntry, withdrawn: set[str]) -> Iterator[str]:
        decision = self.contents.find(Decision, entry.decision_key)
        if entry.version in withdrawn:
            yield f"promotes {entry.version}, which was withdrawn and not released"
        if decision is None:
            return
        decided = (decision.version, decision.champion_generation + 1, decision.digest())
        if decided != (entry.version, entry.generation, entry.token):
            yield "promotes another version than its decision, or after another champion"
        approval = self.contents.find(ApprovalRecord, entry.approval_key or "")
        is_approved = approval is not None and approval.answer == "approve"
        if decision.approval == "not_needed":
            is_allowed = decision.verdict in PROMOTABLE
        else:
            is_allowed = decision.approval == "needed" and is_approved
        if not is_allowed:
            yield (
                f"promotes a version whose decision says {decision.verdict}, approval "
                f"{decision.approval.replace('_', ' ')}, without a person's yes"
            )

    def _dates(self) -> Iterator[Finding]:
        for before, entry in pairwise(self.log[number] for number in sorted(self.log)):
            if entry.at < before.at:
                what = f"is dated {entry.at}, the entry before it {before.at}"
                yield _error(entry.object_key, what)

    def _hint(self) -> Iterator[Finding]:
        key, newest = hint_key(self.name), self.generations[-1] if self.generations else 0
        if not self.contents.has("models", key):
            if self.generations:
                what = "is missing; readers look at the log instead"
                yield Finding("warning", "models", key, what)
            return
        hint = self.contents.find(ChampionHint, key)
        if hint is None:
            return
        if hint.generation < newest:
            what = f"names generation {hint.generation} of {newest}: it is stale"
            yield Finding("warning", "models", key, what)
        yield from self._against(key, hint.generation, hint.version)

    # Nothing is ahead of the log

    def _ahead(self) -> Iterator[Finding]:
        for kind in _AT_THE_GATE:
            for record in self._of(kind):
                named = getattr(record, "champion_version", None)
                yield from self._against(record.object_key, record.champion_generation, named)
        for plan in self._of(RollbackPlan):
            champion = plan.champion_generation, plan.champion_version
            yield from self._against(plan.object_key, *champion)
            yield from self._against(plan.object_key, plan.target_generation, plan.target_version)

    def _against(self, key: str, generation: int, version: str | None) -> Iterator[Finding]:
        """Whether the log has the generation that a record names, with the champion it names."""
        if generation and generation not in self.generations:
            yield _error(
                key,
                f"names generation {generation}, which the log does not have: the log was cut "
                f"back. What to do: {CUT_BACK}",
            )
        entry = self.log.get(generation)
        if entry is not None and version not in {None, entry.version}:
            yield _error(
                key,
                f"names {version} as champion of generation {generation}, the log {entry.version}: "
                f"the log was rewritten. What to do: {CUT_BACK}",
            )

    # Versions

    def _versions(self) -> Iterator[Finding]:
        found: list[Finding] = []
        for plan in self._of(Plan):
            self._needed(Snapshot, snapshot_key(plan.snapshot), plan.object_key, found)
        for manifest in self._of(Manifest):
            key = manifest.object_key
            self._needed(Snapshot, snapshot_key(manifest.plan.snapshot), key, found)
            self._needed(Plan, plan_key(self.name, manifest.version), key, found)
        yield from found

    def _gates(self) -> Iterator[Finding]:
        for evaluation in self._of(Evaluation):
            yield from self._evaluation(evaluation)
        for check in self._of(ArtefactCheck):
            yield from self._check(check)
        for decision in self._of(Decision):
            yield from self._decision(decision)
        for card in self._of(CardFiles):
            yield from self._beside(card, "decision.json", Decision, card.decision_sha256)
        for approval in self._of(ApprovalRecord):
            yield from self._approval(approval)

    def _evaluation(self, evaluation: Evaluation) -> Iterator[Finding]:
        key = evaluation.object_key
        manifest = manifest_key(self.name, evaluation.version)
        yield from self._as_named(Manifest, manifest, evaluation.manifest_sha256, key)
        if not self.contents.has("models", beside(key, "decision.json")):
            yield Finding("note", "models", key, "was never decided on")

    def _check(self, check: ArtefactCheck) -> Iterator[Finding]:
        yield from self._beside(check, "evaluation.json", Evaluation, check.evaluation_sha256)
        manifest = self.contents.find(Manifest, manifest_key(self.name, check.version))
        if manifest is not None and manifest.model_sha256 != check.model_sha256:
            yield _error(check.object_key, "is about another model file than the version's")

    def _decision(self, decision: Decision) -> Iterator[Finding]:
        key = decision.object_key
        manifest = manifest_key(self.name, decision.version)
        yield from self._as_named(Manifest, manifest, decision.manifest_sha256, key)
        yield from self._beside(decision, "evaluation.json", Evaluation, decision.evaluation_sha256)
        if decision.check_sha256 is not None:
            yield from self._beside(
                decision, "artefact_check.json", ArtefactCheck, decision.check_sha256
            )
        elif self.contents.has("models", beside(key, "artefact_check.json")):
            what = "was made without the artefact check beside it"
            yield Finding("warning", "models", key, what)
        if not self.contents.has("models", beside(key, "card.json")):
            what = "has no model card: the run ended before it was drawn"
            yield Finding("note", "models", key, what)

    def _approval(self, approval: ApprovalRecord) -> Iterator[Finding]:
        yield from self._beside(approval, "decision.json", Decision, approval.decision_sha256)
        decision = self.contents.find(Decision, beside(approval.object_key, "decision.json"))
        if decision is not None and decision.approval != "needed":
            yield _error(approval.object_key, "answers a decision that asked nobody")

    # What one record says of another

    def _beside(
        self, record: AtTheGate, name: str, kind: type[ModelRecord], digest: str
    ) -> Iterator[Finding]:
        key = record.object_key
        return self._as_named(kind, beside(key, name), digest, key)

    def _as_named(
        self, kind: type[ModelRecord], key: str, digest: str, by: str
    ) -> Iterator[Finding]:
        found: list[Finding] = []
        record = self._needed(kind, key, by, found)
        yield from found
        if record is not None and record.digest() != digest:
            yield _error(key, f"is not what {by} recorded: one of the two was replaced")

    def _needed(
        self, kind: type[AnyRecord], key: str, by: str, found: list[Finding]
    ) -> AnyRecord | None:
        return self.contents.needed(kind, key, by=by, found=found)


def _error(key: str, what: str) -> Finding:
    return Finding("error", "models", key, what)
