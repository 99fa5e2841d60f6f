"""A champion as the folder of an MLflow model, written without MLflow."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from typing import Any

from pipelines.core import provenance
from pipelines.core.config import PROJECT
from pipelines.exports.promoted import Promoted
from pipelines.exports.pyfunc import FACTS, MODEL, TEXT
from pipelines.models.answers import class_column

LOADER = "pipelines.exports.pyfunc"
REQUIREMENTS = ("numpy", "pandas", "scikit-learn", "scipy", "skops")


def files(promoted: Promoted, *, run_id: str, at: str) -> dict[str, bytes]:
    """Path within the model's folder to bytes.

    The code that computes features and reads the model file goes with it: MLflow's consumers do
    not have this project installed.
    """
    manifest = promoted.manifest
    facts: dict[str, Any] = {
        "version": manifest.version, "generation": promoted.entry.generation,
        "model_sha256": manifest.model_sha256, "featurizer": manifest.featurizer,
    }  # fmt: skip
    names = manifest.plan.class_names
    if manifest.plan.classes:
        facts["classes"] = list(names)
    requirements = [f"{name}=={metadata.version(name)}" for name in REQUIREMENTS]
    texts = {
        "MLmodel": _description(run_id, at, names if len(names) > 2 else ()),
        "requirements.txt": "".join(f"{line}\n" for line in requirements),
        "python_env.yaml": _as_yaml(
            {"python": platform.python_version(), "dependencies": ["-r requirements.txt"]}
        ),
        f"data/{FACTS}": json.dumps(facts, indent=2, sort_keys=True) + "\n",
    }
    return {
        **{name: text.encode("utf-8") for name, text in texts.items()},
        f"data/{MODEL}": promoted.model,
        **{f"code/{name}": data for name, data in code().items()},
    }


def code() -> dict[str, bytes]:
    """The modules that the loader imports, and the packages that they are in."""
    modules = {
        name: path.read_bytes() for name, path in provenance.imported((LOADER,), PROJECT).items()
    }
    folders = {name.rpartition("/")[0] for name in modules} | {"pipelines"}
    packages = {f"{folder}/__init__.py": b"" for folder in sorted(folders)}
    return {**packages, **modules}


def _description(run_id: str, at: str, class_names: tuple[str, ...]) -> str:
    column = {"type": "string", "name": TEXT, "required": True}
    answer = [
        {"type": "string", "name": "label", "required": True},
        {"type": "double", "name": "probability", "required": True},
        {"type": "string", "name": "version", "required": True},
        *({"type": "double", "name": class_column(name), "required": True} for name in class_names),
    ]
    return _as_yaml(
        {
            "artifact_path": "model",
            "flavors": {
                "python_function": {
                    "code": "code",
                    "data": "data",
                    "env": {"virtualenv": "python_env.yaml"},
                    "loader_module": LOADER,
                    "python_version": platform.python_version(),
                }
            },
            "run_id": run_id,
            "signature": {
                "inputs": json.dumps([column]), "outputs": json.dumps(answer), "params": None,
            },
            "utc_time_created": at,
        }
    )  # fmt: skip


def _as_yaml(value: Any) -> str:
    """JSON is YAML."""
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
