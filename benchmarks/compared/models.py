"""Models that others are compared with, as functions of the seed."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import Pipeline

FORMER: dict[str, Any] = {
    "late_weight": 1.0, "floor": 0.0, "dropout": 0.0, "step": 0.2, "epochs": 3, "averaged": 1,
}  # fmt: skip
"""Parameters of `fingerprint_svm` that give the default candidate of before."""


def former_default(*, seed: int) -> Pipeline:
    """The default candidate before late n-grams, the floor and dropout."""
    from pipelines.models.factories import fingerprint_svm

    return fingerprint_svm(seed=seed, **FORMER)


def default_candidate(*, seed: int) -> Pipeline:
    """`fingerprint_svm` with the parameters of the default configuration."""
    return _as_configured("fingerprint_svm", seed=seed)


def two_views(*, seed: int) -> Pipeline:
    """`fingerprint_svm_views` with the parameters of the default configuration."""
    return _as_configured("fingerprint_svm_views", seed=seed)


def _as_configured(name: str, *, seed: int) -> Pipeline:
    import importlib

    from pipelines.core.config import CONFIG_FOLDER, load

    candidate = load(CONFIG_FOLDER / "default.toml").candidates[name]
    module, _, function = candidate.factory.partition(":")
    model: Pipeline = getattr(importlib.import_module(module), function)(
        seed=seed, **candidate.parameters
    )
    return model
