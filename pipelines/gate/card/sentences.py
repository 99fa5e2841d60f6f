"""The sentences of a model card, each a pure function of the records that it is drawn from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.core.escaping import Markdown, code, escaped
from pipelines.records.data import Snapshot
from pipelines.records.decisions import Decision, GateRule
from pipelines.records.deliveries import Outcome
from pipelines.records.evaluations import (
    ArtefactCheck,
    BehaviourScores,
    CapabilityScore,
    Evaluation,
)
from pipelines.records.succession import LogEntry
from pipelines.records.versions import Manifest

_BAGS_OF_NGRAMS = "pipelines.models.factories:"  # so every factory of that module must be one


@dataclass(frozen=True)
class Judged:
    """A decision, and the evaluation that it was made on."""

    decision: Decision
    evaluation: Evaluation


@dataclass(frozen=True)
class Signers:
    """The public keys that signed the records that count."""

    manifest: str
    decision: str


@dataclass(frozen=True)
class Evidence(Judged):
    """All records that a card is drawn from.

    ``outcomes`` are the ledger's entries on the snapshot's partitions; ``history`` is the champion
    log up to the generation that was decided against, oldest first.
    """

    manifest: Manifest
    snapshot: Snapshot
    outcomes: tuple[Outcome, ...]
    history: tuple[LogEntry, ...]
    check: ArtefactCheck | None
    signers: Signers


# Standing and limits


def standing(evidence: Judged) -> Iterator[Markdown]:
    """What it was compared with, and what may follow, one sentence each."""
    decision = evidence.decision
    if decision.champion_version is None:
        yield Markdown("There was no champion to compare it with: generation 0.")
    else:
        yield Markdown(
            f"It was compared with the champion {code(decision.champion_version)} of generation "
            f"{decision.champion_generation}, and with the pinned reference "
            f"{code(decision.reference_version)}"
            + (", the same one." if _is_one_and_the_same(decision) else ".")
        )
    yield Markdown(_APPROVALS[decision.approval])
    if decision.becomes_reference and decision.approval != "impossible":
        yield Markdown("As champion it is also the new reference for later challengers.")


_APPROVALS = {
    "not_needed": "The verdict does not need a person's approval.",
    "needed": "A person has to approve it before it can be used.",
    "impossible": "It cannot be used, and nobody can approve it.",
}


def deciding(decision: Decision) -> tuple[GateRule, ...]:
    """The rules that decided: those that failed, a floor first, or else whether it is a gain."""
    broken = [rule for rule in decision.rules if not rule.is_passed and rule.group != "gain"]
    if broken:
        return tuple(sorted(broken, key=lambda rule: rule.group != "floor"))
    return tuple(rule for rule in decision.rules if rule.group == "gain")


def passed_sentence(decision: Decision) -> str:
    """How many of the other rules passed, for a line above or below those that decided."""
    decided = {rule.rule for rule in deciding(decision)}
    count = sum(rule.is_passed for rule in decision.rules if rule.rule not in decided)
    return "1 other rule passed." if count == 1 else f"{count:,} other rules passed."


def others(decision: Decision) -> tuple[str, ...]:
    """What it is compared with: each version once."""
    if decision.champion_version is None:
        return ()
    return ("champion",) if _is_one_and_the_same(decision) else ("champion", "reference")


def _is_one_and_the_same(decision: Decision) -> bool:
    return decision.reference_version == decision.champion_version


def limits(evidence: Evidence) -> Iterator[Markdown]:
    """Its known limits, one sentence each."""
    yield _kind_limit(evidence.manifest)
    yield from _behaviour_limits(evidence.evaluation.behaviour)
    scored = [
        (part.challenger_accuracy, part)
        for part in evidence.evaluation.slices
        if part.challenger_accuracy is not None
    ]
    if scored:
        accuracy, weakest = min(scored, key=lambda line: line[0])
        yield Markdown(
            f"It is weakest on {code(weakest.name)}: {accuracy:.2%} of {weakest.rows:,} reviews "
            "right."
        )


def _kind_limit(manifest: Manifest) -> Markdown:
    chosen = manifest.plan.candidates[manifest.candidate]
    factory, parameters = str(chosen.get("factory", "")), chosen.get("parameters", {})
    if not factory.startswith(_BAGS_OF_NGRAMS):
        return Markdown(f"The limits of {code(factory or manifest.candidate)} are not known here.")
    longest = parameters.get("ngram_max")
    runs = f"runs of up to {longest} words or marks" if longest else "words"
    return Markdown(
        f"It is a bag of n-grams: it weighs {escaped(runs)} and does not read sentences. It misses "
        "irony, comparisons and references to earlier sentences."
    )


def _behaviour_limits(behaviour: BehaviourScores | None) -> Iterator[Markdown]:
    if behaviour is None or not behaviour.capabilities:
        yield Markdown("Its behaviour was not tested: an answer was not a number.")
        return
    failing = [score for score in behaviour.capabilities if score.failures]
    for score in sorted(failing, key=lambda score: (-score.failure_share, score.capability)):
        yield Markdown(
            f"It gets {score.failures} of {score.cases} cases of {code(score.capability)} wrong "
            f"({kind_of(score)})."
        )
    if not failing:
        cases = sum(score.cases for score in behaviour.capabilities)
        yield Markdown(f"It passed all {cases} cases of the behavioural suite, a small sample.")


def kind_of(capability: CapabilityScore) -> str:
    return capability.kind.replace("_", " ")


# What it is for


def purpose(manifest: Manifest) -> Markdown:
    """What its probabilities are of."""
    classes = manifest.plan.classes
    if not classes:
        return Markdown("It estimates the probability that an English film review is positive.")
    named = ", ".join(f"{code(one.name)} ({one.low} to {one.high})" for one in classes)
    return Markdown(
        f"It estimates how probable it is that the author of an English film review gave stars of "
        f"each class: {named}."
    )


# Data


def data_sentence(snapshot: Snapshot) -> str:
    nights = [part.night for part in snapshot.partitions]
    return (
        f"{snapshot.rows:,} accepted reviews, delivered for the nights from {min(nights)} to "
        f"{max(nights)}. Partitions: {len(nights):,}."
    )


def split_sentence(evidence: Evidence) -> str:
    manifest, evaluation = evidence.manifest, evidence.evaluation
    return (
        f"{manifest.training_rows:,} were trained on, {manifest.holdout_rows:,} are held out by "
        f"film, and {manifest.duplicate_rows:,} repeat another review and do not count. Of those "
        f"held out, {evaluation.overlap_rows:,} are not scored because they are nearly the same "
        f"as a training review, and {evaluation.seen_rows:,} because an older model in the "
        "comparison was trained on them."
        + (
            f" Without stars of a class, and left out: {manifest.classless_rows:,}."
            if manifest.classless_rows
            else ""
        )
    )


def deliveries_sentence(evidence: Evidence) -> str:
    delivered = sum(outcome.delivered_rows for outcome in evidence.outcomes)
    quarantined = sum(outcome.quarantined_rows for outcome in evidence.outcomes)
    share = f" ({quarantined / delivered:.2%})" if delivered else ""
    accepted_keys = {part.key for outcome in evidence.outcomes for part in outcome.accepted_parts}
    released = sum(part.key not in accepted_keys for part in evidence.snapshot.partitions)
    return (
        f"{quarantined:,} of {delivered:,} delivered rows{share} are in quarantine. Deliveries "
        "that are held as a whole are not included."
        + (f" Partitions of rows that were released later: {released:,}." if released else "")
    )
