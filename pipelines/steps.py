"""One function per task: an URI in, an URI out. Airflow and the shell call the same ones.

A step reads, has somebody decide, writes. This module imports nothing heavy, so a DAG file that
names its functions parses quickly; the worker that runs a step pays for what that step needs.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pipelines import config, keys
from pipelines.errors import (
    ChampionMovedError,
    ConfirmationError,
    DeliveryHeldError,
    MissingDeliveryError,
    NightHeldError,
    NightIncompleteError,
    PromotionError,
    SetAsideError,
    StalePlanError,
    concerns_one_record,
    sentence,
)

if TYPE_CHECKING:
    from pipelines.grants import Role
    from pipelines.judgement import Decision
    from pipelines.records import Plan, Receipt, Snapshot
    from pipelines.registry import Registry
    from pipelines.store import Bucket, Stores

logger = logging.getLogger(__name__)

MAX_REDECISIONS = 5

NextStep = Literal["promote", "ask", "keep_champion"]
Answer = Literal["approve", "reject"]


class Reply(TypedDict):
    """What a person answered: about which decision, what, who and why."""

    decision_uri: str
    answer: Answer
    actor: str
    reason: str


# ── reviews_ingest ───────────────────────────────────────────────────────────────────────────


def find_deliveries(night: str) -> list[str]:
    """URIs of the landing files that this night has to deal with."""
    from pipelines import landing

    stores, most = _stores("ingest"), config.load().intake.max_deliveries
    return [stores.reviews.uri(key) for key in landing.discover(stores.reviews, night, most=most)]


def land(landing_uri: str, night: str) -> str:
    """Copy one landing file to its immutable place; returns the arrival's URI."""
    from pipelines import deliveries

    stores = _stores("ingest")
    bucket, key = stores.resolve(landing_uri)
    arrival_key, _ = deliveries.receive(bucket, key, night=night, intake=config.load().intake)
    return bucket.uri(arrival_key)


def validate(arrival_uri: str) -> str:
    """Validate an arrived delivery; returns the validation's URI.

    Raises
    ------
    DeliveryHeldError
        If the delivery is held back as a whole; that is recorded first.
    """
    from pipelines import deliveries, judge, validation

    stores = _stores("ingest")
    reviews, key = stores.resolve(arrival_uri)
    arrival, delivery = deliveries.read_arrival(reviews, key)
    outcome = deliveries.find_outcome(reviews, delivery.sha256)
    if outcome is not None:
        found_key = outcome.validation_key
    else:
        found_key, found = validation.validate(
            reviews, delivery, config.load(), before=arrival.night,
            judge=judge.find(_registry(stores)), learned=_learned_by_the_champion(stores),
        )  # fmt: skip
        if found.verdict == "HELD":
            outcome = deliveries.conclude(reviews, arrival, delivery, found, found_key)
    if outcome is not None and outcome.verdict == "HELD":
        receipt = deliveries.give_receipt(reviews, arrival, outcome)
        if receipt.verdict == "HELD":
            raise DeliveryHeldError(
                landing_key=arrival.landing_key,
                delivery=delivery.sha256,
                why=outcome.why,
                report_uri=reviews.uri(keys.report_key(found_key)),
            )
    return reviews.uri(found_key)


def accept(arrival_uri: str, validation_uri: str) -> str:
    """Enter the validated delivery in the ledger; returns the outcome's URI."""
    from pipelines import deliveries
    from pipelines.records import Validation

    stores = _stores("ingest")
    reviews, key = stores.resolve(arrival_uri)
    _, validation_key = stores.resolve(validation_uri)
    arrival, delivery = deliveries.read_arrival(reviews, key)
    outcome = deliveries.find_outcome(reviews, delivery.sha256)
    if outcome is None:
        found = reviews.get_record(validation_key, Validation)
        outcome = deliveries.conclude(reviews, arrival, delivery, found, validation_key)
    deliveries.give_receipt(reviews, arrival, outcome)
    return reviews.uri(keys.outcome_key(delivery.sha256))


def summarize_night(night: str) -> dict[str, Any]:
    """What the night brought, as counts that add up."""
    from pipelines import rhythm

    summary = rhythm.night_summary(_stores("ingest").reviews, night, config.load().sources)
    counts = summary.model_dump(mode="json", exclude={"receipts"})
    logger.info(" ".join(f"{name}={value}" for name, value in counts.items()))
    if summary.status == "NO_NEW_DATA":
        logger.info(
            "No new reviews for %s: nothing is accepted and nothing will be trained.", night
        )
    _warn_of_untold()
    return counts


def _warn_of_untold() -> None:
    from pipelines import alert_ledger

    try:
        alert_ledger.warn_of_untold(alert_ledger.open_teller(config.load(), os.environ))
    except Exception as error:  # noqa: BLE001 - a summary must not fail by it
        logger.warning("whether alerts are untold is not known: %s", sentence(error))


def has_new_reviews(summary: dict[str, Any]) -> bool:
    """Whether the night is worth telling the retraining about."""
    return int(summary["accepted_rows"]) > 0


def check_night(night: str, landing_uris: Sequence[str]) -> str:
    """Turn the run red when a delivery of the night is held or unfinished, and say which.

    Raises
    ------
    NightIncompleteError
        If one that was due has no receipt: its task failed before anything was concluded. Or if a
        receipt cannot be read.
    NightHeldError
        If any delivery of the night is held, and nobody replayed it since. Everything else of the
        night counts already.
    MissingDeliveryError
        If all that came is fine, but a source is overdue.
    SetAsideError
        If there is nothing but files that no night will take up unless somebody does something.
    """
    from pipelines import rhythm

    stores = _stores("ingest")
    summary = rhythm.night_summary(stores.reviews, night, config.load().sources)
    aside = "; ".join(f"{one.landing_key}: {one.why}" for one in summary.for_people[:5])
    missing = "; ".join([*(rhythm.sentence(one) for one in summary.missing), aside]).strip("; ")
    dealt_with = {stores.reviews.uri(receipt.landing_key) for receipt in summary.receipts}
    unfinished = [uri for uri in landing_uris if uri not in dealt_with]
    if unfinished:
        raise NightIncompleteError(
            f"{len(unfinished)} of {len(landing_uris)} deliveries due on {night} came to no "
            f"conclusion: {unfinished[:5]}. Nothing of them counts, nothing is lost, and they are "
            "due again. Their own tasks say what failed: docs/runbooks/ingest-incomplete.md"
        )
    if summary.unreadable:
        raise NightIncompleteError(
            f"{len(summary.unreadable)} receipts of {night} cannot be read, so what became of "
            f"their files is not known: {list(summary.unreadable[:5])}. They are not counted. "
            "What to do: docs/runbooks/ingest-incomplete.md"
        )
    held = [receipt for receipt in summary.receipts if _is_still_held(stores.reviews, receipt)]
    if held:
        named = "; ".join(f"{receipt.landing_key!r}: {receipt.why}" for receipt in held[:5])
        raise NightHeldError(
            f"{len(held)} of {summary.deliveries} deliveries of {night} are held, the others "
            f"count ({summary.accepted_rows:,} rows accepted). {named} "
            f"What to do: docs/runbooks/held-delivery.md {missing}"
        )
    if summary.missing:
        raise MissingDeliveryError(
            f"night {night}: {missing}. All that did come is dealt with. "
            "What to do: docs/runbooks/missing-delivery.md"
        )
    if aside:
        raise SetAsideError(
            f"night {night}: all that is due is dealt with. {aside} "
            "What to do: docs/runbooks/set-aside-delivery.md"
        )
    return summary.status


def _is_still_held(reviews: Bucket, receipt: Receipt) -> bool:
    """Whether nobody replayed it; what cannot be read is held, so that the others are named."""
    from pipelines import standings

    if receipt.verdict != "HELD":
        return False
    try:
        standing = standings.find(reviews, receipt.delivery)
    except Exception as error:
        if not concerns_one_record(error):
            raise
        logger.warning("delivery=%s is taken as held: %s", receipt.delivery, sentence(error))
        return True
    return standing is not None and standing.verdict == "HELD"


# ── sentiment_retrain ────────────────────────────────────────────────────────────────────────


def take_snapshot() -> str:
    """Pin the accepted reviews of this moment; returns the snapshot's URI."""
    from pipelines import snapshot

    stores = _stores()
    pinned = snapshot.take(
        stores.reviews, config.load().split, before=_learned_by_the_champion(stores)
    )
    return stores.reviews.uri(pinned.object_key)


def plan(snapshot_uri: str, candidates: Sequence[str] = (), seed: int | None = None) -> str:
    """Fix everything that decides the model's bytes; returns the plan's URI."""
    from pipelines import training
    from pipelines.records import Snapshot

    stores = _stores()
    settings = config.load()
    if candidates:
        settings = config.with_candidates(settings, tuple(candidates))
    if seed is not None:
        settings = config.with_seed(settings, seed)
    reviews, key = stores.resolve(snapshot_uri)
    made = training.make_plan(reviews.get_record(key, Snapshot), settings)
    return stores.models.uri(_registry(stores).add_plan(made))


def has_work(plan_uri: str) -> bool:
    """False when this very version was already decided on against this very champion."""
    from pipelines import promotion, provenance

    stores = _stores()
    made, registry = _read_plan(stores, plan_uri)
    champion = registry.champion()
    if champion is not None and champion.version == made.version:
        logger.info("Nothing changed: version %s is the champion already.", made.version)
        return False
    if (entry := registry.withdrawn().get(made.version)) is not None:
        logger.info(
            "Nothing to do: version %s was rolled back at %s (%s) and not released since.",
            made.version, entry.at, entry.reason,
        )  # fmt: skip
        return False
    decision = registry.find_decision(
        made.version,
        champion.generation if champion else 0,
        provenance.gate_policy(config.load()),
    )
    if decision is None or promotion.is_open(registry, decision):
        return True
    logger.info(
        "Nothing changed: version %s was decided on before: %s. %s",
        made.version, decision.verdict, decision.why,
    )  # fmt: skip
    return False


def featurize(plan_uri: str) -> dict[str, int]:
    """Compute the fingerprints that are not cached yet; returns how many were."""
    from pipelines import candidates, features, models, snapshot

    stores = _stores()
    made, _ = _read_plan(stores, plan_uri)
    candidates.check_configured(made, config.load())
    built = [candidates.build(made, name) for name in made.candidates]
    pinned = snapshot.pinned(stores.reviews, made)
    wanted = {models.fingerprint_parameters(one) for one in built if models.reads_fingerprints(one)}
    cached = computed = 0
    for ngram_max, bits in sorted(wanted):
        use = features.fill_cache(stores.reviews, pinned, ngram_max=ngram_max, bits=bits)
        cached, computed = cached + use.cached, computed + use.computed
    return asdict(features.CacheUse(cached=cached, computed=computed))


def train(plan_uri: str, on_step: Callable[[str], None] | None = None) -> str:
    """Fit the plan's candidates and store the best as a version; returns the manifest's URI."""
    from pipelines import training

    stores = _stores()
    made, registry = _read_plan(stores, plan_uri)
    manifest = training.train(
        stores.reviews, registry, made, config.load(), on_step=on_step or logger.info
    )
    return stores.models.uri(manifest.object_key)


def evaluate(manifest_uri: str) -> str:
    """Score a version and the champion on the same rows; returns the evaluation's URI."""
    from pipelines import evaluation, provenance

    stores = _stores()
    models, key = stores.resolve(manifest_uri)
    registry = _registry(stores)
    manifest = registry.manifest(key.split("/")[-2])  # <name>/versions/<version>/manifest.json
    settings = config.load()
    found = evaluation.evaluate(
        stores.reviews, registry, manifest, settings, provenance.gate_policy(settings)
    )
    return models.uri(found.object_key)


def verify(evaluation_uri: str) -> str:
    """Try the model file in a clean process; returns the evaluation's URI again."""
    from pipelines import verification

    stores = _stores()
    _, key = stores.resolve(evaluation_uri)
    registry = _registry(stores)
    verification.verify(stores.reviews, registry, registry.evaluation(key), config.load())
    return evaluation_uri


def decide(evaluation_uri: str) -> str:
    """Gate a version; returns the decision's URI. A failing verdict is a result, too.

    Raises
    ------
    StalePlanError
        If the rules changed since the evaluation.
    """
    from pipelines import gate, provenance

    stores = _stores()
    models, key = stores.resolve(evaluation_uri)
    registry = _registry(stores)
    evaluation = registry.evaluation(key)
    settings = config.load()
    if evaluation.policy != provenance.gate_policy(settings):
        raise StalePlanError(
            f"version {evaluation.version} was evaluated under other rules than those in force: "
            "settings, code or libraries changed since. Evaluate it again: clear `evaluate`, or "
            "python -m pipelines retrain"
        )
    check = registry.find_check(evaluation)
    decision = registry.add_decision(gate.decide(evaluation, settings.gate, check))
    for rule in decision.rules:
        logger.info("%s %s: %s", "ok  " if rule.is_passed else "FAIL", rule.rule, rule.sentence)
    logger.info("Verdict %s: %s", decision.verdict, decision.why)
    return models.uri(decision.object_key)


def write_card(decision_uri: str) -> str:
    """Draw the model card and its plots beside a decision; returns the card's URI.

    Repeating it changes nothing.
    """
    from pipelines import card

    stores = _stores()
    models, key = stores.resolve(decision_uri)
    return models.uri(card.write(stores.reviews, _registry(stores), key))


def next_step(decision_uri: str, *, is_dry_run: bool) -> NextStep:
    """What follows a decision: promote, ask a person, or keep the champion."""
    from pipelines import promotion

    stores = _stores()
    decision, registry = read_decision(decision_uri), _registry(stores)
    if is_dry_run or not promotion.is_open(registry, decision):
        logger.info("The champion stays: %s. %s", decision.verdict, decision.why)
        return "keep_champion"
    return "promote" if promotion.is_allowed(registry, decision) else "ask"


def describe_decision(decision_uri: str) -> str:
    """What a person is asked about a decision, as Markdown."""
    from pipelines import question

    hours = config.load().approval.timeout_hours
    return question.describe(read_decision(decision_uri), timeout_hours=hours)


def record_reply(decision_uri: str, reply: Reply | None) -> bool:
    """Keep what a person replied in Airflow; returns whether the version may be promoted.

    Parameters
    ----------
    decision_uri : str
        The decision that somebody was asked about.
    reply : Reply, optional
        None when nobody replied in time. That is no answer: nothing is kept.

    Raises
    ------
    PromotionError
        If the reply is about another decision, or `record_answer` refuses it.
    """
    from pipelines import promotion

    if reply is not None:
        if reply["decision_uri"] != decision_uri:
            raise PromotionError(
                f"{reply['actor']} was asked about {reply['decision_uri']}, and the decision now "
                f"is {decision_uri}: the answer is void. Start a new run of sentiment_retrain"
            )
        return record_answer(**reply) == "approve"
    decision, registry = read_decision(decision_uri), _registry(_stores())
    if promotion.is_allowed(registry, decision):
        logger.info("Version %s was approved elsewhere meanwhile.", decision.version)
        return True
    logger.warning(
        "Nobody approved version %s in time: the champion stays. Run sentiment_retrain again to "
        "be asked again, or: python -m pipelines decision approve %s --reason ...",
        decision.version, decision.version,
    )  # fmt: skip
    return False


def record_answer(decision_uri: str, answer: Answer, actor: str, reason: str) -> Answer:
    """Keep what a person says of a version that needs approval; returns the answer that stands.

    Raises
    ------
    PromotionError
        If the decision asks for no approval, or there is no reason.
    """
    from pipelines import promotion

    stores = _stores()
    _, key = stores.resolve(decision_uri)
    registry = _registry(stores)
    approval = promotion.answer(registry, key, answer, actor=actor, reason=reason)
    logger.info("version=%s answer=%s actor=%s", approval.version, approval.answer, approval.actor)
    if approval.answer != answer:
        logger.warning(
            "The first answer stands: %s said %s (%s), so %s by %s changes nothing.",
            approval.actor, approval.answer, approval.reason, answer, actor,
        )  # fmt: skip
    return approval.answer


def promote(decision_uri: str, actor: str, reason: str = "") -> str | None:
    """Make the decided version champion; returns the log entry's URI.

    If another version was promoted meanwhile, this one is evaluated and decided on again, against
    the new champion; None when it no longer is good enough. An approval is of one decision: it is
    void then, and a person must be asked again.

    Raises
    ------
    ChampionMovedError
        If that happens `MAX_REDECISIONS` times in a row.
    """
    from pipelines import promotion, provenance

    stores = _stores()
    registry, policy = _registry(stores), provenance.gate_policy(config.load())
    for _ in range(MAX_REDECISIONS):
        decision = read_decision(decision_uri)
        if not promotion.is_allowed(registry, decision):
            _log_not_promoted(decision)
            return None
        try:
            entry = promotion.promote(registry, decision, policy=policy, actor=actor, reason=reason)
        except ChampionMovedError as error:
            logger.warning("%s", error)
            if decision.approval == "needed":
                logger.warning("The approval of version %s is void.", decision.version)
            lost = error
            manifest_uri = stores.models.uri(registry.manifest_key(decision.version))
            decision_uri = decide(verify(evaluate(manifest_uri)))
            with contextlib.suppress(Exception):  # a card speaks of a decision and stops none
                write_card(decision_uri)
        else:
            return stores.models.uri(registry.log_key(entry.generation))
    raise lost


def _log_not_promoted(decision: Decision) -> None:
    logger.warning(
        "Not promoted: version %s against champion generation %d is %s, a person's approval is %s. "
        "%s", decision.version, decision.champion_generation, decision.verdict,
        decision.approval.replace("_", " "), decision.why,
    )  # fmt: skip
    if decision.approval == "needed":
        logger.warning("Nobody approved this decision. Run sentiment_retrain again to be asked.")


def confirm(entry_uri: str | None) -> int:
    """Check that consumers get the approved model; returns the number of compared answers.

    If they do not, the champion before is put back at once.

    Raises
    ------
    ConfirmationError
        If a consumer would get another model than the approved one; it says what was put back.
    """
    if entry_uri is None:
        logger.info("Nothing was promoted, so there is nothing to confirm.")
        return 0
    from pipelines import rollback, serving

    stores = _stores()
    _, key = stores.resolve(entry_uri)
    registry = _registry(stores)
    generation = int(key.rpartition("/")[2].removesuffix(".json"))
    try:
        return serving.confirm(stores.reviews, registry, generation, config.load())
    except Exception as error:
        # What this machine or the whole store is at fault for says nothing of the champion.
        if isinstance(error, OSError | MemoryError) or not concerns_one_record(error):
            raise
        why = sentence(error)
        back = rollback.undo(registry, generation, reason=f"confirm: {why}"[:500])
        raise ConfirmationError(generation=generation, why=why, put_back=back) from error


# ── sentiment_rollback ───────────────────────────────────────────────────────────────────────


def plan_rollback(to: str, reason: str) -> str:
    """Find the former champion to go back to, and prove it loads; returns the plan's URI."""
    from pipelines import rollback

    stores = _stores()
    key, made = rollback.make_plan(_registry(stores), to, reason=reason)
    logger.info(
        "Rollback of generation %d (%s) to version %s, because: %s",
        made.champion_generation, made.champion_version, made.target_version, made.reason,
    )  # fmt: skip
    return stores.models.uri(key)


def apply_rollback(plan_uri: str, actor: str) -> str:
    """Put the older version back; returns the log entry's URI. Repeating it changes nothing."""
    from pipelines import rollback
    from pipelines.records import RollbackPlan

    stores = _stores()
    models, key = stores.resolve(plan_uri)
    registry = _registry(stores)
    entry = rollback.apply_plan(registry, models.get_record(key, RollbackPlan), actor=actor)
    return models.uri(registry.log_key(entry.generation))


# ── Shared ───────────────────────────────────────────────────────────────────────────────────


def read_decision(decision_uri: str) -> Decision:
    stores = _stores()
    _, key = stores.resolve(decision_uri)
    return _registry(stores).decision(key)


def _stores(role: Role = "retrain") -> Stores:
    from pipelines.store import open_stores

    return open_stores(config.load().store, role)


def _registry(stores: Stores) -> Registry:
    from pipelines.registry import Registry

    return Registry(stores.models, config.load().model.name)


def _learned_by_the_champion(stores: Stores) -> Snapshot | None:
    """What the champion was trained on; None when there is no champion."""
    from pipelines import snapshot

    registry = _registry(stores)
    champion = registry.champion()
    if champion is None:
        return None
    return snapshot.pinned(stores.reviews, registry.champion_manifest(champion).plan)


def _read_plan(stores: Stores, plan_uri: str) -> tuple[Plan, Registry]:
    registry = _registry(stores)
    _, key = stores.resolve(plan_uri)
    return registry.plan(key), registry
