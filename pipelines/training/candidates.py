"""Turn configured candidates into models: what to try, how to build it, what it reads."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from itertools import product
from typing import Any, cast

from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from pipelines.core.errors import ConfigError, StalePlanError
from pipelines.core.record import canonical_json
from pipelines.core.settings.model import CandidateSettings
from pipelines.core.settings.settings import Settings
from pipelines.features.fingerprints import Fingerprints
from pipelines.models.factories import reads_fingerprints, view_of
from pipelines.records.versions import Plan
from pipelines.training.dataset import Dataset, Rows


def settings_to_try(settings: Settings) -> dict[str, dict[str, Any]]:
    """Factory and parameters by name: each candidate once per combination of its grid.

    Raises
    ------
    ConfigError
        If there are more than the budget allows.
    """
    expanded: dict[str, dict[str, Any]] = {}
    for name in settings.training.candidates:
        expanded |= _combinations(name, settings.candidates[name])
    budget = settings.training.max_settings
    if len(expanded) > budget:
        raise ConfigError(
            f"the candidates and their grids make {len(expanded)} settings to try; "
            f"training.max_settings allows {budget}. Shorten a grid or raise the budget."
        )
    return expanded


def _combinations(name: str, candidate: CandidateSettings) -> dict[str, dict[str, Any]]:
    grid = dict(sorted(candidate.grid.items()))
    expanded = {}
    for values in product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        label = " ".join([name, *(f"{key}={value}" for key, value in chosen.items())])
        parameters = {**candidate.parameters, **chosen}
        expanded[label] = {"factory": candidate.factory, "parameters": parameters}
    return expanded


def check_configured(plan: Plan, settings: Settings) -> None:
    """Refuse a plan whose code or parameters differ from the configuration.

    So nothing is imported only because a record names it.

    Raises
    ------
    StalePlanError
        If a candidate of the plan is not configured, or configured differently.
    """
    for label, planned in plan.candidates.items():
        name = label.partition(" ")[0]
        candidate = settings.candidates.get(name)
        configured = _combinations(name, candidate).get(label) if candidate else None
        if canonical_json(configured) != canonical_json(planned):
            raise StalePlanError(
                f"version {plan.version} is not trained: it was planned with candidate {label!r} "
                f"as {planned}, but the configuration has {configured}. Start a new run: "
                "python -m pipelines retrain"
            )


def build(plan: Plan, candidate: str) -> Pipeline:
    """An unfitted model of a plan that passed `check_configured`.

    Raises
    ------
    ConfigError
        If the factory cannot be imported or does not take the parameters.
    """
    setting: Mapping[str, Any] = plan.candidates[candidate]
    module, _, function = str(setting["factory"]).partition(":")
    count = len(plan.class_names)
    try:
        factory = getattr(importlib.import_module(module), function)
        given = {"classes": count} if "classes" in inspect.signature(factory).parameters else {}
        return cast("Pipeline", factory(seed=plan.seed, **given, **setting["parameters"]))
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"candidates.{candidate}: {setting['factory']} with {setting['parameters']} "
            f"cannot be built: {error}"
        ) from error


def check_classes(plan: Plan, candidate: str, model: Pipeline) -> None:
    """Refuse a model that cannot answer with as many classes as the plan has.

    Raises
    ------
    ConfigError
        If a step separates two classes and there are more.
    """
    count = len(plan.class_names)
    for _, step in model.steps if count > 2 else ():
        tags = get_tags(step).classifier_tags
        if tags is not None and not tags.multi_class:
            raise ConfigError(
                f"candidates.{candidate}: {type(step).__name__} separates two classes, and model "
                f"{plan.model_name} has {count}: {', '.join(plan.class_names)}. Name other "
                "candidates in training.candidates; docs/classes.md lists those that can"
            )


def inputs_for(model: Pipeline, dataset: Dataset, rows: Rows) -> Fingerprints | list[str]:
    """The model's input for the given rows: cached fingerprints if it reads them, else texts."""
    if reads_fingerprints(model):
        return dataset.fingerprints(rows, view_of(model))
    return dataset.texts(rows)
