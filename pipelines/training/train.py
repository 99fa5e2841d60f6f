"""Plan a version, fit its candidates on one shared set of rows, keep the best, commit it.

A plan contains everything that determines a model's bytes, and its digest is the version: the same
reviews, code, settings, libraries and seed give the same version, which is not trained twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from threadpoolctl import threadpool_limits

from pipelines.core.errors import NoReviewsError, StalePlanError
from pipelines.core.keys import model_file_key
from pipelines.core.provenance import TRAINING, code_digest, environment_digest, module_digest
from pipelines.core.record import canonical_json, sha256_of
from pipelines.core.settings.settings import Settings
from pipelines.core.store.bucket import Bucket
from pipelines.features.fingerprints import FEATURIZER_VERSION
from pipelines.intake.snapshot import pinned
from pipelines.models.artefacts import dump_model
from pipelines.models.factories import views_of
from pipelines.records.data import Snapshot
from pipelines.records.versions import Manifest, Plan, StarClass
from pipelines.registry.registry import Registry
from pipelines.training.candidates import check_configured, settings_to_try
from pipelines.training.compute import opened
from pipelines.training.dataset import Dataset, check_same_classes, ids_digest, load_dataset
from pipelines.training.search import Selection, find_best

logger = logging.getLogger(__name__)

OnStep = Callable[[str], None]


def _quiet(_step: str) -> None:
    pass


def make_plan(snapshot: Snapshot, settings: Settings) -> Plan:
    """Everything that determines the bytes of the model to train."""
    candidates = settings_to_try(settings)
    return Plan(
        model_name=settings.model.name,
        snapshot=snapshot.digest(),
        candidates=candidates,
        min_training_rows=settings.training.min_training_rows,
        folds=settings.training.folds,
        keep_share=settings.training.keep_share,
        seed=settings.model.seed,
        code=_code_of(candidates),
        environment=environment_digest(),
        classes=tuple(
            StarClass(name=name, low=low, high=high)
            for name, (low, high) in settings.model.classes.items()
        ),
    )


def train(
    reviews: Bucket,
    registry: Registry,
    plan: Plan,
    settings: Settings,
    *,
    on_step: OnStep = _quiet,
) -> Manifest:
    """Fit the plan's candidates and commit the best one as a version.

    Several settings are compared by cross-validation over films (`training.search`); the one with
    the lowest log loss is fitted to all training rows. The holdout is never touched.

    Raises
    ------
    NoReviewsError
        If there are too few training rows, or none of a class.
    ConfigError
        If the champion answers with other classes.
    """
    trained = registry.versions.find_version(plan.version)
    if trained is not None:
        logger.info("version=%s is already trained", plan.version)
        return trained
    check_configured(plan, settings)
    _check_current(plan)
    champion = registry.log.champion()
    if champion is not None:
        check_same_classes(plan, registry.versions.champion_manifest(champion).plan)
    snapshot = pinned(reviews, plan)
    dataset = load_dataset(reviews, snapshot, plan.classes)
    _check_trainable(dataset, plan)
    # One thread: the same bytes whatever the number of cores.
    with threadpool_limits(limits=1), opened(settings.training.cluster) as compute:
        selection = find_best(dataset, plan, on_step, compute)
    model = dump_model(selection.model)
    return registry.versions.add_version(_manifest(plan, dataset, selection, model), model)


def _check_current(plan: Plan) -> None:
    """The version's name covers the code, so other code must not write that version."""
    planned = (plan.code, plan.environment)
    current = (_code_of(plan.candidates), environment_digest())
    if planned != current:
        raise StalePlanError(
            f"version {plan.version} was planned by code {plan.code[:12]} with libraries "
            f"{plan.environment[:12]}; current are {current[0][:12]} and {current[1][:12]}. "
            "Something was deployed since. Start a new run: python -m pipelines retrain"
        )


def _code_of(candidates: Mapping[str, Mapping[str, Any]]) -> str:
    """Digest of what training imports, and of the modules of the candidates' factories."""
    modules = sorted({str(setting["factory"]).partition(":")[0] for setting in candidates.values()})
    own = [name for name in modules if name.startswith("pipelines.")]
    foreign = [module_digest(name) for name in modules if name not in own]
    return sha256_of(canonical_json([code_digest(*TRAINING, *own), foreign]))


def _check_trainable(dataset: Dataset, plan: Plan) -> None:
    labels = dataset.label[dataset.training_rows]
    if len(labels) < plan.min_training_rows:
        raise NoReviewsError(
            f"{len(labels):,} training rows; training.min_training_rows asks for "
            f"{plan.min_training_rows:,}. Wait for more deliveries."
        )
    names = plan.class_names
    missing = [name for number, name in enumerate(names) if not (labels == number).any()]
    if len(names) - len(missing) == 1 and not plan.classes:
        raise NoReviewsError(
            f"all {len(labels):,} training rows have the same label; both classes are needed"
        )
    if missing:
        raise NoReviewsError(
            f"none of the {len(labels):,} training rows is of class {' or '.join(missing)}. "
            "Wait for more deliveries with ratings, or change model.classes."
        )


def _manifest(plan: Plan, dataset: Dataset, selection: Selection, model: bytes) -> Manifest:
    sha256 = sha256_of(model)
    return Manifest(
        model_name=plan.model_name,
        version=plan.version,
        plan=plan,
        candidate=selection.candidate,
        selection=selection.scores,
        featurizer=FEATURIZER_VERSION if views_of(selection.model) else None,
        training_rows=len(dataset.training_rows),
        holdout_rows=len(dataset.holdout_rows),
        duplicate_rows=dataset.duplicate_rows,
        classless_rows=dataset.classless_rows,
        training_digest=ids_digest(dataset.text_id[dataset.training_rows]),
        model_key=model_file_key(plan.model_name, plan.version, sha256),
        model_sha256=sha256,
        model_size_bytes=len(model),
    )
