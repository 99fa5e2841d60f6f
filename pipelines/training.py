"""Plan a version, fit its candidates on one shared set of rows, keep the best, commit it.

A plan holds everything that decides a model's bytes, and its digest is the version: the same
reviews, code, settings, libraries and seed are the same version, which is not trained twice.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, log_loss
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from pipelines.artefacts import dump_model
from pipelines.config import Settings
from pipelines.dataset import Dataset, Rows, ids_digest, load_dataset
from pipelines.errors import ConfigError, FitError, NoReviewsError, StalePlanError
from pipelines.fingerprints import FEATURIZER_VERSION, Fingerprints
from pipelines.models import fingerprint_parameters, reads_fingerprints
from pipelines.provenance import code_digest, environment_digest, module_digest
from pipelines.records import CandidateScore, Manifest, Plan, Snapshot, canonical_json, sha256_of
from pipelines.registry import Registry
from pipelines.store import Bucket

logger = logging.getLogger(__name__)

OnStep = Callable[[str], None]


def _quiet(_step: str) -> None:
    pass


def make_plan(snapshot_key: str, snapshot: Snapshot, settings: Settings) -> Plan:
    """Everything that decides the bytes of the model to train."""
    candidates = {
        name: settings.candidates[name].model_dump(mode="json")
        for name in settings.training.candidates
    }
    return Plan(
        model_name=settings.model.name,
        snapshot_key=snapshot_key,
        snapshot=snapshot.digest(),
        candidates=candidates,
        min_training_rows=settings.training.min_training_rows,
        seed=settings.model.seed,
        code=_code_of(candidates),
        environment=environment_digest(),
    )


def build(plan: Plan, candidate: str) -> Pipeline:
    """An unfitted model of the plan, from the factory that the configuration names.

    Raises
    ------
    ConfigError
        If the factory cannot be imported or does not take the parameters.
    """
    named = plan.candidates[candidate]
    module, _, function = str(named["factory"]).partition(":")
    try:
        factory = getattr(importlib.import_module(module), function)
        return cast("Pipeline", factory(seed=plan.seed, **named["parameters"]))
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"candidates.{candidate}: {named['factory']} with {named['parameters']} "
            f"cannot be built: {error}"
        ) from error


def inputs_for(model: Pipeline, dataset: Dataset, rows: Rows) -> Fingerprints | list[str]:
    """What this model reads of the given rows: cached fingerprints if it can, else the texts."""
    if reads_fingerprints(model):
        ngram_max, bits = fingerprint_parameters(model)
        return dataset.fingerprints(rows, ngram_max=ngram_max, bits=bits)
    return dataset.texts(rows)


def positive_probability(model: Pipeline, inputs: Any) -> NDArray[np.float64]:
    """Probability of the positive class per review, shape (n_reviews,)."""
    column = list(model.classes_).index(1)
    probabilities: NDArray[np.float64] = model.predict_proba(inputs)[:, column]
    return probabilities


@dataclass(frozen=True)
class _Fitted:
    candidate: str
    model: Pipeline
    selection: tuple[CandidateScore, ...]


def train(reviews: Bucket, registry: Registry, plan: Plan, *, on_step: OnStep = _quiet) -> Manifest:
    """Fit the plan's candidates and commit the best one as a version.

    With several candidates each is fitted without the selection films and scored on them; the
    one of lowest log loss is fitted again on all training rows. The holdout is never touched.

    Raises
    ------
    NoReviewsError
        If there are too few training rows, or all of one class.
    """
    known = registry.find_version(plan.version)
    if known is not None:
        logger.info("version=%s is already trained", plan.version)
        return known
    _check_current(plan)
    snapshot = reviews.get_record(plan.snapshot_key, Snapshot)
    dataset = load_dataset(reviews, snapshot)
    _check_trainable(dataset, plan)
    with threadpool_limits(limits=1):  # the same bytes whatever the number of cores
        fitted = _fit_best(dataset, plan, on_step)
    model = dump_model(fitted.model)
    return registry.add_version(_manifest(registry, plan, dataset, fitted, model), model)


def _check_current(plan: Plan) -> None:
    """A version's name promises which code made it, so other code must not fill it."""
    planned = (plan.code, plan.environment)
    here = (_code_of(plan.candidates), environment_digest())
    if planned != here:
        raise StalePlanError(
            f"version {plan.version} was planned by code {plan.code[:12]} with libraries "
            f"{plan.environment[:12]}; here are {here[0][:12]} and {here[1][:12]}. Something was "
            "deployed since. Start a new run: python -m pipelines retrain"
        )


def _code_of(candidates: Mapping[str, Mapping[str, Any]]) -> str:
    """Digest of this package, and of the modules of factories that lie outside of it."""
    modules = {str(named["factory"]).partition(":")[0] for named in candidates.values()}
    foreign = sorted(name for name in modules if name.partition(".")[0] != __package__)
    if not foreign:
        return code_digest()
    return sha256_of(canonical_json([code_digest(), [module_digest(name) for name in foreign]]))


def _check_trainable(dataset: Dataset, plan: Plan) -> None:
    labels = dataset.label[dataset.training_rows]
    if len(labels) < plan.min_training_rows:
        raise NoReviewsError(
            f"{len(labels):,} training rows; training.min_training_rows asks for "
            f"{plan.min_training_rows:,}. Wait for more deliveries."
        )
    if len(np.unique(labels)) != 2:
        raise NoReviewsError(
            f"all {len(labels):,} training rows have the same label; both classes are needed"
        )


def _fit_best(dataset: Dataset, plan: Plan, on_step: OnStep) -> _Fitted:
    names = sorted(plan.candidates)
    scores: tuple[CandidateScore, ...] = ()
    if len(names) > 1:
        scores = tuple(_score_candidate(dataset, plan, name, on_step) for name in names)
        names = [min(scores, key=lambda score: (score.log_loss, score.name)).name]
    on_step(f"fitting {names[0]} on all training rows")
    model = _fit(plan, names[0], dataset, dataset.training_rows)
    return _Fitted(names[0], model, scores)


def _score_candidate(dataset: Dataset, plan: Plan, name: str, on_step: OnStep) -> CandidateScore:
    on_step(f"comparing candidate {name}")
    chosen = np.flatnonzero(dataset.is_selection)
    others = np.flatnonzero(~dataset.is_selection & ~dataset.is_holdout)
    model = _fit(plan, name, dataset, others)
    probability = positive_probability(model, inputs_for(model, dataset, chosen))
    return CandidateScore(
        name=name,
        log_loss=float(log_loss(dataset.label[chosen], probability, labels=[0, 1])),
        accuracy=float(accuracy_score(dataset.label[chosen], probability >= 0.5)),
    )


def _fit(plan: Plan, name: str, dataset: Dataset, rows: Rows) -> Pipeline:
    model = build(plan, name)
    inputs = inputs_for(model, dataset, rows)
    try:
        return cast("Pipeline", model.fit(inputs, dataset.label[rows]))
    except ValueError as error:
        raise FitError(
            f"candidate {name} cannot be fitted on {len(rows):,} reviews: {error}"
        ) from error


def _manifest(
    registry: Registry, plan: Plan, dataset: Dataset, fitted: _Fitted, model: bytes
) -> Manifest:
    sha256 = sha256_of(model)
    return Manifest(
        model_name=plan.model_name,
        version=plan.version,
        plan=plan,
        candidate=fitted.candidate,
        selection=fitted.selection,
        featurizer=FEATURIZER_VERSION if reads_fingerprints(fitted.model) else None,
        training_rows=len(dataset.training_rows),
        holdout_rows=len(dataset.holdout_rows),
        duplicate_rows=dataset.duplicate_rows,
        training_digest=ids_digest(dataset.text_id[dataset.training_rows]),
        model_key=registry.model_key(plan.version, sha256),
        model_sha256=sha256,
        model_size_bytes=len(model),
    )
