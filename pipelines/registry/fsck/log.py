"""Check the champion log of one model: without gaps, chained, and as this project writes it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from pipelines.core import keys
from pipelines.core.keys import hint_key, log_key, manifest_key, rollback_key
from pipelines.records.decisions import PROMOTABLE, ApprovalRecord, Decision
from pipelines.records.succession import ChampionHint, LogEntry, RollbackPlan
from pipelines.records.versions import Manifest
from pipelines.registry import champion_log
from pipelines.registry.fsck.contents import Contents, Finding

CUT_BACK = "docs/runbooks/champion-log-broken.md"


class Log:
    """One pass over the log, and checks of records that name a generation.

    Attributes
    ----------
    entries : dict
        Each proven entry, by its generation.
    generations : list of int
        Those that are listed, proven or not, in order.
    """

    def __init__(self, contents: Contents, name: str) -> None:
        self.contents, self.name = contents, name
        own = contents.of_model(LogEntry, name)
        self.entries = {entry.generation: entry for entry in own}
        logged = contents.log_keys.get(name, ())
        self.generations = sorted(int(keys.name_of(key)) for key in logged)

    def findings(self) -> Iterator[Finding]:
        yield from self._holes()
        withdrawn: set[str] = set()
        for generation in sorted(self.entries):
            yield from self._entry(self.entries[generation], withdrawn)
        yield from self._dates()
        yield from self._hint()

    def contradicts(self, key: str, generation: int, version: str | None) -> Iterator[Finding]:
        """Findings if the log lacks a generation that a record names, or has another champion."""
        if generation and generation not in self.generations:
            yield error(
                key,
                f"names generation {generation}, which is not in the log: the log was cut "
                f"back. What to do: {CUT_BACK}",
            )
        entry = self.entries.get(generation)
        if entry is not None and version not in {None, entry.version}:
            yield error(
                key,
                f"names {version} as champion of generation {generation}, but the log names "
                f"{entry.version}: the log was rewritten. What to do: {CUT_BACK}",
            )

    def _holes(self) -> Iterator[Finding]:
        for before, after in pairwise([0, *self.generations]):
            if after > before + 1:
                key, count = log_key(self.name, before + 1), after - before - 1
                more = f", and so are the {count - 1:,} after it" if count > 1 else ""
                yield error(key, f"is missing from the champion log{more}: {CUT_BACK}")

    def _dates(self) -> Iterator[Finding]:
        history = [self.entries[number] for number in sorted(self.entries)]
        for entry in champion_log.misdated(history, self.contents.now):
            yield Finding(
                "warning", "models", entry.object_key,
                f"is dated {entry.at!r}, which contradicts the other entries or is after today: "
                "`champion at` uses the dates of the others",
            )  # fmt: skip

    def _hint(self) -> Iterator[Finding]:
        key, newest = hint_key(self.name), self.generations[-1] if self.generations else 0
        if not self.contents.has("models", key):
            if self.generations:
                what = "is missing; readers use the log instead"
                yield Finding("warning", "models", key, what)
            return
        hint = self.contents.find(ChampionHint, key)
        if hint is None:
            return
        if hint.generation < newest:
            what = f"names generation {hint.generation} of {newest}: it is stale"
            yield Finding("warning", "models", key, what)
        yield from self.contradicts(key, hint.generation, hint.version)

    # One entry

    def _entry(self, entry: LogEntry, withdrawn: set[str]) -> Iterator[Finding]:
        key, before = entry.object_key, self.entries.get(entry.generation - 1)
        follows = before.digest() if before else None
        if (before or entry.generation == 1) and entry.previous_entry_sha256 != follows:
            yield error(key, "does not follow from the entry before it")
        yield from self._named(entry)
        yield from (error(key, what) for what in self._nonsense(entry, before, withdrawn))
        if entry.subject is not None and entry.kind in {"rollback", "release"}:
            (withdrawn.add if entry.kind == "rollback" else withdrawn.discard)(entry.subject)

    def _named(self, entry: LogEntry) -> Iterator[Finding]:
        by = entry.object_key
        for version, digest in (
            (entry.version, entry.manifest_sha256),
            (entry.reference, entry.reference_manifest_sha256),
        ):
            key = manifest_key(self.name, version)
            yield from self.contents.as_named(Manifest, key, digest, by=by)
        decision = entry.decision_key, entry.decision_sha256
        yield from self.contents.as_named(Decision, *decision, by=by)
        if entry.approval_key is not None:
            answer = entry.approval_key, entry.approval_sha256 or ""
            yield from self.contents.as_named(ApprovalRecord, *answer, by=by)

    def _nonsense(
        self, entry: LogEntry, before: LogEntry | None, withdrawn: set[str]
    ) -> Iterator[str]:
        """Faults that no release of this project would have written."""
        if entry.kind == "promotion":
            yield from self._promotion(entry, withdrawn)
        elif entry.kind == "rollback":
            yield from self._rollback(entry, before)
        elif before is not None and entry.version != before.version:
            yield f"is a {entry.kind}, but changes the champion"
        if entry.kind == "release" and entry.subject not in withdrawn:
            yield f"releases {entry.subject}, which was not withdrawn"
        if entry.kind == "pin" and entry.subject != entry.reference:
            yield f"pins {entry.subject}, but names {entry.reference} as the reference"

    def _rollback(self, entry: LogEntry, before: LogEntry | None) -> Iterator[str]:
        plan = self.contents.find(RollbackPlan, rollback_key(self.name, entry.token))
        planned = plan and (plan.digest(), plan.champion_generation + 1, plan.target_version)
        if planned != (entry.token, entry.generation, entry.version):
            yield "does not match its plan: the plan is missing, or is another one"
        if before is not None and entry.subject != before.version:
            yield f"withdraws {entry.subject}, which was not champion: {before.version} was"
        earlier = [old.version for number, old in self.entries.items() if number < entry.generation]
        if entry.version not in earlier and len(earlier) == entry.generation - 1:
            yield f"puts {entry.version} back, which was never champion"

    def _promotion(self, entry: LogEntry, withdrawn: set[str]) -> Iterator[str]:
        if entry.version in withdrawn:
            yield f"promotes {entry.version}, which was withdrawn and not released"
        decision = self.contents.find(Decision, entry.decision_key)
        if decision is None:
            return
        decided = (decision.version, decision.champion_generation + 1, decision.digest())
        if decided != (entry.version, entry.generation, entry.token):
            yield "promotes another version than its decision, or after another champion"
        if not self._is_allowed(entry, decision):
            yield (
                f"promotes a version whose decision is {decision.verdict}, approval "
                f"{decision.approval.replace('_', ' ')}, without a person's approval"
            )

    def _is_allowed(self, entry: LogEntry, decision: Decision) -> bool:
        if decision.approval == "not_needed":
            return decision.verdict in PROMOTABLE
        approval = self.contents.find(ApprovalRecord, entry.approval_key or "")
        is_approved = approval is not None and approval.answer == "approve"
        return decision.approval == "needed" and is_approved


def error(key: str, what: str) -> Finding:
    return Finding("error", "models", key, what)
