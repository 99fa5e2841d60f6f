"""Score champion and challenger on the same held out rows, in the same run."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom
from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score, roc_auc_score
from threadpoolctl import threadpool_limits

from pipelines.config import GateSettings
from pipelines.dataset import Dataset, Rows, ids_digest, load_dataset
from pipelines.errors import NoReviewsError, StalePlanError
from pipelines.provenance import rules_digest
from pipelines.records import (
    CheckRow,
    Evaluation,
    LogEntry,
    Manifest,
    Metrics,
    PairedComparison,
    Snapshot,
)
from pipelines.registry import Registry
from pipelines.store import Bucket
from pipelines.training import inputs_for, positive_probability

logger = logging.getLogger(__name__)

Labels = NDArray[np.int8]
Probabilities = NDArray[np.float64]

CHECK_ROWS = 64
_SMALLEST_PROBABILITY = 1e-15
_BOOTSTRAP_SEED = 20260105
_BOOTSTRAP_BLOCK = 50


def evaluate(
    reviews: Bucket, registry: Registry, manifest: Manifest, policy: GateSettings
) -> tuple[str, Evaluation]:
    """Compare a version with the champion of this moment on the version's holdout.

    Returns
    -------
    key, evaluation : str, Evaluation
        Where it was stored, and the record.

    Raises
    ------
    NoReviewsError
        If no review is held out.
    """
    champion = registry.champion()
    snapshot = reviews.get_record(manifest.plan.snapshot_key, Snapshot)
    dataset = load_dataset(reviews, snapshot)
    if not len(dataset.holdout_rows):
        raise NoReviewsError("no review is held out, so no model can be evaluated")
    _check_split(dataset, manifest)
    standing = registry.champion_manifest(champion) if champion else None
    rows = _rows_new_to(reviews, standing, dataset)
    with threadpool_limits(limits=1):
        scored = _score(dataset, rows, registry, manifest, standing)
    evaluation = _record(dataset, manifest, champion, policy, scored)
    return registry.add_evaluation(evaluation)


def _rows_new_to(reviews: Bucket, champion: Manifest | None, dataset: Dataset) -> Rows:
    """The held out rows that the champion was not trained on: both models must be tested fairly.

    A film never changes side, but the settings of the split may, and a text may turn up again
    under another film.
    """
    if champion is None:
        return dataset.holdout_rows
    seen = load_dataset(reviews, reviews.get_record(champion.plan.snapshot_key, Snapshot))
    trained_on = seen.text_id[seen.training_rows]
    if ids_digest(trained_on) != champion.training_digest:
        trained_on = seen.text_id  # split by other code: it may have been trained on any of them
    is_new = ~np.isin(dataset.text_id[dataset.holdout_rows], trained_on)
    return dataset.holdout_rows[is_new]


def _check_split(dataset: Dataset, manifest: Manifest) -> None:
    """The rows that are held out here must be those that were held out in training."""
    if ids_digest(dataset.text_id[dataset.training_rows]) != manifest.training_digest:
        raise StalePlanError(
            f"version {manifest.version} was trained on other reviews than this code would train "
            "on: the split was changed since, so its holdout would flatter it. "
            "Start a new run: python -m pipelines retrain"
        )


@dataclass(frozen=True)
class _Scored:
    """Labels and probabilities of the scored holdout rows, in the same order."""

    rows: Rows
    labels: Labels
    challenger: Probabilities
    champion: Probabilities | None


def _score(
    dataset: Dataset, rows: Rows, registry: Registry, manifest: Manifest, champion: Manifest | None
) -> _Scored:
    def probability(version: Manifest) -> Probabilities:
        model = registry.load(version)
        return positive_probability(model, inputs_for(model, dataset, rows))

    return _Scored(
        rows=rows,
        labels=dataset.label[rows],
        challenger=probability(manifest),
        champion=probability(champion) if champion is not None else None,
    )


def _record(
    dataset: Dataset,
    manifest: Manifest,
    champion: LogEntry | None,
    policy: GateSettings,
    scored: _Scored,
) -> Evaluation:
    return Evaluation(
        model_name=manifest.model_name,
        version=manifest.version,
        manifest_sha256=manifest.digest(),
        champion_generation=champion.generation if champion else 0,
        champion_version=champion.version if champion else None,
        policy=rules_digest(policy),
        holdout_id=ids_digest(dataset.text_id[scored.rows]),
        overlap_rows=_overlap(dataset),
        seen_by_champion_rows=len(dataset.holdout_rows) - len(scored.rows),
        positive_rows=int((scored.labels == 1).sum()),
        negative_rows=int((scored.labels == 0).sum()),
        artefact_bytes=manifest.model_size_bytes,
        challenger=metrics(scored.labels, scored.challenger),
        champion=None if scored.champion is None else metrics(scored.labels, scored.champion),
        paired=_paired(scored, policy),
        check_rows=_check_rows(dataset, scored),
    )


def _overlap(dataset: Dataset) -> int:
    training = dataset.text_id[dataset.training_rows]
    return int(np.isin(dataset.text_id[dataset.holdout_rows], training).sum())


def metrics(labels: Labels, probability: Probabilities) -> Metrics | None:
    """Scores of one model, or None when they cannot be had.

    Parameters
    ----------
    labels : ndarray of shape (n_reviews,)
        1 positive, 0 negative.
    probability : ndarray of shape (n_reviews,)
        Of the positive class.

    Returns
    -------
    metrics : Metrics or None
        None if a probability is no number in [0, 1], or only one class is present.
    """
    if len(np.unique(labels)) != 2 or not _is_usable(probability):
        return None
    predicted = (probability >= 0.5).astype(np.int8)
    return Metrics(
        rows=len(labels),
        accuracy=float(accuracy_score(labels, predicted)),
        f1=float(f1_score(labels, predicted)),
        roc_auc=float(roc_auc_score(labels, probability)),
        log_loss=float(log_loss(labels, probability, labels=[0, 1])),
        recall_positive=float(recall_score(labels, predicted, pos_label=1)),
        recall_negative=float(recall_score(labels, predicted, pos_label=0)),
    )


def _is_usable(probability: Probabilities) -> bool:
    return bool(np.isfinite(probability).all() and ((probability >= 0) & (probability <= 1)).all())


def _paired(scored: _Scored, policy: GateSettings) -> PairedComparison | None:
    champion = scored.champion
    if champion is None or not len(champion):
        return None
    if not (_is_usable(champion) and _is_usable(scored.challenger)):
        return None
    return compare(
        scored.labels, champion, scored.challenger,
        confidence=policy.confidence, repeats=policy.bootstrap_repeats,
    )  # fmt: skip


def compare(
    labels: Labels,
    champion: Probabilities,
    challenger: Probabilities,
    *,
    confidence: float,
    repeats: int,
) -> PairedComparison:
    """Changes from champion to challenger on the same rows, with one-sided bounds.

    Parameters
    ----------
    labels : ndarray of shape (n_reviews,)
        1 positive, 0 negative.
    champion, challenger : ndarray of shape (n_reviews,)
        Probability of the positive class, in the row order of ``labels``.
    confidence : float
        Of each bound on its own, by percentile bootstrap over rows [1]_.
    repeats : int
        Bootstrap resamples.

    References
    ----------
    .. [1] B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    champion_right = (champion >= 0.5) == (labels == 1)
    challenger_right = (challenger >= 0.5) == (labels == 1)
    accuracy_change = challenger_right.astype(np.float64) - champion_right
    loss_change = review_losses(labels, challenger) - review_losses(labels, champion)
    bounds = _bootstrap_bounds(
        np.stack([accuracy_change, loss_change]), confidence=confidence, repeats=repeats
    )
    only_champion = int((champion_right & ~challenger_right).sum())
    only_challenger = int((challenger_right & ~champion_right).sum())
    return PairedComparison(
        only_champion_right=only_champion,
        only_challenger_right=only_challenger,
        accuracy_change=float(accuracy_change.mean()),
        accuracy_change_low=float(bounds[0, 0]),
        accuracy_change_high=float(bounds[0, 1]),
        log_loss_change=float(loss_change.mean()),
        log_loss_change_low=float(bounds[1, 0]),
        log_loss_change_high=float(bounds[1, 1]),
        mcnemar_p_value=mcnemar_p_value(only_champion, only_challenger),
        confidence=confidence,
    )


def review_losses(labels: Labels, probability: Probabilities) -> Probabilities:
    """Log loss of each review, in nats, shape (n_reviews,)."""
    of_truth = np.where(labels == 1, probability, 1.0 - probability)
    losses: Probabilities = -np.log(np.clip(of_truth, _SMALLEST_PROBABILITY, 1.0))
    return losses


def mcnemar_p_value(only_champion_right: int, only_challenger_right: int) -> float:
    """Chance of a split this uneven if both models err equally often: exact, two-sided.

    Parameters
    ----------
    only_champion_right, only_challenger_right : int
        Reviews that exactly one of the two models gets right.

    Returns
    -------
    p_value : float
        In (0, 1]; 1.0 when there is no such review.

    References
    ----------
    .. [1] T. G. Dietterich, "Approximate Statistical Tests for Comparing Supervised
       Classification Learning Algorithms", Neural Computation 10(7), 1998.
    """
    discordant = only_champion_right + only_challenger_right
    fewer = min(only_champion_right, only_challenger_right)
    return float(min(1.0, 2.0 * binom.cdf(fewer, discordant, 0.5))) if discordant else 1.0


def _bootstrap_bounds(
    changes: NDArray[np.float64], *, confidence: float, repeats: int
) -> NDArray[np.float64]:
    """One-sided lower and upper bound per line of ``changes``, shape (n_lines, 2)."""
    rng = np.random.default_rng(_BOOTSTRAP_SEED)
    rows = changes.shape[1]
    means: list[NDArray[np.float64]] = []
    for start in range(0, repeats, _BOOTSTRAP_BLOCK):
        block = min(_BOOTSTRAP_BLOCK, repeats - start)
        drawn = rng.integers(rows, size=(block, rows))
        means.append(changes[:, drawn].mean(axis=2))
    quantiles = np.quantile(np.concatenate(means, axis=1), [1 - confidence, confidence], axis=1)
    bounds: NDArray[np.float64] = quantiles.T
    return bounds


def _check_rows(dataset: Dataset, scored: _Scored) -> tuple[CheckRow, ...]:
    """Evenly spread holdout rows with the challenger's answer, for consumers to repeat."""
    rows, probability = scored.rows, scored.challenger
    if not len(rows) or not _is_usable(probability):
        return ()
    chosen = np.unique(np.linspace(0, len(rows) - 1, CHECK_ROWS).astype(np.int64))
    located = [(dataset.locate(int(rows[row])), float(probability[row])) for row in chosen]
    return tuple(
        CheckRow(partition=partition, row=row, probability=value)
        for (partition, row), value in located
    )
