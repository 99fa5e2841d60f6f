"""Digests of the code and the libraries in use, which go into every record."""

from __future__ import annotations

import functools
import importlib.util
import platform
import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel

from pipelines.core.config import PROJECT
from pipelines.core.errors import ConfigError
from pipelines.core.record import canonical_json, sha256_of
from pipelines.core.settings.settings import Settings

# Libraries whose version can change a model's bytes or a validation's answer.
_LIBRARIES = (
    "ftfy",
    "great-expectations",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "skops",
)


# Where each stage starts: everything that these modules import, at any depth, can change its
# answer.
# `clean_room` is started by its name, so no import leads there.
TRAINING = ("pipelines.training.train",)
VALIDATION = ("pipelines.validation.validate",)
MONITORING = ("pipelines.monitoring.windows",)
ANSWERS = ("pipelines.monitoring.answers",)
GATE = (
    "pipelines.evaluation.evaluate", "pipelines.evaluation.verify",
    "pipelines.evaluation.clean_room", "pipelines.gate.decide",
)  # fmt: skip

_IMPORT = re.compile(r"^[ \t]*from (pipelines(?:\.\w+)*) import (\([^)]*\)|.+)$", re.MULTILINE)


@functools.cache
def code_digest(*modules: str) -> str:
    """sha256 over these modules' source files and those of all that they import of this package.

    It is the same in a checkout and in an image, and does not change when other code does.
    """
    files = {
        name: sha256_of(path.read_bytes()) for name, path in imported(modules, PROJECT).items()
    }
    return sha256_of(canonical_json(files))


def imported(modules: Iterable[str], project: Path) -> dict[str, Path]:
    """These modules and those that they import of this package: relative path to file, sorted."""
    files: dict[str, Path] = {}
    names_left = list(modules)
    while names_left:
        name = names_left.pop()
        path = project.joinpath(*name.split(".")).with_suffix(".py")
        relative = path.relative_to(project).as_posix()
        if relative in files or not path.is_file():  # a package has no source file of its own
            continue
        files[relative] = path
        for source, names in _IMPORT.findall(path.read_text(encoding="utf-8")):
            names_left += [source, *(f"{source}.{name}" for name in re.findall(r"\w+", names))]
    return dict(sorted(files.items()))


def module_digest(name: str) -> str:
    """sha256 over the source file of a module outside this package.

    Raises
    ------
    ConfigError
        If the module does not exist or has no source file.
    """
    try:
        spec = importlib.util.find_spec(name)
        origin = spec.origin if spec else None
        return sha256_of(Path(origin or "").read_bytes())
    except (ImportError, OSError, ValueError) as error:
        raise ConfigError(f"module {name!r} of a candidate's factory: {error}") from error


@functools.cache
def environment_digest() -> str:
    """sha256 over the Python version and the versions of the libraries that matter."""
    versions = {name: metadata.version(name) for name in _LIBRARIES}
    versions["python"] = ".".join(platform.python_version_tuple()[:2])
    return sha256_of(canonical_json(versions))


def rules_digest(stage: tuple[str, ...], *sections: BaseModel) -> str:
    """Digest of the rules in force: settings, code and libraries that can change an answer."""
    values = {
        "settings": [section.model_dump(mode="json") for section in sections],
        "code": code_digest(*stage),
        "environment": environment_digest(),
    }
    return sha256_of(canonical_json(values))


def gate_policy(settings: Settings) -> str:
    """Digest of everything that a verdict depends on, except the models and the reviews."""
    files = [
        settings.evaluation.golden_file,
        *sorted(settings.evaluation.behaviour_folder.glob("*.toml")),
    ]
    try:
        contents = {path.name: sha256_of(path.read_bytes()) for path in files}
    except OSError as error:
        raise ConfigError(
            f"cannot read the golden set or the behavioural suite: {error}. "
            "Check the paths under [evaluation] in the configuration"
        ) from error
    return sha256_of(canonical_json([rules_digest(GATE, settings.gate), contents]))
