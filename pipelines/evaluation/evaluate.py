"""Score challenger, champion and pinned reference on the same held out rows, in the same run.

There are three sets: the **holdout**, by film; its **newest** nights; the **golden** set of reviews
written by hand. No model is scored on a row that it was trained on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import date
from functools import partial

import numpy as np
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from pipelines.core.errors import NoReviewsError
from pipelines.core.settings.settings import Settings
from pipelines.core.store.bucket import Bucket
from pipelines.evaluation import golden
from pipelines.evaluation.answering import KeptAnswers, Models, PackRows, shares_to_score
from pipelines.evaluation.behaviour import scoring
from pipelines.evaluation.check_rows import as_answers, check_rows
from pipelines.evaluation.fair_rows import (
    Fair,
    Signed,
    check_split,
    fair_rows,
    find_opponents,
    newest_mask,
    seen_in_training,
)
from pipelines.evaluation.metrics import Probabilities, is_usable
from pipelines.evaluation.scores import Scored, set_scores, slice_scores
from pipelines.evaluation.slices import COLUMNS, Described, slice_masks
from pipelines.features.arrays import Growing
from pipelines.features.signature_cache import pack_signatures
from pipelines.features.signatures import CELLS
from pipelines.intake.snapshot import pinned
from pipelines.models.answers import place
from pipelines.models.prediction import probabilities
from pipelines.records.evaluations import Answer, BehaviourScores, Evaluation
from pipelines.records.versions import Manifest
from pipelines.registry.registry import Registry
from pipelines.training.dataset import Dataset, Loader, check_same_classes, ids_digest

logger = logging.getLogger(__name__)


def evaluate(
    reviews: Bucket, registry: Registry, manifest: Manifest, settings: Settings, policy: str
) -> Evaluation:
    """Compare a version with the current champion and the reference pinned with it.

    Raises
    ------
    NoReviewsError
        If no review is held out.
    ConfigError
        If the champion answers with other classes.
    """
    opponents, loader = find_opponents(registry), Loader(reviews, manifest.plan.classes)
    for other in filter(None, (opponents.champion, opponents.reference)):
        check_same_classes(manifest.plan, other.plan)
    dataset = loader.load(pinned(reviews, manifest.plan))
    if not len(dataset.holdout_rows):
        raise NoReviewsError("no review is held out, so no model can be evaluated")
    check_split(dataset, manifest)
    with threadpool_limits(limits=1):
        models, kept = Models(registry, manifest, opponents), None
        if shares_to_score(dataset.snapshot, settings.training):
            kept = KeptAnswers(reviews, dataset.snapshot, policy)
        signed, held_out = _read_once(dataset, models, kept)
        fair = fair_rows(dataset, signed, seen_in_training(loader, reviews, opponents))
        holdout = held_out.take(np.isin(dataset.holdout_rows, fair.rows))
        evaluation = _record(dataset, fair, holdout, models, settings, policy)
    return registry.decisions.add_evaluation(evaluation)


def _read_once(dataset: Dataset, models: Models, kept: KeptAnswers | None) -> tuple[Signed, Scored]:
    """Signatures of all reviews, and all models' scores of those that are held out.

    Each pack of partitions is read once, and nothing else of it is kept in memory.
    """
    held_out, trained_on, scored = Growing(np.uint16), Growing(np.uint16), []
    for pack, rows, local in dataset.by_pack(np.arange(len(dataset.label))):
        signatures = pack_signatures(dataset.reviews, pack)[local]
        is_held_out = dataset.is_holdout[rows]
        held_out.append(signatures[is_held_out].ravel())
        trained_on.append(signatures[~is_held_out].ravel())
        if is_held_out.any():
            part = PackRows(dataset.reviews, pack, local[is_held_out])
            answer = partial(_answer, part, kept)
            scored.append(models.scored(dataset.label[rows[is_held_out]], answer))
    sides = (side.array.reshape(-1, CELLS) for side in (held_out, trained_on))
    return Signed(*sides), Scored.concat(scored)


def _answer(
    part: PackRows, kept: KeptAnswers | None, manifest: Manifest, model: Pipeline
) -> Probabilities:
    found = None if kept is None else kept.find(manifest, part)
    return part.answers(model) if found is None else found


def _reading(texts: Iterable[str]) -> Callable[[Manifest, Pipeline], Probabilities]:
    """How a model answers about texts of our own."""
    read = list(texts)
    return lambda _manifest, model: probabilities(model, read)


def _record(
    dataset: Dataset, fair: Fair, holdout: Scored, models: Models, settings: Settings, policy: str
) -> Evaluation:
    gate, manifest, opponents, rows = settings.gate, models.manifest, models.opponents, fair.rows
    text_ids = dataset.text_id[rows]
    is_newest = newest_mask(dataset.nights(rows), gate.newest_rows)
    by_hand = golden.load_golden(settings.evaluation.golden_file, manifest.plan.class_names)
    golden_scored = models.scored(by_hand.labels, _reading(by_hand.texts))
    described = Described.of_tables(dataset.tables(rows, COLUMNS))
    masks = slice_masks(described, gate.slices, min_rows=gate.min_slice_rows)
    challenger_acts, champion_acts = _behaviour(models, settings)
    return Evaluation(
        model_name=manifest.model_name,
        version=manifest.version,
        manifest_sha256=manifest.digest(),
        champion_generation=opponents.entry.generation if opponents.entry else 0,
        champion_version=opponents.entry.version if opponents.entry else None,
        reference_version=opponents.reference.version if opponents.reference else None,
        policy=policy,
        overlap_rows=fair.overlap_rows,
        seen_rows=fair.seen_rows,
        champion_age_nights=_age_nights(dataset, opponents.champion),
        artefact_bytes=manifest.model_size_bytes,
        holdout=set_scores("holdout", ids_digest(text_ids), holdout, gate),
        newest=set_scores("newest", ids_digest(text_ids[is_newest]), holdout.take(is_newest), gate),
        golden=set_scores("golden", by_hand.digest, golden_scored, gate),
        slices=slice_scores(holdout, masks, gate),
        behaviour=challenger_acts,
        champion_behaviour=champion_acts,
        check_rows=check_rows(dataset, rows, holdout.challenger),
        golden_probabilities=_plain(golden_scored.challenger),
        class_names=manifest.plan.class_names if manifest.plan.classes else (),
    )


def _behaviour(
    models: Models, settings: Settings
) -> tuple[BehaviourScores, BehaviourScores | None]:
    suite = scoring.load_suite(settings.evaluation.behaviour_folder)
    scored = models.scored(np.empty(0, np.int8), _reading(suite.texts()))
    champion = None if scored.champion is None else scoring.score(suite, place(scored.champion))
    return scoring.score(suite, place(scored.challenger)), champion


def _age_nights(dataset: Dataset, champion: Manifest | None) -> int | None:
    """How many nights of reviews are newer than the champion's; no clock is used."""
    if champion is None:
        return None
    snapshots = dataset.snapshot, pinned(dataset.reviews, champion.plan)
    newest, trained = (max(part.night for part in pin.partitions) for pin in snapshots)
    return (date.fromisoformat(newest) - date.fromisoformat(trained)).days


def _plain(probability: Probabilities) -> tuple[Answer, ...]:
    return as_answers(probability) if is_usable(probability) else ()
