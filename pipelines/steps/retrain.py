"""The steps of `sentiment_retrain` up to the verdict: a URI in, a URI out.

Each step reads its input, calls the function that decides, and stores the result. The modules of
this package import nothing heavy, so a DAG file that names their functions parses quickly; only the
worker that runs a step imports what that step needs. The shell calls the same functions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from pipelines.core import config, keys
from pipelines.core.errors import StalePlanError
from pipelines.core.settings.settings import command
from pipelines.steps.context import open_loop

if TYPE_CHECKING:
    from pipelines.features.packs import Share
    from pipelines.features.views import View
    from pipelines.records.versions import Plan
    from pipelines.steps.context import Loop

logger = logging.getLogger(__name__)


def take_snapshot(model: str | None = None) -> str:
    """Pin the reviews accepted so far, of the model's sources; returns the snapshot's URI."""
    from pipelines.intake import snapshot

    loop = open_loop(model=model)
    pinned = snapshot.take(
        loop.reviews, loop.settings.split, before=loop.learned(),
        sources=loop.settings.model.sources,
    )  # fmt: skip
    return loop.reviews.uri(pinned.object_key)


def plan(
    snapshot_uri: str, candidates: Sequence[str] = (), seed: int | None = None,
    model: str | None = None,
) -> str:  # fmt: skip
    """Fix everything that decides the model's bytes; returns the plan's URI."""
    from pipelines.records.data import Snapshot
    from pipelines.training.train import make_plan

    loop = open_loop(model=model)
    settings = loop.settings
    if candidates:
        settings = config.with_candidates(settings, tuple(candidates))
    if seed is not None:
        settings = config.with_seed(settings, seed)
    pinned = loop.reviews.get_record(loop.key(snapshot_uri), Snapshot)
    planned = loop.registry.versions.add_plan(make_plan(pinned, settings))
    loop.reviews.put_record(pinned)  # housekeeping may have deleted it before there was this plan
    return loop.models.uri(planned)


def has_work(plan_uri: str, model: str | None = None) -> list[Share]:
    """The shares of `featurize`, at least one; empty if this version was decided on before.

    Before means against the same champion and by the same rules.
    """
    from pipelines.core import provenance
    from pipelines.registry import approvals

    loop = open_loop(model=model)
    planned, registry = loop.plan(plan_uri), loop.registry
    champion = registry.log.champion()
    if champion is not None and champion.version == planned.version:
        logger.info("Nothing changed: version %s is the champion already.", planned.version)
        return []
    if (entry := registry.log.withdrawn().get(planned.version)) is not None:
        logger.info(
            "Nothing to do: version %s was rolled back at %s (%s) and has not been released since.",
            planned.version, entry.at, entry.reason,
        )  # fmt: skip
        return []
    decision = registry.decisions.find_decision(
        planned.version,
        champion.generation if champion else 0,
        provenance.gate_policy(loop.settings),
    )
    if decision is None or approvals.is_open(registry, decision):
        return _shares(loop, planned)
    logger.info(
        "Nothing changed: version %s was decided on before: %s. %s",
        planned.version, decision.verdict, decision.why,
    )  # fmt: skip
    return []


def _shares(loop: Loop, planned: Plan) -> list[Share]:
    from pipelines.features import packs
    from pipelines.features.fingerprint_cache import missing_packs
    from pipelines.intake import snapshot

    pinned = snapshot.pinned(loop.reviews, planned)
    missing = [missing_packs(loop.reviews, pinned, view) for view in _views(loop, planned)]
    return packs.shares(max(missing, default=0), loop.settings.training.packs_per_task)


def _views(loop: Loop, planned: Plan) -> list[View]:
    """What the plan's candidates read of a review."""
    from pipelines.models import factories
    from pipelines.training import candidates

    candidates.check_configured(planned, loop.settings)
    models = [candidates.build(planned, name) for name in planned.candidates]
    return sorted({view for model in models for view in factories.views_of(model)})


def featurize(
    plan_uri: str, model: str | None = None, share: Sequence[int] = (0, 1)
) -> dict[str, int]:
    """Compute the fingerprints that are not cached; returns counts of cached and computed ones.

    Parameters
    ----------
    plan_uri, model
        As for the other steps.
    share : (number, of)
        One of those that `has_work` returned. Shares may be worked on at once.
    """
    from pipelines.features import fingerprint_cache
    from pipelines.intake import snapshot

    loop = open_loop(model=model)
    planned = loop.plan(plan_uri)
    number, of = share
    pinned = snapshot.pinned(loop.reviews, planned)
    cached = computed = 0
    for view in _views(loop, planned):
        use = fingerprint_cache.fill_cache(loop.reviews, pinned, view, share=(number, of))
        cached, computed = cached + use.cached, computed + use.computed
    return asdict(fingerprint_cache.CacheUse(cached=cached, computed=computed))


def train(
    plan_uri: str, on_step: Callable[[str], None] | None = None, model: str | None = None
) -> str:
    """Fit the plan's candidates and store the best as a version; returns the manifest's URI."""
    from pipelines.training import train as training_train

    loop = open_loop(model=model)
    manifest = training_train.train(
        loop.reviews, loop.registry, loop.plan(plan_uri), loop.settings,
        on_step=on_step or logger.info,
    )  # fmt: skip
    return loop.models.uri(manifest.object_key)


def train_and_share(plan_uri: str, model: str | None = None) -> list[Share]:
    """`train`, for workers; returns `shares_to_score`."""
    logger.info("Trained: %s", train(plan_uri, model=model))
    return shares_to_score(plan_uri, model)


def shares_to_score(plan_uri: str, model: str | None = None) -> list[Share]:
    """The shares of `score`; none where `evaluate` does it all, because the packs are few."""
    from pipelines.evaluation import answering
    from pipelines.intake import snapshot

    loop = open_loop(model=model)
    pinned = snapshot.pinned(loop.reviews, loop.plan(plan_uri))
    return answering.shares_to_score(pinned, loop.settings.training)


def score(plan_uri: str, model: str | None = None, share: Sequence[int] = (0, 1)) -> int:
    """Score a share of what is held out, for `evaluate` to read; returns how many packs that were.

    Shares may be worked on at once, and again: each keeps what it answered.
    """
    from pipelines.core import provenance
    from pipelines.evaluation import answering

    loop = open_loop(model=model)
    registry, (number, of) = loop.registry, share
    manifest = registry.versions.manifest(loop.plan(plan_uri).version)
    policy = provenance.gate_policy(loop.settings)
    scored = answering.score_share(loop.reviews, registry, manifest, policy, (number, of))
    logger.info("share=%d of=%d packs=%d", number, of, scored)
    return scored


def evaluate(manifest_uri: str, model: str | None = None) -> str:
    """Score a version and the champion on the same rows; returns the evaluation's URI."""
    from pipelines.core import provenance
    from pipelines.evaluation import evaluate as evaluation_evaluate

    loop = open_loop(model=model)
    registry = loop.registry
    manifest = registry.versions.manifest(keys.version_of(loop.key(manifest_uri)))
    evaluation = evaluation_evaluate.evaluate(
        loop.reviews, registry, manifest, loop.settings,
        provenance.gate_policy(loop.settings),
    )  # fmt: skip
    return loop.models.uri(evaluation.object_key)


def verify(evaluation_uri: str, model: str | None = None) -> str:
    """Try the model file in a clean process; returns the evaluation's URI again."""
    from pipelines.evaluation import verify as evaluation_verify

    loop = open_loop(model=model)
    registry = loop.registry
    evaluation = registry.decisions.evaluation(loop.key(evaluation_uri))
    evaluation_verify.verify(loop.reviews, registry, evaluation, loop.settings)
    return evaluation_uri


def evaluate_trained(plan_uri: str, model: str | None = None) -> str:
    """`evaluate` the version that was trained by a plan."""
    loop = open_loop(model=model)
    planned = loop.plan(plan_uri)
    manifest_key = keys.manifest_key(planned.model_name, planned.version)
    return evaluate(loop.models.uri(manifest_key), model)


def decide(evaluation_uri: str, model: str | None = None) -> str:
    """Gate a version; returns the decision's URI. A failing verdict is a result, not an error.

    Raises
    ------
    StalePlanError
        If the rules changed since the evaluation.
    """
    from pipelines.core import provenance
    from pipelines.gate import decide as gate_decide

    loop = open_loop(model=model)
    decisions = loop.registry.decisions
    evaluation = decisions.evaluation(loop.key(evaluation_uri))
    if evaluation.policy != provenance.gate_policy(loop.settings):
        raise StalePlanError(
            f"version {evaluation.version} was evaluated under rules that are no longer in force: "
            "settings, code or libraries have changed. Evaluate it again: clear `evaluate`, or "
            f"{command('retrain', evaluation.model_name)}"
        )
    check = decisions.find_check(evaluation)
    decision = decisions.add_decision(gate_decide.decide(evaluation, loop.settings.gate, check))
    for rule in decision.rules:
        logger.info("%s %s: %s", "ok  " if rule.is_passed else "FAIL", rule.rule, rule.sentence)
    logger.info("Verdict %s: %s", decision.verdict, decision.why)
    return loop.models.uri(decision.object_key)


def write_card(decision_uri: str, model: str | None = None) -> str:
    """Draw the model card and its plots next to a decision; returns the card's URI.

    Repeating it changes nothing.
    """
    from pipelines.gate.card import card

    loop = open_loop(model=model)
    return loop.models.uri(card.write(loop.reviews, loop.registry, loop.key(decision_uri)))
