"""`make test` leaves no test out, and what runs on real services exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def commands_of(target):
    """What make would run for a target and all that it requires."""
    reply = subprocess.run(
        ["make", "--dry-run", "--always-make", target],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return reply.stdout


def test_make_test_runs_every_folder_of_tests_as_a_whole():
    folders = {
        path.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").rglob("test_*.py")
    }

    run = re.findall(r"-m pytest .*?tests/(\S+)$", commands_of("test"), re.MULTILINE)

    assert folders == {"unit", "integration", "faults", "dags", "e2e", "browser"}
    assert sorted(run) == sorted(folders)


def test_whatever_talks_to_a_store_or_a_database_runs_on_real_ones_too():
    recipe = re.search(r"^test-real:.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert recipe is not None
    assert recipe[1].endswith("-- $(MAKE) --no-print-directory integration faults e2e")


def test_installing_real_services_needs_nothing_but_python():
    """CI does it before there is a virtual environment."""
    reply = subprocess.run(
        [sys.executable, "-S", "-m", "ops.services.real", "--help"],
        cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert reply.returncode == 0, reply.stderr
    assert "--install" in reply.stdout
