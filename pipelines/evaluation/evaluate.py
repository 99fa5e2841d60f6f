"""Score challenger, champion and pinned reference on the same held out rows, in the same run.

There are three sets: the **holdout**, by film; its **newest** nights; the **golden** set of reviews
written by hand. No model is scored on a row that it was trained on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date

import numpy as np
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from pipelines.core.errors import NoReviewsError
from pipelines.core.settings.settings import Settings
from pipelines.core.store.bucket import Bucket
from pipelines.evaluation import golden
from pipelines.evaluation.behaviour import scoring
from pipelines.evaluation.check_rows import as_answers, check_rows
from pipelines.evaluation.fair_rows import (
    Fair,
    Opponents,
    Signed,
    check_split,
    fair_rows,
    find_opponents,
    newest_mask,
    seen_in_training,
)
from pipelines.evaluation.metrics import Labels, Probabilities, is_usable
from pipelines.evaluation.scores import Scored, set_scores, slice_scores
from pipelines.evaluation.slices import COLUMNS, Described, slice_masks
from pipelines.features.arrays import Growing
from pipelines.features.fingerprints import Fingerprints
from pipelines.features.signatures import CELLS
from pipelines.features.views import View
from pipelines.intake.snapshot import pinned
from pipelines.models.answers import place
from pipelines.models.factories import reads_fingerprints, view_of
from pipelines.models.prediction import probabilities
from pipelines.records.evaluations import Answer, BehaviourScores, Evaluation
from pipelines.records.versions import Manifest
from pipelines.registry.registry import Registry
from pipelines.training.dataset import Dataset, Loader, Rows, check_same_classes, ids_digest

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
        models = _Models(registry, manifest, opponents)
        signed, held_out = _read_once(dataset, models)
        fair = fair_rows(dataset, signed, seen_in_training(loader, reviews, opponents))
        holdout = held_out.take(np.isin(dataset.holdout_rows, fair.rows))
        evaluation = _record(dataset, fair, holdout, models, settings, policy)
    return registry.decisions.add_evaluation(evaluation)


# Scoring


class _Models:
    """Challenger, champion and reference; each version is loaded and scored once."""

    def __init__(self, registry: Registry, manifest: Manifest, opponents: Opponents) -> None:
        self.manifest, self.opponents = manifest, opponents
        manifests = (manifest, opponents.champion, opponents.reference)
        by_version = {model.version: model for model in manifests if model}
        self._models = {
            version: registry.versions.load(model) for version, model in by_version.items()
        }

    def scored(self, labels: Labels, inputs: Callable[[Pipeline], object]) -> Scored:
        """All models on the same reviews; ``inputs`` returns what a model reads."""
        answers = {
            version: probabilities(model, inputs(model)) for version, model in self._models.items()
        }

        def of(manifest: Manifest | None) -> Probabilities | None:
            return answers[manifest.version] if manifest else None

        opponents = self.opponents
        challenger = answers[self.manifest.version]
        return Scored(labels, challenger, of(opponents.champion), of(opponents.reference))


def _read_once(dataset: Dataset, models: _Models) -> tuple[Signed, Scored]:
    """Signatures of all reviews, and all models' scores of those that are held out.

    Each pack of partitions is read once, and nothing else of it is kept in memory.
    """
    held_out, trained_on, scored = Growing(np.uint16), Growing(np.uint16), []
    for rows, signatures in dataset.signatures_by_pack(np.arange(len(dataset.label))):
        is_held_out = dataset.is_holdout[rows]
        held_out.append(signatures[is_held_out].ravel())
        trained_on.append(signatures[~is_held_out].ravel())
        if is_held_out.any():
            part = _Part(dataset, rows[is_held_out])
            scored.append(models.scored(dataset.label[part.rows], part.inputs))
    sides = (side.array.reshape(-1, CELLS) for side in (held_out, trained_on))
    return Signed(*sides), Scored.concat(scored)


class _Part:
    """The held out reviews of one pack, and what the models read of them."""

    def __init__(self, dataset: Dataset, rows: Rows) -> None:
        self._dataset, self.rows = dataset, rows
        self._fingerprints: dict[View, Fingerprints] = {}

    def inputs(self, model: Pipeline) -> Fingerprints | list[str]:
        if not reads_fingerprints(model):
            return self._dataset.texts(self.rows)
        view = view_of(model)
        if view not in self._fingerprints:
            self._fingerprints[view] = self._dataset.fingerprints(self.rows, view)
        return self._fingerprints[view]


def _record(
    dataset: Dataset, fair: Fair, holdout: Scored, models: _Models, settings: Settings, policy: str
) -> Evaluation:
    gate, manifest, opponents, rows = settings.gate, models.manifest, models.opponents, fair.rows
    text_ids = dataset.text_id[rows]
    is_newest = newest_mask(dataset.nights(rows), gate.newest_rows)
    by_hand = golden.load_golden(settings.evaluation.golden_file, manifest.plan.class_names)
    golden_scored = models.scored(by_hand.labels, lambda _model: list(by_hand.texts))
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
    models: _Models, settings: Settings
) -> tuple[BehaviourScores, BehaviourScores | None]:
    suite = scoring.load_suite(settings.evaluation.behaviour_folder)
    scored = models.scored(np.empty(0, np.int8), lambda _model: list(suite.texts()))
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
