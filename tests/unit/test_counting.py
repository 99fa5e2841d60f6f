"""What tests say they tried is added up in the last lines of a run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
COUNTING = """
import pytest

@pytest.mark.parametrize("number", range(6))
def test_many(counted, number):
    counted("files", 231)
    counted("files", 1000)
    counted("replies", number)

def test_none(counted):
    pass
"""


def summary_of(body: str, folder: Path, *options: str) -> list[str]:
    """The lines on what was tried, of a run of its own with this project's conftest."""
    (folder / "test_it.py").write_text(body)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider"]
    reply = subprocess.run(
        [*command, f"--rootdir={folder}", "-c", "/dev/null", *options, str(folder)],
        cwd=TESTS.parent, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": f"{TESTS}:{TESTS.parent}", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert reply.returncode == 0, reply.stdout + reply.stderr
    return re.findall(r"^attack: .*$", reply.stdout, re.MULTILINE)


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one-process", "two-processes"])
def test_counts_are_added_up_over_all_tests_and_processes(tmp_path, options):
    found = summary_of(COUNTING, tmp_path, *options)

    assert found == ["attack: 7,386 files, 15 replies tried"]


def test_where_nothing_is_counted_nothing_is_said(tmp_path):
    assert summary_of("def test_one(): pass\n", tmp_path) == []
