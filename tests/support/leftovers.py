"""Finds processes that something left behind."""

from __future__ import annotations

from pathlib import Path


def processes_with(words: str) -> list[str]:
    """Command lines of running processes whose environment holds the given words."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if words.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found
