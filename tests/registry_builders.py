"""Small versions, decisions and champions for tests of the registry, made without training."""

from __future__ import annotations

from pipelines.records import Decision, Evaluation, LogEntry, Manifest, Metrics, Plan, sha256_of
from pipelines.registry import Registry

DIGEST = "d" * 64
MODEL = b"not a model, but bytes with a digest"


def a_version(registry: Registry, name: str, model: bytes | None = None) -> Manifest:
    """A committed version named by ``name``; its model is arbitrary bytes unless given."""
    plan = Plan(
        model_name=registry.name,
        snapshot_key="snapshots/none.json",
        snapshot=sha256_of(name.encode()),
        candidates={"some": {}},
        min_training_rows=2,
        folds=3,
        keep_share=0.5,
        seed=1,
        code=DIGEST,
        environment=DIGEST,
    )
    model = MODEL + name.encode() if model is None else model
    registry.add_plan(plan)
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
        model_key=registry.model_key(plan.version, sha256_of(model)),
        model_sha256=sha256_of(model),
        model_size_bytes=len(model),
    )
    return registry.add_version(manifest, model)


def decided(
    registry: Registry,
    manifest: Manifest,
    *,
    against: LogEntry | None = None,
    verdict: str = "PROMOTE",
) -> tuple[str, Decision]:
    """A stored decision on a version against a champion's log entry."""
    score = Metrics(
        rows=10, accuracy=0.9, f1=0.9, roc_auc=0.9, log_loss=0.3,
        recall_positive=0.9, recall_negative=0.9,
    )  # fmt: skip
    generation, version = (against.generation, against.version) if against else (0, None)
    key, evaluation = registry.add_evaluation(
        Evaluation(
            model_name=registry.name,
            version=manifest.version,
            manifest_sha256=manifest.digest(),
            champion_generation=generation,
            champion_version=version,
            policy=DIGEST,
            holdout_id=DIGEST,
            overlap_rows=0,
            seen_by_champion_rows=0,
            positive_rows=5,
            negative_rows=5,
            artefact_bytes=1,
            challenger=score,
            champion=score if against else None,
            paired=None,
            check_rows=(),
        )
    )
    return registry.add_decision(
        Decision(
            model_name=registry.name,
            version=manifest.version,
            manifest_sha256=manifest.digest(),
            evaluation_key=key,
            evaluation_sha256=evaluation.digest(),
            champion_generation=generation,
            champion_version=version,
            policy=DIGEST,
            verdict=verdict,
            why="Because.",
            rules=(),
        )
    )


def promoted(
    registry: Registry, name: str, *, against: LogEntry | None = None, model: bytes | None = None
) -> LogEntry:
    """A version that became champion after the given one."""
    key, decision = decided(registry, a_version(registry, name, model), against=against)
    return registry.promote(decision, key, actor="test", reason="")
