"""Each guide, followed as printed in a copy of the checkout, leads to what it shows.

In the order of the page: a file is written where "Write `path`" names it, a diff is applied, shell
commands are typed, and a block of text is what they print.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_docs_as_printed import surroundings
from tests.support.printed import ROOT
from tests.support.timing import HANG_SECONDS

pytestmark = [pytest.mark.long, pytest.mark.timeout(4 * HANG_SECONDS)]

GUIDES = sorted(path.stem for path in (ROOT / "docs" / "guides").glob("*.md"))
BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"Write\s`([^`]+)`")
# What a guide only shows: the next lines of a file that it had written before.
SHOWN = {"[training]"}

__all__ = ["surroundings"]  # a fixture


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A copy of what git has here, with the environment of the tests."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
        capture_output=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    (copy / ".venv").symlink_to(ROOT / ".venv")
    return copy


@pytest.mark.parametrize("guide", [name for name in GUIDES if name != "README"])
def test_a_guide_leads_to_what_it_shows(
    guide: str, checkout: Path, surroundings: dict[str, str]
) -> None:
    text = (ROOT / "docs" / "guides" / f"{guide}.md").read_text(encoding="utf-8")
    variables = surroundings | {
        "AWS_ENDPOINT_URL_S3": surroundings["ENDPOINT"], "AWS_ACCESS_KEY_ID": "...",
        "AWS_SECRET_ACCESS_KEY": "any", "COLUMNS": "300",
    }  # fmt: skip
    said, kinds = "", []
    for block in BLOCK.finditer(text):
        kind, body = block["kind"], block["body"]
        kinds.append(kind)
        if kind == "diff":
            shell("patch --strip 1 --fuzz 0", checkout, variables, given=body)
        elif kind == "sh":
            said = shell(body, checkout, variables)
        elif kind == "text":
            assert [line for line in body.splitlines() if line not in said] == [], said
        elif body.splitlines()[0] not in SHOWN:
            (path,) = NAMED.findall(text[: block.start()].strip().rsplit("\n\n", 1)[-1])
            (checkout / path).write_text(body, encoding="utf-8")

    assert "sh" in kinds
    assert "text" in kinds


def shell(lines: str, folder: Path, variables: dict[str, str], *, given: str = "") -> str:
    done = subprocess.run(
        ["bash", "-eu", "-c", lines], cwd=folder, env=variables, input=given, text=True,
        capture_output=True, timeout=HANG_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout[-3_000:], done.stderr[-3_000:])
    return done.stdout
