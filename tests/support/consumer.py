"""The champion as a consumer gets it, and everything that speaks for it."""

from __future__ import annotations

from pipelines.records.decisions import PROMOTABLE
from pipelines.records.succession import LogEntry
from pipelines.registry.registry import Registry
from pipelines.serving import champion as serving_champion


def checked_champion(registry: Registry) -> LogEntry:
    """The champion's log entry, after loading its model and following all that vouches for it.

    The registry raises unless the log is a signed chain without a hole, and unless manifest,
    model file and decision are the very bytes that were recorded and signed.
    """
    *_, before, entry = (None, None, *registry.log.history())
    champion = serving_champion.load_champion(registry)
    decision = registry.decisions.decision(entry.decision_key)
    evaluation = registry.decisions.evaluation_of(decision)
    assert champion.entry == entry
    assert decision.verdict in PROMOTABLE
    assert (decision.version, decision.digest(), decision.manifest_sha256) == (
        entry.version, entry.decision_sha256, entry.manifest_sha256,
    )  # fmt: skip
    assert (decision.champion_generation, decision.champion_version) == (
        entry.generation - 1, before.version if before else None,
    )  # fmt: skip
    assert (evaluation.digest(), evaluation.version) == (
        decision.evaluation_sha256, entry.version,
    )  # fmt: skip
    (probabilities,) = champion.model.predict_proba(["a great film"])
    assert 0 < probabilities[1] < 1
    return entry
