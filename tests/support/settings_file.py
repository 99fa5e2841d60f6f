"""Settings files for tests: ``config/test.toml`` with other values laid over it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TEST_SETTINGS = Path(__file__).resolve().parents[2] / "config" / "test.toml"


def write_settings(path: Path, sections: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write the tests' settings with the given sections laid over them; returns the path."""
    merged = tomllib.loads(_TEST_SETTINGS.read_text(encoding="utf-8"))
    for section, values in sections.items():
        merged[section] = {**merged.get(section, {}), **values}
    path.write_text(_as_toml(merged), encoding="utf-8")
    return path


def _as_toml(values: Mapping[str, Any]) -> str:
    """TOML of nested tables; each other value is written as JSON, which TOML reads alike."""
    return "".join(f"{name} = {_toml_value(value)}\n" for name, value in values.items())


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{name} = {_toml_value(each)}" for name, each in value.items())
        return f"{{ {inner} }}"
    return json.dumps(value)
