"""One function per task: an URI in, an URI out. Airflow and the shell call the same ones.

A step reads, has somebody decide, writes. This module imports nothing heavy, so a DAG file that
names its functions parses quickly; the worker that runs a step pays for what that step needs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from pipelines.core import config
from pipelines.core.errors import StalePlanError
from pipelines.steps.context import read_plan, registry_in, stores_as

if TYPE_CHECKING:
    from pipelines.core.store.stores import Stores
    from pipelines.records.data import Snapshot

logger = logging.getLogger(__name__)


def take_snapshot() -> str:
    """Pin the accepted reviews of this moment; returns the snapshot's URI."""
    from pipelines.intake import snapshot

    stores = stores_as()
    pinned = snapshot.take(
        stores.reviews, config.load().split, before=learned_by_the_champion(stores)
    )
    return stores.reviews.uri(pinned.object_key)


def plan(snapshot_uri: str, candidates: Sequence[str] = (), seed: int | None = None) -> str:
    """Fix everything that decides the model's bytes; returns the plan's URI."""
    from pipelines.records.data import Snapshot
    from pipelines.training import train as training_train

    stores = stores_as()
    settings = config.load()
    if candidates:
        settings = config.with_candidates(settings, tuple(candidates))
    if seed is not None:
        settings = config.with_seed(settings, seed)
    reviews, key = stores.resolve(snapshot_uri)
    made = training_train.make_plan(reviews.get_record(key, Snapshot), settings)
    return stores.models.uri(registry_in(stores).versions.add_plan(made))


def has_work(plan_uri: str) -> bool:
    """False when this very version was already decided on against this very champion."""
    from pipelines.core import provenance
    from pipelines.registry import approvals

    stores = stores_as()
    made, registry = read_plan(stores, plan_uri)
    champion = registry.log.champion()
    if champion is not None and champion.version == made.version:
        logger.info("Nothing changed: version %s is the champion already.", made.version)
        return False
    if (entry := registry.log.withdrawn().get(made.version)) is not None:
        logger.info(
            "Nothing to do: version %s was rolled back at %s (%s) and not released since.",
            made.version, entry.at, entry.reason,
        )  # fmt: skip
        return False
    decision = registry.decisions.find_decision(
        made.version,
        champion.generation if champion else 0,
        provenance.gate_policy(config.load()),
    )
    if decision is None or approvals.is_open(registry, decision):
        return True
    logger.info(
        "Nothing changed: version %s was decided on before: %s. %s",
        made.version, decision.verdict, decision.why,
    )  # fmt: skip
    return False


def featurize(plan_uri: str) -> dict[str, int]:
    """Compute the fingerprints that are not cached yet; returns how many were."""
    from pipelines.features import fingerprint_cache
    from pipelines.intake import snapshot
    from pipelines.models import factories
    from pipelines.training import candidates

    stores = stores_as()
    made, _ = read_plan(stores, plan_uri)
    candidates.check_configured(made, config.load())
    built = [candidates.build(made, name) for name in made.candidates]
    pinned = snapshot.pinned(stores.reviews, made)
    wanted = {
        factories.fingerprint_parameters(one) for one in built if factories.reads_fingerprints(one)
    }
    cached = computed = 0
    for ngram_max, bits in sorted(wanted):
        use = fingerprint_cache.fill_cache(stores.reviews, pinned, ngram_max=ngram_max, bits=bits)
        cached, computed = cached + use.cached, computed + use.computed
    return asdict(fingerprint_cache.CacheUse(cached=cached, computed=computed))


def train(plan_uri: str, on_step: Callable[[str], None] | None = None) -> str:
    """Fit the plan's candidates and store the best as a version; returns the manifest's URI."""
    from pipelines.training import train as training_train

    stores = stores_as()
    made, registry = read_plan(stores, plan_uri)
    manifest = training_train.train(
        stores.reviews, registry, made, config.load(), on_step=on_step or logger.info
    )
    return stores.models.uri(manifest.object_key)


def evaluate(manifest_uri: str) -> str:
    """Score a version and the champion on the same rows; returns the evaluation's URI."""
    from pipelines.core import provenance
    from pipelines.evaluation import evaluate as evaluation_evaluate

    stores = stores_as()
    models, key = stores.resolve(manifest_uri)
    registry = registry_in(stores)
    manifest = registry.versions.manifest(
        key.split("/")[-2]
    )  # <name>/versions/<version>/manifest.json
    settings = config.load()
    found = evaluation_evaluate.evaluate(
        stores.reviews, registry, manifest, settings, provenance.gate_policy(settings)
    )
    return models.uri(found.object_key)


def verify(evaluation_uri: str) -> str:
    """Try the model file in a clean process; returns the evaluation's URI again."""
    from pipelines.evaluation import verify as evaluation_verify

    stores = stores_as()
    _, key = stores.resolve(evaluation_uri)
    registry = registry_in(stores)
    evaluation_verify.verify(
        stores.reviews, registry, registry.decisions.evaluation(key), config.load()
    )
    return evaluation_uri


def decide(evaluation_uri: str) -> str:
    """Gate a version; returns the decision's URI. A failing verdict is a result, too.

    Raises
    ------
    StalePlanError
        If the rules changed since the evaluation.
    """
    from pipelines.core import provenance
    from pipelines.gate import decide as gate_decide

    stores = stores_as()
    models, key = stores.resolve(evaluation_uri)
    registry = registry_in(stores)
    evaluation = registry.decisions.evaluation(key)
    settings = config.load()
    if evaluation.policy != provenance.gate_policy(settings):
        raise StalePlanError(
            f"version {evaluation.version} was evaluated under other rules than those in force: "
            "settings, code or libraries changed since. Evaluate it again: clear `evaluate`, or "
            "python -m pipelines retrain"
        )
    check = registry.decisions.find_check(evaluation)
    decision = registry.decisions.add_decision(gate_decide.decide(evaluation, settings.gate, check))
    for rule in decision.rules:
        logger.info("%s %s: %s", "ok  " if rule.is_passed else "FAIL", rule.rule, rule.sentence)
    logger.info("Verdict %s: %s", decision.verdict, decision.why)
    return models.uri(decision.object_key)


def write_card(decision_uri: str) -> str:
    """Draw the model card and its plots beside a decision; returns the card's URI.

    Repeating it changes nothing.
    """
    from pipelines.gate.card import card

    stores = stores_as()
    models, key = stores.resolve(decision_uri)
    return models.uri(card.write(stores.reviews, registry_in(stores), key))


def learned_by_the_champion(stores: Stores) -> Snapshot | None:
    """What the champion was trained on; None when there is no champion."""
    from pipelines.intake import snapshot

    registry = registry_in(stores)
    champion = registry.log.champion()
    if champion is None:
        return None
    return snapshot.pinned(stores.reviews, registry.versions.champion_manifest(champion).plan)
