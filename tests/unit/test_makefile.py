"""`make test` leaves no test out, and what runs on real services exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_whatever_talks_to_a_store_or_a_database_runs_on_real_ones_too():
    recipe = re.search(r"^test-real:.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert recipe is not None
    assert recipe[1].endswith("-- $(MAKE) --no-print-directory integration faults e2e")


def test_installing_real_services_needs_nothing_but_python():
    """CI does it before there is a virtual environment."""
    reply = subprocess.run(
        [sys.executable, "-S", "-m", "ops.real", "--help"],
        cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert reply.returncode == 0, reply.stderr
    assert "--install" in reply.stdout


# A Python that fits, makes environments with itself in them, and notes what it is asked.
INTERPRETER = """#!/bin/sh
case "$*" in
  -c*) echo fits ;;
  "-m venv --clear "*) rm -rf "$4" && mkdir -p "$4/bin" && cp "$0" "$4/bin/python" \\
    && cp "$0" "$4/bin/uv" && echo "made with ${0##*/}" >> FOLDER/done ;;
  *install*) echo "installed" >> FOLDER/done ;;
esac
"""


@pytest.fixture
def install(tmp_path):
    """`make install` where python3.13 is on the path; returns what was done."""
    for name in ("python3.13", "another"):
        (tmp_path / name).write_text(INTERPRETER.replace("FOLDER", str(tmp_path)))
        (tmp_path / name).chmod(0o755)

    def install(**environment):
        (tmp_path / "done").write_text("")
        subprocess.run(
            ["make", "install", f"VENV={tmp_path}/venv"],
            cwd=ROOT, env={"PATH": f"{tmp_path}:/usr/bin:/bin", **environment}, check=True,
            capture_output=True,
        )  # fmt: skip
        return (tmp_path / "done").read_text().splitlines()

    return install


def test_installing_makes_an_environment_once_and_keeps_it(install, tmp_path):
    assert install() == ["made with python3.13", "installed", "installed"]
    assert install() == []

    (tmp_path / "venv" / ".installed").unlink()
    assert install() == ["installed", "installed"]


def test_an_environment_is_made_again_where_its_python_is_gone(install, tmp_path):
    install()

    (tmp_path / "venv" / "bin" / "python").unlink()

    assert install() == ["made with python3.13", "installed", "installed"]


def test_the_python_that_the_caller_names_makes_the_environment(install, tmp_path):
    install()
    (tmp_path / "venv" / ".installed").unlink()

    assert install(PYTHON="another") == ["made with another", "installed", "installed"]
