"""Ids as people type them: whole, or their first eight digits or more."""

from __future__ import annotations

import re
from collections.abc import Collection

import typer

from pipelines.core import keys
from pipelines.core.errors import LoopError, PromotionError
from pipelines.registry.registry import Registry

SHORTEST = 8


def check_id(given: str, digits: int) -> str:
    """An id, whole or abbreviated.

    Raises
    ------
    BadParameter
        If it cannot be the beginning of an id; typer makes exit code 2 of it.
    """
    if not re.fullmatch(f"[0-9a-f]{{{SHORTEST},{digits}}}", given):
        raise typer.BadParameter(
            f"{given!r} is no id: give all of its {digits} digits, or the first {SHORTEST} or more"
        )
    return given


def the_only(
    found: Collection[str], kind: str, given: str, *, listed_by: str, error: type[LoopError]
) -> str:
    """The only id that was found; raises ``error`` if there is none, or several."""
    if len(found) != 1:
        raise error(
            f"No {kind}, or more than one, starts with {given!r}. "
            f"To see them: python -m pipelines {listed_by}"
        )
    return next(iter(found))


def version_of(registry: Registry, given: str) -> str:
    """The version that an operator means; `PromotionError` if that is none or several."""
    if len(check_id(given, 20)) == 20:
        return given
    prefix = f"{keys.versions_folder(registry.name)}{given}"
    found = {keys.version_of(info.key) for info in registry.models.list(prefix)}
    return the_only(found, "version", given, listed_by="champion history", error=PromotionError)
