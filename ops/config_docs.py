"""Write the reference of all settings from the comments of ``config/default.toml``.

A comment beside a key, or on the lines right above it, says what the key means and in which unit.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.core.config import CONFIG_FOLDER, CONFIG_VARIABLE

DEFAULT = CONFIG_FOLDER / "default.toml"

_SECTION = re.compile(r"\[(?P<name>[\w.]+)\]")
_KEY = re.compile(r"(?P<key>\w+)\s*=\s*(?P<value>.+)")

_HEADER = f"""\
# Configuration

This page is made from the comments of [`config/default.toml`](../config/default.toml).
Do not edit it. Change the comments, then run:

    .venv/bin/python -m ops.config_docs > docs/configuration.md

An environment has a file of its own that holds only what differs from the defaults. The variable
`{CONFIG_VARIABLE}` names it. Without it the defaults apply. A table in that file is merged key by
key; any other value replaces the default. An unknown key, a missing file or an impossible value
is an error, before anything is read or written.

A file whose first line is `extends = "other.toml"` is laid over that file, in the same folder, and
not over the defaults alone.

No setting is a secret. S3 credentials and the endpoint come from boto3's own chain.
"""


@dataclass(frozen=True)
class Setting:
    """One key of the file: where it stands, its value as written, and what its comment says."""

    section: str
    key: str
    value: str
    comment: str


def read_settings(text: str) -> list[Setting]:
    """Every key of a TOML file in its order; keys and tables each on a line of their own.

    Raises
    ------
    ValueError
        If a line is none of: blank, comment, table header, ``key = value  # comment``.
    """
    return list(_settings(text.splitlines()))


def _settings(lines: list[str]) -> Iterator[Setting]:
    section, above = "", ""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            above = ""
        elif line.startswith("#"):
            above = f"{above} {line.lstrip('# ')}".strip()
        elif header := _SECTION.match(line):
            section, above = header["name"], ""
        elif found := _KEY.fullmatch(line):
            value, beside = _split(found["value"], number)
            yield Setting(section, found["key"], value, f"{above} {beside}".strip())
            above = ""
        else:
            raise ValueError(f"line {number} is no key on one line: {line!r}")


def _split(value_and_comment: str, number: int) -> tuple[str, str]:
    """Cut at the first ``#`` that leaves a whole TOML value to its left."""
    parts = value_and_comment.split("#")
    for cut in range(1, len(parts) + 1):
        value = "#".join(parts[:cut]).strip()
        try:
            tomllib.loads(f"value = {value}")
        except tomllib.TOMLDecodeError:
            continue
        return value, "#".join(parts[cut:]).strip()
    raise ValueError(f"line {number} holds no value on one line: {value_and_comment!r}")


def as_markdown(settings: list[Setting]) -> str:
    """One table per section."""
    pages = [_HEADER]
    for section in dict.fromkeys(setting.section for setting in settings):
        rows = [
            f"| `{setting.key}` | `{cell(setting.value)}` | {cell(setting.comment)} |"
            for setting in settings
            if setting.section == section
        ]
        head = ["| key | default | meaning |", "|---|---|---|"]
        pages.append("\n".join([f"## `[{section}]`", "", *head, *rows, ""]))
    return "\n".join(pages)


def cell(text: str) -> str:
    """A text as a cell of a table."""
    return text.replace("|", "\\|")


def render(path: Path = DEFAULT) -> str:
    """The whole page."""
    return as_markdown(read_settings(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    sys.stdout.write(render())
