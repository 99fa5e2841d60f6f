"""Score challenger, champion and pinned reference on the same held out rows, in the same run.

Three sets: the **holdout**, by film; the **newest** nights of it; the **golden** set of reviews
written by hand. No model was trained on any row that it is scored on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from pipelines import behaviour, golden
from pipelines.comparison import Labels, Mask, Probabilities, is_usable
from pipelines.config import Settings, behaviour_path, golden_path
from pipelines.corpus import Growing
from pipelines.dataset import Dataset, Loader, Rows, ids_digest
from pipelines.errors import NoReviewsError, StalePlanError
from pipelines.fingerprints import Fingerprints
from pipelines.judgement import BehaviourScores, CheckRow, Evaluation
from pipelines.models import fingerprint_parameters, reads_fingerprints
from pipelines.overlap import SKETCH, Sketched, near_copies, sketches
from pipelines.prediction import positive_probability
from pipelines.records import LogEntry, Manifest
from pipelines.registry import Registry
from pipelines.scores import Scored, set_scores, slice_scores
from pipelines.slices import COLUMNS, Described, slice_masks
from pipelines.snapshot import pinned
from pipelines.store import Bucket

logger = logging.getLogger(__name__)

CHECK_ROWS, CHECK_PARTITIONS = 64, 4
_OVERLAP_FINGERPRINTS = (3, 40), (2, 40)  # tokens of the longest n-gram, bits


def evaluate(
    reviews: Bucket, registry: Registry, manifest: Manifest, settings: Settings, policy: str
) -> Evaluation:
    """Compare a version with the champion of this moment and the reference pinned with it.

    Raises
    ------
    NoReviewsError
        If no review is held out.
    """
    standing, loader = _standing(registry), Loader(reviews)
    dataset = loader.load(pinned(reviews, manifest.plan))
    if not len(dataset.holdout_rows):
        raise NoReviewsError("no review is held out, so no model can be evaluated")
    _check_split(dataset, manifest)
    with threadpool_limits(limits=1):
        models = _Models(registry, manifest, standing)
        found, held_out = _read_once(dataset, models)
        fair = _fair_rows(dataset, found, _seen(loader, reviews, standing))
        holdout = held_out.take(np.isin(dataset.holdout_rows, fair.rows))
        evaluation = _record(dataset, fair, holdout, models, settings, policy)
    return registry.add_evaluation(evaluation)


@dataclass(frozen=True)
class Standing:
    """Who the challenger is compared with: all of them, or none."""

    entry: LogEntry | None
    champion: Manifest | None
    reference: Manifest | None


def _standing(registry: Registry) -> Standing:
    entry = registry.champion()
    if entry is None:
        return Standing(None, None, None)
    return Standing(entry, registry.champion_manifest(entry), registry.reference_manifest(entry))


def _check_split(dataset: Dataset, manifest: Manifest) -> None:
    """The rows that are held out here must be those that were held out in training."""
    if ids_digest(dataset.text_id[dataset.training_rows]) != manifest.training_digest:
        raise StalePlanError(
            f"version {manifest.version} was trained on other reviews than this code would train "
            "on: the split was changed since, so its holdout would flatter it. "
            "Start a new run: python -m pipelines retrain"
        )


# Which rows are fair


@dataclass(frozen=True)
class Fair:
    """The rows to score on, and how many were left out, for which reason."""

    rows: Rows
    overlap_rows: int
    seen_rows: int


def _fair_rows(dataset: Dataset, found: Sketched, seen: Iterable[NDArray[np.bytes_]]) -> Fair:
    """The held out rows that none of the models was trained on.

    A film never changes side, but the settings of the split may, and a text may turn up again
    under another film.
    """
    held = dataset.holdout_rows
    rows = unseen = held[~_copies(dataset, found)]
    for text_ids in seen:
        rows = rows[~np.isin(dataset.text_id[rows], text_ids)]
    return Fair(rows, overlap_rows=len(held) - len(unseen), seen_rows=len(unseen) - len(rows))


def _copies(dataset: Dataset, found: Sketched) -> Mask:
    """Held out rows that are, word for word or nearly, among those trained on."""
    held, trained = dataset.holdout_rows, dataset.training_rows
    is_copy: Mask = np.isin(dataset.text_id[held], dataset.text_id[trained])
    return is_copy | near_copies(found.held_out, found.trained_on)


def _seen(loader: Loader, reviews: Bucket, standing: Standing) -> Iterator[NDArray[np.bytes_]]:
    """The text ids that champion and reference were trained on."""
    older = {one.version: one for one in (standing.champion, standing.reference) if one}
    for manifest in older.values():
        dataset = loader.load(pinned(reviews, manifest.plan))
        trained_on = dataset.text_id[dataset.training_rows]
        is_split_alike = ids_digest(trained_on) == manifest.training_digest
        # Split by other code: it may have been trained on any of them.
        yield trained_on if is_split_alike else dataset.text_id


def newest_mask(nights: NDArray[np.str_], wanted_rows: int) -> Mask:
    """The reviews of the newest nights: as many whole nights as it takes to have enough.

    Parameters
    ----------
    nights : ndarray of str, shape (n_reviews,)
        ``YYYY-MM-DD`` per review.
    wanted_rows : int
        How many reviews are enough; all of them are taken when there are fewer.
    """
    names, rows = np.unique(nights, return_counts=True)
    so_far = np.cumsum(rows[::-1])
    taken = int(np.searchsorted(so_far, wanted_rows)) + 1
    newest: Mask = np.isin(nights, names[::-1][:taken])
    return newest


# Scoring


class _Models:
    """Challenger, champion and reference: each version loaded once, and asked once."""

    def __init__(self, registry: Registry, manifest: Manifest, standing: Standing) -> None:
        self.manifest, self.standing = manifest, standing
        wanted = [one for one in (manifest, standing.champion, standing.reference) if one]
        self._models = {
            version: registry.load(one)
            for version, one in {one.version: one for one in wanted}.items()
        }

    @property
    def sketched(self) -> tuple[int, int]:
        """By which fingerprints copies are found: those the challenger reads, so they are cached.

        Others than `_OVERLAP_FINGERPRINTS` would say too little, or too much, of a changed word.
        """
        challenger = self._models[self.manifest.version]
        if reads_fingerprints(challenger):
            parameters = fingerprint_parameters(challenger)
            if parameters in _OVERLAP_FINGERPRINTS:
                return parameters
        return _OVERLAP_FINGERPRINTS[0]

    def scored(self, labels: Labels, inputs: Callable[[Pipeline], object]) -> Scored:
        """All models on the same reviews; ``inputs`` says what a model reads of them."""
        answers = {
            version: positive_probability(model, inputs(model))
            for version, model in self._models.items()
        }

        def of(manifest: Manifest | None) -> Probabilities | None:
            return answers[manifest.version] if manifest else None

        standing = self.standing
        challenger = answers[self.manifest.version]
        return Scored(labels, challenger, of(standing.champion), of(standing.reference))


def _read_once(dataset: Dataset, models: _Models) -> tuple[Sketched, Scored]:
    """Sketches of all reviews, and what all models say of those that are held out.

    Each partition is read once, and nothing else of it is kept.
    """
    held_out, trained_on, scored = Growing(np.uint64), Growing(np.uint64), []
    for rows in dataset.by_partition(np.arange(len(dataset.label))):
        part = _Part(dataset, rows)
        found = sketches(part.fingerprints(*models.sketched))
        held_out.append(found[part.is_held_out].ravel())
        trained_on.append(found[~part.is_held_out].ravel())
        if len(part.held_out):
            scored.append(models.scored(dataset.label[part.held_out], part.inputs))
    sides = (side.array.reshape(-1, SKETCH) for side in (held_out, trained_on))
    return Sketched(*sides), Scored.concat(scored)


class _Part:
    """The reviews of one partition, and what models read of those that are held out."""

    def __init__(self, dataset: Dataset, rows: Rows) -> None:
        self._dataset, self._rows = dataset, rows
        self.is_held_out = dataset.is_holdout[rows]
        self.held_out = rows[self.is_held_out]
        self._known: dict[tuple[int, int], Fingerprints] = {}

    def fingerprints(self, ngram_max: int, bits: int) -> Fingerprints:
        """Of all its reviews; read once."""
        parameters = ngram_max, bits
        if parameters not in self._known:
            found = self._dataset.fingerprints(self._rows, ngram_max=ngram_max, bits=bits)
            self._known[parameters] = found
        return self._known[parameters]

    def inputs(self, model: Pipeline) -> Fingerprints | list[str]:
        if not reads_fingerprints(model):
            return self._dataset.texts(self.held_out)
        return self.fingerprints(*fingerprint_parameters(model)).take(self.is_held_out)


def _record(
    dataset: Dataset, fair: Fair, holdout: Scored, models: _Models, settings: Settings, policy: str
) -> Evaluation:
    gate, manifest, standing, rows = settings.gate, models.manifest, models.standing, fair.rows
    text_ids = dataset.text_id[rows]
    is_newest = newest_mask(dataset.nights(rows), gate.newest_rows)
    by_hand = golden.load_golden(golden_path(settings))
    golden_scored = models.scored(by_hand.labels, lambda _model: list(by_hand.texts))
    described = Described.of_tables(dataset.tables(rows, COLUMNS))
    masks = slice_masks(described, gate.slices, min_rows=gate.min_slice_rows)
    challenger_acts, champion_acts = _behaviour(models, settings)
    return Evaluation(
        model_name=manifest.model_name,
        version=manifest.version,
        manifest_sha256=manifest.digest(),
        champion_generation=standing.entry.generation if standing.entry else 0,
        champion_version=standing.entry.version if standing.entry else None,
        reference_version=standing.reference.version if standing.reference else None,
        policy=policy,
        overlap_rows=fair.overlap_rows,
        seen_rows=fair.seen_rows,
        champion_age_nights=_age_nights(dataset, standing.champion),
        artefact_bytes=manifest.model_size_bytes,
        holdout=set_scores("holdout", ids_digest(text_ids), holdout, gate),
        newest=set_scores("newest", ids_digest(text_ids[is_newest]), holdout.take(is_newest), gate),
        golden=set_scores("golden", by_hand.digest, golden_scored, gate),
        slices=slice_scores(holdout, masks, gate),
        behaviour=challenger_acts,
        champion_behaviour=champion_acts,
        check_rows=_check_rows(dataset, rows, holdout.challenger),
        golden_probabilities=_plain(golden_scored.challenger),
    )


def _behaviour(
    models: _Models, settings: Settings
) -> tuple[BehaviourScores, BehaviourScores | None]:
    suite = behaviour.load_suite(behaviour_path(settings))
    scored = models.scored(np.empty(0, np.int8), lambda _model: list(suite.texts()))
    champion = None if scored.champion is None else behaviour.score(suite, scored.champion)
    return behaviour.score(suite, scored.challenger), champion


def _age_nights(dataset: Dataset, champion: Manifest | None) -> int | None:
    """How many nights the champion lags behind; told by the reviews, never by a clock."""
    if champion is None:
        return None
    known = pinned(dataset.reviews, champion.plan)
    newest, seen = (max(part.night for part in one.partitions) for one in (dataset.snapshot, known))
    return (date.fromisoformat(newest) - date.fromisoformat(seen)).days


def _plain(probability: Probabilities) -> tuple[float, ...]:
    return tuple(probability.tolist()) if is_usable(probability) else ()


def _check_rows(dataset: Dataset, rows: Rows, probability: Probabilities) -> tuple[CheckRow, ...]:
    """Rows of a few partitions with the challenger's answer, for consumers to repeat.

    The partitions are spread evenly, so are the rows in them: who repeats the answers has to read
    `CHECK_PARTITIONS` of them, or as many more as it takes to have `CHECK_ROWS`.
    """
    if not len(rows) or not is_usable(probability):
        return ()
    parts = list(dataset.by_partition(rows))
    fewest = min(len(rows), CHECK_ROWS)
    for count in range(min(len(parts), CHECK_PARTITIONS), len(parts) + 1):
        chosen = np.concatenate([parts[number] for number in _spread(len(parts), count)])
        if len(chosen) >= fewest:
            break
    chosen = chosen[_spread(len(chosen), CHECK_ROWS)]
    values = probability[np.searchsorted(rows, chosen)]
    located = zip(map(dataset.locate, chosen.tolist()), values.tolist(), strict=True)
    return tuple(
        CheckRow(partition=partition, row=row, probability=value)
        for (partition, row), value in located
    )


def _spread(count: int, most: int) -> NDArray[np.int64]:
    """At most so many of ``count`` positions, evenly spread."""
    return np.unique(np.linspace(0, count - 1, most).astype(np.int64))
