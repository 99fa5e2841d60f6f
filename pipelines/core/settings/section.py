"""What every section of the configuration is: frozen, and without unknown names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Share = Field(ge=0.0, le=1.0)
MOST_DAYS = 36_500  # a century: any date minus this is still a valid date


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def overlay(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one table over another, key by key; any other value replaces what was there."""
    merged = dict(base)
    for key, value in top.items():
        both_tables = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = overlay(merged[key], value) if both_tables else value
    return merged


def faults(error: ValidationError, within: str = "") -> str:
    """What is wrong where, in one line; places in a list are counted from 1."""
    found = error.errors()
    return "; ".join(f"{within}{_place(fault['loc'])}: {fault['msg']}" for fault in found)


def _place(parts: tuple[int | str, ...]) -> str:
    steps = (f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in parts)
    return "".join(steps).removeprefix(".") or "the whole"
