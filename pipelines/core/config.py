"""The settings: read here, once, and passed down. Thresholds live in TOML, each with its unit."""

from __future__ import annotations

import functools
import os
import sysconfig
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipelines.core.errors import ConfigError
from pipelines.core.settings.model import EvaluationSettings, ModelSettings
from pipelines.core.settings.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]  # where `pipelines` lies
# In a checkout or an image next to `pipelines`; if only a wheel is installed, in its data folder.
_INSTALLED = Path(sysconfig.get_path("data")) / "share" / "retraining-loop" / "config"
CONFIG_FOLDER = PROJECT / "config" if (PROJECT / "config").is_dir() else _INSTALLED
CONFIG_VARIABLE = "LOOP_CONFIG"


def load(path: Path | None = None) -> Settings:
    """The settings of this environment.

    Parameters
    ----------
    path : Path, optional
        An environment's TOML file, laid over ``config/default.toml``, or over the file beside it
        that its first line ``extends = "..."`` names. Without it the file that the variable
        ``LOOP_CONFIG`` names, or the defaults alone.

    Raises
    ------
    ConfigError
        If a file is missing, is not TOML, or holds an unknown key or an impossible value.
    """
    if path is None:
        file_name = os.environ.get(CONFIG_VARIABLE)
        path = Path(file_name) if file_name else CONFIG_FOLDER / "default.toml"
    return _load(path.resolve())


@functools.cache
def _load(path: Path) -> Settings:
    default = path.parent / "default.toml"
    if not default.is_file():
        default = CONFIG_FOLDER / "default.toml"
    merged = _read_toml(default)
    for layer in _layers(path, default):
        merged = _overlay(merged, layer)
    return _checked(merged, path)


def _layers(path: Path, default: Path) -> list[dict[str, Any]]:
    """What a file and those that it extends lay over the defaults, the lowest first."""
    layers: list[dict[str, Any]] = []
    seen = {default}
    while path not in seen:
        seen.add(path)
        layers.insert(0, _read_toml(path))
        base = layers[0].pop("extends", None)
        if not isinstance(base, str | None):
            raise ConfigError(f"{path} cannot be used: extends must be the name of a file")
        path = (path.parent / base).resolve() if base else default
    if path != default:
        raise ConfigError(f"{path} cannot be used: it extends itself")
    return layers


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read the configuration {path}: {error.strerror}. "
            f"Set {CONFIG_VARIABLE} to an existing TOML file, e.g. config/default.toml"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def _overlay(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        both_tables = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _overlay(merged[key], value) if both_tables else value
    return merged


def _checked(values: Mapping[str, Any], path: Path) -> Settings:
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path} cannot be used: {faults(error)}") from error
    return with_candidates(_located(settings, path), settings.training.candidates)


def faults(error: ValidationError) -> str:
    """What is wrong where, in one line; places in a list are counted from 1."""
    return "; ".join(f"{_place(fault['loc'])}: {fault['msg']}" for fault in error.errors())


def _place(parts: tuple[int | str, ...]) -> str:
    steps = (f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in parts)
    return "".join(steps).removeprefix(".") or "the whole"


def _located(settings: Settings, path: Path) -> Settings:
    """The same settings with absolute paths in ``[evaluation]``."""
    relative = settings.evaluation
    located = EvaluationSettings(
        golden_file=_find("golden_file", relative.golden_file, path),
        behaviour_folder=_find("behaviour_folder", relative.behaviour_folder, path),
    )
    return settings.model_copy(update={"evaluation": located})


def _find(key: str, name: Path, path: Path) -> Path:
    """``name`` in the folder of the file that was loaded, else in ``config/``."""
    places = list(dict.fromkeys(folder / name for folder in (path.parent, CONFIG_FOLDER)))
    path_found = next((place for place in places if place.exists()), None)
    if path_found is None:
        looked = " and ".join(map(str, places))
        raise ConfigError(
            f"{path} cannot be used: evaluation.{key} is {str(name)!r}, but nothing is at {looked}"
        )
    return path_found


def with_candidates(settings: Settings, names: tuple[str, ...]) -> Settings:
    """The same settings with other candidates to train.

    Raises
    ------
    ConfigError
        If a name is not one of ``[candidates.*]``, is given twice, or no name is given.
    """
    unknown = [name for name in names if name not in settings.candidates]
    if unknown or not names or len(set(names)) != len(names):
        raise ConfigError(
            f"training.candidates is {list(names)}; it must name at least one of "
            f"{sorted(settings.candidates)}, each once"
        )
    training = settings.training.model_copy(update={"candidates": tuple(names)})
    return settings.model_copy(update={"training": training})


def with_seed(settings: Settings, seed: int) -> Settings:
    """The same settings with another seed for training."""
    try:
        model = ModelSettings.model_validate({**settings.model.model_dump(), "seed": seed})
    except ValidationError as error:
        raise ConfigError(f"seed is {seed}; it must lie in 0 ... 2**32 - 1") from error
    return settings.model_copy(update={"model": model})
