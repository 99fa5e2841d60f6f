"""Which code and which libraries did this: digests that go into every record."""

from __future__ import annotations

import functools
import importlib.util
import platform
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel

from pipelines.core.config import behaviour_path, golden_path
from pipelines.core.errors import ConfigError
from pipelines.core.record import canonical_json, sha256_of
from pipelines.core.settings import Settings

# Libraries whose version can change a model's bytes or a validation's answer.
_LIBRARIES = ("great-expectations", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "skops")


@functools.cache
def code_digest() -> str:
    """sha256 over this package's source files; the same in a checkout and in an image."""
    folder = Path(__file__).resolve().parent
    files = {path.name: sha256_of(path.read_bytes()) for path in sorted(folder.glob("*.py"))}
    return sha256_of(canonical_json(files))


def module_digest(name: str) -> str:
    """sha256 over the source file of a module outside this package.

    Raises
    ------
    ConfigError
        If there is no such module or it has no source file.
    """
    try:
        found = importlib.util.find_spec(name)
        origin = found.origin if found else None
        return sha256_of(Path(origin or "").read_bytes())
    except (ImportError, OSError, ValueError) as error:
        raise ConfigError(f"module {name!r} of a candidate's factory: {error}") from error


@functools.cache
def environment_digest() -> str:
    """sha256 over the Python version and the versions of the libraries that matter."""
    versions = {name: metadata.version(name) for name in _LIBRARIES}
    versions["python"] = ".".join(platform.python_version_tuple()[:2])
    return sha256_of(canonical_json(versions))


def rules_digest(*sections: BaseModel) -> str:
    """Names the rules in force: settings, code and libraries that can change an answer."""
    values = {
        "settings": [section.model_dump(mode="json") for section in sections],
        "code": code_digest(),
        "environment": environment_digest(),
    }
    return sha256_of(canonical_json(values))


def gate_policy(settings: Settings) -> str:
    """Names everything that a verdict depends on besides the models and the reviews."""
    files = [golden_path(settings), *sorted(behaviour_path(settings).glob("*.toml"))]
    try:
        contents = {path.name: sha256_of(path.read_bytes()) for path in files}
    except OSError as error:
        raise ConfigError(
            f"cannot read the golden set or the behavioural suite: {error}. "
            "[evaluation] in the configuration says where they are"
        ) from error
    return sha256_of(canonical_json([rules_digest(settings.gate), contents]))
