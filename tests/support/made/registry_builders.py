"""Small versions, decisions and champions for tests of the registry, made without training."""

from __future__ import annotations

from pipelines.core.keys import model_file_key
from pipelines.core.record import sha256_of
from pipelines.records.decisions import PROMOTABLE, Decision
from pipelines.records.succession import LogEntry
from pipelines.records.versions import Manifest, Plan
from pipelines.registry.promotion import promote
from pipelines.registry.registry import Registry
from tests.support.made.judgement_builders import a_first_model, an_evaluation

DIGEST = "d" * 64
MODEL = b"not a model, but bytes with a digest"


def a_version(
    registry: Registry, name: str, model: bytes | None = None, snapshot: str | None = None
) -> Manifest:
    """A committed version named by ``name``; its model is arbitrary bytes unless given.

    ``snapshot`` is the digest of one that exists; without it, it names one that does not.
    """
    plan = Plan(
        model_name=registry.name,
        snapshot=snapshot or sha256_of(name.encode()),
        candidates={"some": {"called": name}},
        min_training_rows=2,
        folds=3,
        keep_share=0.5,
        seed=1,
        code=DIGEST,
        environment=DIGEST,
    )
    model = MODEL + name.encode() if model is None else model
    registry.versions.add_plan(plan)
    manifest = Manifest(
        model_name=registry.name,
        version=plan.version,
        plan=plan,
        candidate="some",
        selection=(),
        featurizer=None,
        training_rows=10,
        holdout_rows=10,
        duplicate_rows=0,
        training_digest=DIGEST,
        model_key=model_file_key(registry.name, plan.version, sha256_of(model)),
        model_sha256=sha256_of(model),
        model_size_bytes=len(model),
    )
    return registry.versions.add_version(manifest, model)


def decided(
    registry: Registry,
    manifest: Manifest,
    *,
    against: LogEntry | None = None,
    verdict: str = "PROMOTE",
    **changes: object,
) -> tuple[str, Decision]:
    """A stored decision on a version against a champion's log entry; it needs no approval.

    ``changes`` are fields of the decision, e.g. ``approval="needed"``.
    """
    build = an_evaluation if against else a_first_model
    named = {"version": manifest.version, "manifest_sha256": manifest.digest(), "policy": DIGEST}
    evaluation = build(model_name=registry.name, **named)
    if against:
        evaluation = evaluation.model_copy(
            update={
                "champion_generation": against.generation,
                "champion_version": against.version,
                "reference_version": against.reference,
            }
        )
    evaluation = registry.decisions.add_evaluation(evaluation)
    values = {
        "model_name": registry.name,
        "evaluation_sha256": evaluation.digest(),
        "champion_generation": evaluation.champion_generation,
        "champion_version": evaluation.champion_version,
        "reference_version": evaluation.reference_version,
        "verdict": verdict,
        "approval": "not_needed" if verdict in PROMOTABLE else "impossible",
        "becomes_reference": True,
        "why": "Because.",
        "rules": (),
    }
    decision = registry.decisions.add_decision(Decision(**(values | named | changes)))
    return decision.object_key, decision


def promoted(
    registry: Registry,
    name: str,
    *,
    against: LogEntry | None = None,
    model: bytes | None = None,
    snapshot: str | None = None,
    **changes: object,
) -> LogEntry:
    """A version that became champion after the given one; ``changes`` as in `decided`."""
    manifest = a_version(registry, name, model, snapshot)
    _, decision = decided(registry, manifest, against=against, **changes)
    return promote(registry, decision, policy=decision.policy, actor="test", reason="")


def a_log_entry(generation: int, **changes: object) -> LogEntry:
    """A line of a champion log that is nowhere stored and follows from nothing."""
    values = {
        "model_name": "sentiment",
        "generation": generation,
        "previous_entry_sha256": None,
        "kind": "promotion",
        "version": "c" * 20,
        "manifest_sha256": DIGEST,
        "decision_key": "decision.json",
        "decision_sha256": DIGEST,
        "reference": "d" * 20,
        "reference_manifest_sha256": DIGEST,
        "holdout_accuracy": 0.9,
        "holdout_log_loss": 0.25,
        "actor": "test",
        "reason": "",
        "token": DIGEST,
        "at": "2026-01-05T00:00:00+00:00",
    }
    return LogEntry(**(values | changes))
