"""The model card of a decided version and its plots, as files beside the decision.

Drawn from records alone, so the same records give the same bytes. The signed decision counts; the
card repeats it for people. No review's text is in any of the records, so none is in a card.
"""

from __future__ import annotations

import logging

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines import card_tables, card_words, plots
from pipelines.card_words import Evidence
from pipelines.deliveries import all_outcomes
from pipelines.errors import AlreadyExistsError, DigestMismatchError, ObjectMissingError
from pipelines.judgement import Decision, Evaluation
from pipelines.markdown import escaped
from pipelines.records import Outcome, Record, Snapshot
from pipelines.registry import Registry
from pipelines.store import Bucket

logger = logging.getLogger(__name__)

CARD = "card.md"
FILES = ("calibration.svg", "slices.svg", "history.svg", CARD)  # the card last: it shows the others
_MOST_BYTES = 8 * 1024 * 1024


def render(evidence: Evidence) -> str:
    """The card as Markdown. Whatever is filled in is escaped."""
    return _CARD.render(
        decision=evidence.decision,
        manifest=evidence.manifest,
        standing=card_words.standing(evidence),
        limits=card_words.limits(evidence),
        data_sentence=card_words.data_sentence(evidence.snapshot),
        split_sentence=card_words.split_sentence(evidence),
        deliveries=card_tables.deliveries(evidence),
        deliveries_sentence=card_words.deliveries_sentence(evidence),
        model=card_tables.model(evidence),
        scores=card_tables.scores(evidence),
        changes=card_tables.changes(evidence),
        confusion=card_tables.confusion(evidence),
        slices=card_tables.slices(evidence),
        behaviour=card_tables.behaviour(evidence),
        rules=card_tables.rules(evidence.decision),
        hashes=card_tables.hashes(evidence),
    )


_CARD = Environment(
    loader=PackageLoader("pipelines"), undefined=StrictUndefined, finalize=escaped,
    autoescape=False,  # noqa: S701 - it would escape for HTML; `finalize` escapes for Markdown
    trim_blocks=True, keep_trailing_newline=True,
).get_template("card.md.jinja")  # fmt: skip


def draw(evidence: Evidence) -> dict[str, bytes]:
    """The card and its plots: file name to bytes."""
    evaluation = evidence.evaluation
    texts = {
        "calibration.svg": plots.calibration(evaluation),
        "slices.svg": plots.slices(evaluation, evidence.decision),
        "history.svg": plots.history(evaluation, evidence.history),
        CARD: render(evidence),
    }
    return {name: texts[name].encode("utf-8") for name in FILES}


def gather(reviews: Bucket, registry: Registry, decision_key: str) -> Evidence:
    """Everything a card is drawn from, after checking that it is what the decision names.

    Raises
    ------
    DigestMismatchError
        If the manifest, the evaluation or the snapshot was changed since.
    """
    decision = registry.decision(decision_key)
    manifest = registry.manifest(decision.version)
    evaluation = registry.models.get_record(decision.evaluation_key, Evaluation)
    snapshot = reviews.get_record(manifest.plan.snapshot_key, Snapshot)
    manifest_uri = registry.models.uri(registry.manifest_key(decision.version))
    _check(manifest, decision.manifest_sha256, manifest_uri)
    _check(evaluation, decision.evaluation_sha256, registry.models.uri(decision.evaluation_key))
    _check(snapshot, manifest.plan.snapshot, reviews.uri(manifest.plan.snapshot_key))
    before = decision.champion_generation
    return Evidence(
        decision=decision,
        evaluation=evaluation,
        manifest=manifest,
        snapshot=snapshot,
        outcomes=_outcomes(reviews, snapshot),
        history=tuple(entry for entry in registry.history() if entry.generation <= before),
        check=registry.find_check(evaluation),
    )


def _check(record: Record, expected: str, uri: str) -> None:
    if record.digest() != expected:
        raise DigestMismatchError(uri=uri, expected=expected, found=record.digest())


def _outcomes(reviews: Bucket, snapshot: Snapshot) -> tuple[Outcome, ...]:
    pinned = {part.key for part in snapshot.partitions}
    return tuple(
        outcome
        for outcome in all_outcomes(reviews)
        if outcome.accepted is not None and outcome.accepted.key in pinned
    )


def file_key(decision_key: str, name: str) -> str:
    """Where a file of the card is kept: beside the decision."""
    return f"{decision_key.rpartition('/')[0]}/{name}"


def write(reviews: Bucket, registry: Registry, decision_key: str) -> str:
    """Store the card and its plots; what is there already stands. Returns the card's key."""
    for name, data in draw(gather(reviews, registry, decision_key)).items():
        key = file_key(decision_key, name)
        try:
            registry.models.put_once(key, data)
        except AlreadyExistsError:
            logger.warning(
                "card=%s stands, though this release would draw it otherwise: it was drawn by "
                "another release or changed by hand", key,
            )  # fmt: skip
    logger.info("card=%s", file_key(decision_key, CARD))
    return file_key(decision_key, CARD)


def read(reviews: Bucket, registry: Registry, decision: Decision) -> dict[str, bytes]:
    """The files of a decision's card as they were stored; drawn now where they are missing."""
    decision_key = registry.decision_key(decision)
    try:
        return {
            name: registry.models.get(file_key(decision_key, name), max_bytes=_MOST_BYTES)
            for name in FILES
        }
    except ObjectMissingError:
        return draw(gather(reviews, registry, decision_key))
