"""`make test` leaves no test out, and what runs on real services exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def commands_of(target):
    """What make would run for a target and all that it requires."""
    reply = subprocess.run(
        ["make", "--dry-run", "--always-make", target],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return reply.stdout


def test_make_test_runs_every_folder_of_tests_as_a_whole():
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}

    run = re.findall(r"-m pytest .*?tests/(\S+)$", commands_of("test"), re.MULTILINE)

    assert folders == {"unit", "integration", "faults", "dags", "e2e", "browser"}
    assert sorted(run) == sorted(folders)


def test_what_runs_on_real_services_exists():
    named = re.findall(r"tests/\S+", commands_of("on-real-services"))

    assert "tests/faults/test_races.py" in named
    assert "tests/e2e/test_a_night.py" in named
    assert [name for name in named if not (ROOT / name).exists()] == []
