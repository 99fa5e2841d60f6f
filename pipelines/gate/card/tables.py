"""The tables of a model card, each a pure function of records. `gate.card.card` puts them together.

A number that is missing shows as a dash.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipelines.core.escaping import Markdown, code, table
from pipelines.gate.card.sentences import Evidence, Judged, kind_of, others
from pipelines.records.decisions import Decision
from pipelines.records.deliveries import Outcome
from pipelines.records.evaluations import ArtefactCheck, Metrics, PairedComparison
from pipelines.records.versions import Manifest

MOST_DELIVERIES = 14
NOTHING = "-"


# Data


def deliveries(evidence: Evidence) -> Markdown:
    """The deliveries behind the snapshot, newest first; the older ones as one sum."""
    found = sorted(evidence.outcomes, key=lambda one: (one.night, one.source, one.delivery))[::-1]
    newest, older = found[:MOST_DELIVERIES], found[MOST_DELIVERIES:]
    rows: list[Sequence[object]] = [
        (one.night, code(one.source), code(one.delivery[:16]), *_row_counts([one]))
        for one in newest
    ]
    if older:
        rows.append(("earlier", NOTHING, f"{len(older):,} deliveries", *_row_counts(older)))
    headers = ("night", "source", "delivery", "delivered", "accepted", "quarantined")
    return table(headers, rows, right=(3, 4, 5))


def _row_counts(outcomes: Sequence[Outcome]) -> tuple[str, str, str]:
    delivered = sum(one.delivered_rows for one in outcomes)
    accepted = sum(one.accepted_rows for one in outcomes)
    quarantined = sum(one.quarantined_rows for one in outcomes)
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
        ("one review in a clean process, 95th percentile", _latency(check)),
        ("memory of that process", _memory(check)),
    ]
    return table(("", ""), rows)


def _codes(values: Iterable[str]) -> Markdown:
    return Markdown(", ".join(code(value) for value in values) or NOTHING)


def _selection(manifest: Manifest) -> Markdown:
    if len(manifest.plan.candidates) < 2:
        return Markdown("this candidate alone")
    scores = (f"{each.name} (log loss {each.log_loss:.4f})" for each in manifest.selection)
    return _codes(scores)


def _latency(check: ArtefactCheck | None) -> str:
    if check is None or check.latency_p95_milliseconds is None:
        return NOTHING
    return f"{check.latency_p95_milliseconds:,.1f} ms"


def _memory(check: ArtefactCheck | None) -> str:
    return NOTHING if check is None or not check.peak_bytes else f"{check.peak_bytes / 1e6:,.0f} MB"


# Scores


def scores(evidence: Judged) -> Markdown:
    """Every compared model on every set."""
    evaluation = evidence.evaluation
    rows: list[Sequence[object]] = []
    for one in (evaluation.holdout, evaluation.newest, evaluation.golden):
        models = {
            "challenger": one.challenger,
            "champion": one.champion,
            "reference": one.reference,
        }
        rows += [
            (one.name, f"{one.rows:,}", who, *_metrics(models[who]))
            for who in ("challenger", *others(evidence.decision))
        ]
    headers = ("set", "reviews", "model", "accuracy", "recall positive", "recall negative", "F1",
               "area under curve", "log loss", "calibration error")  # fmt: skip
    return table(headers, rows, right=(1, *range(3, 10)))


def _metrics(found: Metrics | None) -> tuple[str, ...]:
    if found is None:
        return (NOTHING,) * 7
    return (
        f"{found.accuracy:.2%}",
        f"{found.recall_positive:.2%}",
        f"{found.recall_negative:.2%}",
        f"{found.f1:.4f}",
        f"{found.roc_auc:.4f}",
        f"{found.log_loss:.4f}",
        f"{found.calibration_error:.2%}",
    )


def changes(evidence: Judged) -> Markdown:
    """The paired comparisons, as far as there are any."""
    evaluation, rows = evidence.evaluation, []
    for one in (evaluation.holdout, evaluation.newest, evaluation.golden):
        paired = {"champion": one.against_champion, "reference": one.against_reference}
        rows += [
            (one.name, who, *_change(found))
            for who in others(evidence.decision)
            if (found := paired[who]) is not None
        ]
    if not rows:
        return Markdown("Compared with nobody.")
    headers = ("set", "against", "accuracy", "surely between", "log loss", "surely between",
               "newly right", "newly wrong", "chance alone")  # fmt: skip
    return table(headers, rows, right=range(2, 9))


def _change(paired: PairedComparison) -> tuple[str, ...]:
    return (
        f"{paired.accuracy_change:+.2%}",
        f"{paired.accuracy_change_low:+.2%} to {paired.accuracy_change_high:+.2%}",
        f"{paired.log_loss_change:+.4f}",
        f"{paired.log_loss_change_low:+.4f} to {paired.log_loss_change_high:+.4f}",
        f"{paired.only_challenger_right:,}",
        f"{paired.only_other_right:,}",
        f"{paired.mcnemar_p_value:.1%}",
    )


def confusion(evidence: Judged) -> Markdown:
    holdout = evidence.evaluation.holdout
    models = [("challenger", holdout.challenger), ("champion", holdout.champion)]
    rows: list[Sequence[object]] = []
    for who, found in models[: 2 if others(evidence.decision) else 1]:
        hit, miss, alarm, calm = _cells(found)
        rows += [(who, "positive", hit, miss), (who, "negative", alarm, calm)]
    return table(("model", "really", "it says positive", "it says negative"), rows, right=(2, 3))


def _cells(found: Metrics | None) -> tuple[str, str, str, str]:
    if found is None:
        return (NOTHING,) * 4
    return (
        f"{found.true_positive:,}",
        f"{found.false_negative:,}",
        f"{found.false_positive:,}",
        f"{found.true_negative:,}",
    )


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
    headers = ("slice", "reviews", "challenger", "champion", "change", "surely between")
    return table(headers, rows, right=range(1, 6))


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2%}"


def behaviour(evidence: Judged) -> Markdown:
    evaluation = evidence.evaluation
    if evaluation.behaviour is None:
        return Markdown("Not tested: an answer was no number.")
    before = evaluation.champion_behaviour
    champion = {} if before is None else {each.capability: each for each in before.capabilities}
    rows = [
        (
            code(each.capability),
            kind_of(each),
            f"{each.cases:,}",
            f"{each.failures:,}",
            _share(each.max_failure_share),
            f"{old.failures:,}" if (old := champion.get(each.capability)) else NOTHING,
        )
        for each in evaluation.behaviour.capabilities
    ]
    headers = ("capability", "kind", "cases", "it fails", "its file allows", "the champion fails")
    return table(headers, rows, right=range(2, 6))


# The gate, and the digests


def rules(decision: Decision) -> Markdown:
    rows = [(rule.answer, rule.group, code(rule.rule), rule.sentence) for rule in decision.rules]
    return table(("", "asks about", "rule", "what it saw"), rows)


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
