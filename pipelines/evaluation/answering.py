"""Let challenger, champion and reference answer, pack by pack.

What they answer about the held out reviews of a pack depends on the pack and the model alone. So
with many packs several tasks score a share of them each, and `evaluate` puts together what they
kept (`features.answer_cache`). It scores by itself whatever was not kept, to the same bits: that
holds for models that sum each review on its own (`models.prediction`), and only theirs is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from pipelines.core.record import canonical_json, sha256_of
from pipelines.core.settings.model import TrainingSettings
from pipelines.core.store.bucket import Bucket
from pipelines.evaluation.fair_rows import Opponents, find_opponents
from pipelines.evaluation.metrics import Labels, Probabilities
from pipelines.evaluation.scores import Scored
from pipelines.features.answer_cache import find_answers, put_answers
from pipelines.features.fingerprint_cache import pack_fingerprints
from pipelines.features.fingerprints import Fingerprints
from pipelines.features.packs import Pack, Share, packed, read_pack, shares
from pipelines.features.signature_cache import pack_signatures
from pipelines.features.views import View
from pipelines.intake.snapshot import pinned
from pipelines.models.factories import reads_fingerprints, view_of
from pipelines.models.prediction import probabilities, scorer_of
from pipelines.records.data import Snapshot
from pipelines.records.versions import Manifest, StarClass
from pipelines.registry.registry import Registry
from pipelines.training.dataset import Rows
from pipelines.training.identities import Identities
from pipelines.training.split import is_holdout


class Models:
    """Challenger, champion and reference; each version is loaded and scored once."""

    def __init__(self, registry: Registry, manifest: Manifest, opponents: Opponents) -> None:
        self.manifest, self.opponents = manifest, opponents
        manifests = (manifest, opponents.champion, opponents.reference)
        by_version = {model.version: model for model in manifests if model}
        self._loaded = [(model, registry.versions.load(model)) for model in by_version.values()]

    def __iter__(self) -> Iterator[tuple[Manifest, Pipeline]]:
        return iter(self._loaded)

    def scored(
        self, labels: Labels, answer: Callable[[Manifest, Pipeline], Probabilities]
    ) -> Scored:
        """All models on the same reviews; ``answer`` returns what one of them says."""
        answers = {each.version: answer(each, model) for each, model in self}

        def of(manifest: Manifest | None) -> Probabilities | None:
            return answers[manifest.version] if manifest else None

        opponents = self.opponents
        challenger = answers[self.manifest.version]
        return Scored(labels, challenger, of(opponents.champion), of(opponents.reference))


class PackRows:
    """Some rows of a pack, in order, and what models read of them; each view is read once."""

    def __init__(self, reviews: Bucket, pack: Pack, rows: Rows) -> None:
        self.reviews, self.pack, self.rows = reviews, pack, rows
        self._fingerprints: dict[View, Fingerprints] = {}

    def inputs(self, model: Pipeline) -> Fingerprints | list[str]:
        if not reads_fingerprints(model):
            texts = read_pack(self.reviews, self.pack, ["text"]).column("text")
            taken: list[str] = texts.take(pa.array(self.rows)).to_pylist()
            return taken
        view = view_of(model)
        if view not in self._fingerprints:
            every = pack_fingerprints(self.reviews, self.pack, view)
            self._fingerprints[view] = every.take(self.rows)
        return self._fingerprints[view]

    def answers(self, model: Pipeline) -> Probabilities:
        return probabilities(model, self.inputs(model))


# Shared out


@dataclass(frozen=True)
class KeptAnswers:
    """What was answered about the packs of a snapshot under the rules in force.

    Attributes
    ----------
    policy : str
        Digest of code, libraries and settings: with others, others are kept.
    """

    reviews: Bucket
    snapshot: Snapshot
    policy: str

    def find(self, manifest: Manifest, part: PackRows) -> Probabilities | None:
        return find_answers(self.reviews, self._name(manifest, part.pack), part.pack, part.rows)

    def fill(self, models: Models, pack: Pack, classes: tuple[StarClass, ...]) -> None:
        """Score a pack with the models whose answers are not kept yet."""
        part = PackRows(self.reviews, pack, self._held_out(pack, classes))
        for manifest, model in models:
            if scorer_of(model) is not None and self.find(manifest, part) is None:
                name = self._name(manifest, pack)
                put_answers(self.reviews, name, part.rows, part.answers(model))

    def _name(self, manifest: Manifest, pack: Pack) -> str:
        split = [self.snapshot.salt, self.snapshot.holdout_share]
        made_of = [manifest.version, manifest.digest(), pack.sha256, split, self.policy]
        return sha256_of(canonical_json(made_of))

    def _held_out(self, pack: Pack, classes: tuple[StarClass, ...]) -> Rows:
        """The rows of the films that are held out; `evaluate` takes some of them."""
        parts = Identities.read(self.reviews, pack, classes)
        films = [film for part in parts for film in part.film.to_pylist()]
        held = is_holdout(films, share=self.snapshot.holdout_share, salt=self.snapshot.salt)
        return np.flatnonzero(np.array([held[film] for film in films], np.bool_))


def shares_to_score(snapshot: Snapshot, settings: TrainingSettings) -> list[Share]:
    """The shares of the packs that tasks of their own score; none where one task is enough."""
    found = shares(len(list(packed(snapshot.partitions))), settings.packs_per_task)
    return found if len(found) > 1 else []


def score_share(
    reviews: Bucket, registry: Registry, manifest: Manifest, policy: str, share: Share
) -> int:
    """Keep the signatures and answers of a share of the packs; returns how many packs that are."""
    snapshot, (number, of) = pinned(reviews, manifest.plan), share
    packs = list(packed(snapshot.partitions))[number::of]
    kept = KeptAnswers(reviews, snapshot, policy)
    with threadpool_limits(limits=1):
        models = Models(registry, manifest, find_opponents(registry))
        for pack in packs:
            pack_signatures(reviews, pack)
            kept.fill(models, pack, manifest.plan.classes)
    return len(packs)
