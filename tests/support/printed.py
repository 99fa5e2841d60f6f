"""The commands of a page as they are printed, for tests that type them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCED = re.compile(r"^( *)```sh\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^ {4}\S.*\n)+", re.MULTILINE)


def blocks(page: str) -> list[list[str]]:
    """The blocks of shell commands of a page, each line as it is printed.

    Parameters
    ----------
    page : str
        Path below the project's folder.
    """
    text = (ROOT / page).read_text(encoding="utf-8")
    fenced = [textwrap.dedent(body) for _, body in _FENCED.findall(text)]
    return [block.splitlines() for block in fenced or map(textwrap.dedent, _INDENTED.findall(text))]


def block_with(page: str, command: str) -> list[str]:
    """The only block of a page that has this command in one of its lines."""
    (block,) = [block for block in blocks(page) if any(command in line for line in block)]
    return block
