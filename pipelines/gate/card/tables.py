"""The tables of a model card, each a pure function of records. `gate.card.card` puts them together.

A number that is missing shows as a dash.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import TypeVar

from pipelines.core.escaping import Markdown, code, table
from pipelines.gate.card.sentences import Evidence, Judged, kind_of, others
from pipelines.records.decisions import Decision
from pipelines.records.deliveries import Outcome
from pipelines.records.evaluations import AnyMetrics, ArtefactCheck, PairedComparison
from pipelines.records.versions import Manifest

MOST_DELIVERIES = 14
NOTHING = "-"

Value = TypeVar("Value")


# Data


def deliveries(evidence: Evidence) -> Markdown:
    """The deliveries behind the snapshot, newest first; the older ones as one sum."""
    outcomes = sorted(evidence.outcomes, key=attrgetter("night", "source", "delivery"))[::-1]
    newest, older = outcomes[:MOST_DELIVERIES], outcomes[MOST_DELIVERIES:]
    rows: list[Sequence[object]] = [
        (outcome.night, code(outcome.source), code(outcome.delivery[:16]), *_row_counts([outcome]))
        for outcome in newest
    ]
    if older:
        rows.append(("earlier", NOTHING, f"{len(older):,} deliveries", *_row_counts(older)))
    headers = ("night", "source", "delivery", "delivered", "accepted", "quarantined")
    return table(headers, rows, right=(3, 4, 5))


def _row_counts(outcomes: Sequence[Outcome]) -> tuple[str, str, str]:
    delivered = sum(outcome.delivered_rows for outcome in outcomes)
    accepted = sum(outcome.accepted_rows for outcome in outcomes)
    quarantined = sum(outcome.quarantined_rows for outcome in outcomes)
    return f"{delivered:,}", f"{accepted:,}", f"{quarantined:,}"


# Model


def model(evidence: Evidence) -> Markdown:
    manifest, check = evidence.manifest, evidence.check
    chosen = manifest.plan.candidates[manifest.candidate]
    parameters = [
        f"{name} = {value}" for name, value in sorted(chosen.get("parameters", {}).items())
    ]
    rows: list[tuple[str, object]] = [
        ("candidate", code(manifest.candidate)),
        ("factory", code(chosen.get("factory", NOTHING))),
        ("parameters", _codes(parameters)),
        ("seed", code(manifest.plan.seed)),
        ("features", code(manifest.featurizer or "the text itself")),
        ("chosen from", _selection(manifest)),
        ("model file", f"{manifest.model_size_bytes / 1e6:,.1f} MB"),
        ("processor time of one review, 95th percentile", _scoring_time(check)),
        ("memory of that process", _memory(check)),
    ]
    return table(("", ""), rows)


def _codes(values: Iterable[str]) -> Markdown:
    return Markdown(", ".join(code(value) for value in values) or NOTHING)


def _selection(manifest: Manifest) -> Markdown:
    if len(manifest.plan.candidates) < 2:
        return Markdown("this candidate alone")
    scores = (f"{score.name} (log loss {score.log_loss:.4f})" for score in manifest.selection)
    return _codes(scores)


def _scoring_time(check: ArtefactCheck | None) -> str:
    if check is None or check.scoring_cpu_milliseconds is None:
        return NOTHING
    return f"{check.scoring_cpu_milliseconds:,.1f} ms"


def _memory(check: ArtefactCheck | None) -> str:
    return NOTHING if check is None or not check.peak_bytes else f"{check.peak_bytes / 1e6:,.0f} MB"


# Scores


def scores(evidence: Judged) -> Markdown:
    """Every compared model on every set."""
    evaluation = evidence.evaluation
    recalls = _by_name(evidence, [f"recall {name}" for name in evaluation.names])
    rows: list[Sequence[object]] = []
    for scored in (evaluation.holdout, evaluation.newest, evaluation.golden):
        models = {
            "challenger": scored.challenger,
            "champion": scored.champion,
            "reference": scored.reference,
        }
        rows += [
            (scored.name, f"{scored.rows:,}", who, *_metrics(models[who], evidence))
            for who in ("challenger", *others(evidence.decision))
        ]
    headers = ("set", "reviews", "model", "accuracy", *recalls, "F1",
               "area under curve", "log loss", "calibration error")  # fmt: skip
    return table(headers, rows, right=(1, *range(3, len(headers))))


def _by_name(evidence: Judged, values: Sequence[Value]) -> Sequence[Value]:
    """What there is for each class, as people read it: of two, the positive one first."""
    return values[::-1] if len(evidence.evaluation.names) == 2 else values


def _metrics(metrics: AnyMetrics | None, evidence: Judged) -> tuple[str, ...]:
    if metrics is None:
        return (NOTHING,) * (5 + len(evidence.evaluation.names))
    return (
        f"{metrics.accuracy:.2%}",
        *_by_name(evidence, [f"{recall:.2%}" for recall in metrics.recalls]),
        f"{metrics.f1:.4f}",
        f"{metrics.roc_auc:.4f}",
        f"{metrics.log_loss:.4f}",
        f"{metrics.calibration_error:.2%}",
    )


def changes(evidence: Judged) -> Markdown:
    """The paired comparisons, as far as there are any."""
    evaluation, rows = evidence.evaluation, []
    for scored in (evaluation.holdout, evaluation.newest, evaluation.golden):
        paired = {"champion": scored.against_champion, "reference": scored.against_reference}
        rows += [
            (scored.name, who, *_change(comparison))
            for who in others(evidence.decision)
            if (comparison := paired[who]) is not None
        ]
    if not rows:
        return Markdown("It was not compared with another model.")
    headers = ("set", "against", "accuracy, points", "interval", "log loss", "interval",
               "newly right", "newly wrong", "p")  # fmt: skip
    return table(headers, rows, right=range(2, 9))


def _change(paired: PairedComparison) -> tuple[str, ...]:
    return (
        f"{100 * paired.accuracy_change:+.2f}",
        f"{100 * paired.accuracy_change_low:+.2f} to {100 * paired.accuracy_change_high:+.2f}",
        f"{paired.log_loss_change:+.4f}",
        f"{paired.log_loss_change_low:+.4f} to {paired.log_loss_change_high:+.4f}",
        f"{paired.only_challenger_right:,}",
        f"{paired.only_other_right:,}",
        f"{paired.mcnemar_p_value:.3f}",
    )


def confusion(evidence: Judged) -> Markdown:
    holdout, names = evidence.evaluation.holdout, _by_name(evidence, evidence.evaluation.names)
    models = [("challenger", holdout.challenger), ("champion", holdout.champion)]
    rows: list[Sequence[object]] = []
    for who, metrics in models[: 2 if others(evidence.decision) else 1]:
        for number, name in _by_name(evidence, list(enumerate(evidence.evaluation.names))):
            rows.append((who, name, *_by_name(evidence, _cells(metrics, number, len(names)))))
    headers = ("model", "true label", *(f"predicted {name}" for name in names))
    return table(headers, rows, right=range(2, len(headers)))


def _cells(metrics: AnyMetrics | None, number: int, count: int) -> list[str]:
    """How many reviews of a class got each answer."""
    if metrics is None:
        return [NOTHING] * count
    return [f"{rows:,}" for rows in metrics.confusion[number]]


def slices(evidence: Judged) -> Markdown:
    rows = [
        (
            code(part.name),
            f"{part.rows:,}",
            _share(part.challenger_accuracy),
            _share(part.champion_accuracy),
            *(_change(part.against_champion)[:2] if part.against_champion else (NOTHING,) * 2),
        )
        for part in evidence.evaluation.slices
    ]
    headers = ("slice", "reviews", "challenger", "champion", "change, points", "interval")
    return table(headers, rows, right=range(1, 6))


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2%}"


def behaviour(evidence: Judged) -> Markdown:
    evaluation = evidence.evaluation
    if evaluation.behaviour is None:
        return Markdown("Not tested: an answer was not a number.")
    before = evaluation.champion_behaviour
    champion = {} if before is None else {score.capability: score for score in before.capabilities}
    rows = [
        (
            code(score.capability),
            kind_of(score),
            f"{score.cases:,}",
            f"{score.failures:,}",
            _share(score.max_failure_share),
            f"{old.failures:,}" if (old := champion.get(score.capability)) else NOTHING,
        )
        for score in evaluation.behaviour.capabilities
    ]
    headers = ("capability", "kind", "cases", "failed", "allowed", "failed by the champion")
    return table(headers, rows, right=range(2, 6))


# The gate, and the digests


def rules(decision: Decision) -> Markdown:
    rows = [(rule.answer, rule.group, code(rule.rule), rule.sentence) for rule in decision.rules]
    return table(("", "group", "rule", "result"), rows)


def hashes(evidence: Evidence) -> Markdown:
    decision, evaluation, manifest = evidence.decision, evidence.evaluation, evidence.manifest
    behaviour_suite = evaluation.behaviour.suite if evaluation.behaviour else NOTHING
    rows = [
        ("manifest", decision.manifest_sha256),
        ("model file", manifest.model_sha256),
        ("plan", manifest.plan.digest()),
        ("snapshot", manifest.plan.snapshot),
        ("texts trained on", manifest.training_digest),
        ("texts of the holdout", evaluation.holdout.set_id),
        ("golden set", evaluation.golden.set_id),
        ("behavioural suite", behaviour_suite),
        ("code", manifest.plan.code),
        ("libraries", manifest.plan.environment),
        ("gate policy", decision.policy),
        ("evaluation", decision.evaluation_sha256),
        ("decision", decision.digest()),
        ("key that signed the manifest", evidence.signers.manifest),
        ("key that signed the decision", evidence.signers.decision),
    ]
    return table(("what", "sha256, or public key"), [(what, code(value)) for what, value in rows])
