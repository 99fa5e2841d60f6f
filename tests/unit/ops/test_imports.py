"""Every module of the project that some file imports exists, also where no test calls the line."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from pipelines.core.config import PROJECT

FILES = sorted(
    path.relative_to(PROJECT).as_posix()
    for folder in ("benchmarks", "ops", "dags", "plugins", "pipelines")
    for path in (PROJECT / folder).rglob("*.py")
    if "preload" not in path.parts
)
OURS = {"pipelines", "benchmarks", "ops"}


def imported(path: Path) -> set[tuple[str, str | None]]:
    """Modules of ours that a file imports, near its top or inside functions, with the names."""
    found: set[tuple[str, str | None]] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {(alias.name, None) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {(node.module, alias.name) for alias in node.names}
    return {(module, name) for module, name in found if module.partition(".")[0] in OURS}


def is_there(module: str, name: str | None) -> bool:
    try:
        there = importlib.import_module(module)
        if name is None or hasattr(there, name):
            return True
        importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return False
    return True


@pytest.mark.parametrize("path", FILES)
def test_what_a_file_imports_of_ours_exists(path):
    missing = {line for line in imported(PROJECT / path) if not is_there(*line)}

    assert missing == set()


def test_a_module_that_is_gone_is_noticed():
    assert not is_there("pipelines.search", None)
    assert not is_there("pipelines.training", "no_such_thing")
    assert is_there("pipelines.training", "search")
