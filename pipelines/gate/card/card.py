"""The model card of a decided version and its plots, as files in the decision's folder.

It is drawn from records alone, so the same records give the same bytes. The signed decision counts;
the card repeats it for people. The records hold no text of a review, so the card does not either.
"""

from __future__ import annotations

import logging

from pipelines.core import templating
from pipelines.core.errors import DigestMismatchError, ObjectMissingError, TrustError
from pipelines.core.keys import sibling
from pipelines.core.record import sha256_of
from pipelines.core.store.bucket import Bucket
from pipelines.gate.card import history_plot, plots, sentences, tables
from pipelines.gate.card.sentences import Evidence, Signers
from pipelines.intake.ledger import all_outcomes
from pipelines.intake.snapshot import pinned
from pipelines.records.data import Snapshot
from pipelines.records.decisions import CardFiles, Decision
from pipelines.records.deliveries import Outcome
from pipelines.registry.registry import Registry

logger = logging.getLogger(__name__)

CARD = "card.md"
FILES = ("calibration.svg", "slices.svg", "history.svg", CARD)  # the card last: it shows the others
_MOST_BYTES = 8 * 1024 * 1024


def render(evidence: Evidence) -> str:
    """The card as Markdown. Every filled-in value is escaped."""
    return _CARD.render(
        decision=evidence.decision,
        manifest=evidence.manifest,
        purpose=sentences.purpose(evidence.manifest),
        class_count=len(evidence.evaluation.names),
        standing=sentences.standing(evidence),
        deciding=sentences.deciding(evidence.decision),
        passed_sentence=sentences.passed_sentence(evidence.decision),
        limits=sentences.limits(evidence),
        data_sentence=sentences.data_sentence(evidence.snapshot),
        split_sentence=sentences.split_sentence(evidence),
        deliveries=tables.deliveries(evidence),
        deliveries_sentence=sentences.deliveries_sentence(evidence),
        model=tables.model(evidence),
        scores=tables.scores(evidence),
        changes=tables.changes(evidence),
        confusion=tables.confusion(evidence),
        slices=tables.slices(evidence),
        behaviour=tables.behaviour(evidence),
        rules=tables.rules(evidence.decision),
        hashes=tables.hashes(evidence),
    )


_CARD = templating.markdown(
    "pipelines.gate.card", trim_blocks=True, keep_trailing_newline=True
).get_template("card.md.jinja")


def draw(evidence: Evidence) -> dict[str, bytes]:
    """The card and its plots: file name to bytes."""
    evaluation = evidence.evaluation
    texts = {
        "calibration.svg": plots.calibration(evaluation),
        "slices.svg": plots.slices(evaluation, evidence.decision),
        "history.svg": history_plot.history(evaluation, evidence.history),
        CARD: render(evidence),
    }
    return {name: texts[name].encode("utf-8") for name in FILES}


def gather(reviews: Bucket, registry: Registry, decision_key: str) -> Evidence:
    """Everything a card is drawn from, after checking that it is what the decision names.

    Raises
    ------
    TrustError
        If the manifest, the evaluation or the snapshot was changed since.
    """
    decision = registry.decisions.decision(decision_key)
    manifest = registry.versions.manifest(decision.version)
    snapshot = pinned(reviews, manifest.plan)
    evaluation, before = registry.decisions.evaluation_of(decision), decision.champion_generation
    return Evidence(
        decision=decision,
        evaluation=evaluation,
        manifest=manifest,
        snapshot=snapshot,
        outcomes=_outcomes(reviews, snapshot),
        history=tuple(entry for entry in registry.log.history() if entry.generation <= before),
        check=registry.decisions.find_check(evaluation),
        signers=Signers(
            manifest=registry.models.signed_by(manifest.object_key),
            decision=registry.models.signed_by(decision_key),
        ),
    )


def _outcomes(reviews: Bucket, snapshot: Snapshot) -> tuple[Outcome, ...]:
    pinned = {part.key for part in snapshot.partitions}
    return tuple(
        outcome
        for outcome in all_outcomes(reviews)
        if any(part.key in pinned for part in outcome.accepted_parts)
    )


def write(reviews: Bucket, registry: Registry, decision_key: str) -> str:
    """Store the card and its plots, then the signed record that names their bytes.

    A recorded card stands: files of it that were lost or changed are drawn again.
    Returns the card's key.

    Raises
    ------
    DigestMismatchError
        If a file of a recorded card was changed, and this release would draw it differently.
    """
    decision = registry.decisions.decision(decision_key)
    card = registry.decisions.find_card(decision)
    to_write = FILES if card is None else _spoiled(registry.models, decision, card)
    drawn = draw(gather(reviews, registry, decision_key)) if to_write else {}
    for name in to_write:
        if card is not None:
            _check_file(registry.models, decision, card, name, drawn[name])
        registry.models.put(sibling(decision_key, name), drawn[name])
    if card is None:
        registry.decisions.add_card(_files(decision, drawn))
    logger.info("card=%s", sibling(decision_key, CARD))
    return sibling(decision_key, CARD)


def _spoiled(models: Bucket, decision: Decision, card: CardFiles) -> list[str]:
    """The files of a recorded card that are gone or changed."""

    def is_whole(name: str) -> bool:
        try:
            _read_file(models, decision, card, name)
        except (ObjectMissingError, TrustError) as error:
            logger.warning("card=%s is drawn again: %s", decision.object_key, error)
            return False
        return True

    return [name for name in FILES if not is_whole(name)]


def _files(decision: Decision, drawn: dict[str, bytes]) -> CardFiles:
    return CardFiles(
        model_name=decision.model_name,
        version=decision.version,
        champion_generation=decision.champion_generation,
        policy=decision.policy,
        decision_sha256=decision.digest(),
        files={name: sha256_of(data) for name, data in drawn.items()},
    )


def read(reviews: Bucket, registry: Registry, decision: Decision) -> dict[str, bytes]:
    """The files of a decision's card as they were recorded; drawn now if they never were.

    Raises
    ------
    DigestMismatchError
        If a file was changed since. A person may be about to approve what it shows.
    """
    card = registry.decisions.find_card(decision)
    if card is None:
        return draw(gather(reviews, registry, decision.object_key))
    return {name: _read_file(registry.models, decision, card, name) for name in FILES}


def _read_file(models: Bucket, decision: Decision, card: CardFiles, name: str) -> bytes:
    key = sibling(decision.object_key, name)
    data = models.get(key, max_bytes=_MOST_BYTES)
    _check_file(models, decision, card, name, data)
    return data


def _check_file(
    models: Bucket, decision: Decision, card: CardFiles, name: str, data: bytes
) -> None:
    actual, expected = sha256_of(data), card.files.get(name, "no such file")
    if actual != expected:
        uri = models.uri(sibling(decision.object_key, name))
        raise DigestMismatchError(uri=uri, expected=expected, found=actual)
