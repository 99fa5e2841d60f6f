"""Every version of Python that is found is tested in an environment of its own."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ops import pythons
from tests.support.fake_pythons import Machine

ROOT = pythons.PROJECT
MAKE = """#!/bin/sh
echo "$@" >> {calls}
echo "make says $2"
case "$2" in *{failing}) exit 2 ;; esac
"""
Run = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Test on 3.13 and 3.12, with a stand-in for make: the code, what it was asked, the output."""
    machine, project, calls = Machine(tmp_path), tmp_path / "project", tmp_path / "calls"
    for name in ("python3.13", "python3.12"):
        machine.python(name)
    (project / "ops").mkdir(parents=True)
    for path in ("pyproject.toml", "ops/find_python.sh"):
        (project / path).write_bytes((ROOT / path).read_bytes())
    monkeypatch.setattr(pythons, "PROJECT", project)
    monkeypatch.setattr(pythons, "OWN_VERSION", "3.13")

    def run(*arguments: str, failing: str = "none") -> tuple[int, list[str], list[str]]:
        make = machine.program("make", MAKE.format(calls=calls, failing=failing))
        # A Python that the caller names is for `make install`, and hides no other one here.
        for name, value in {**machine.environment, "MAKE": make, "PYTHON": sys.executable}.items():
            monkeypatch.setenv(name, value)
        calls.write_text("")
        code = pythons.main(arguments)
        return code, calls.read_text().splitlines(), capsys.readouterr().err.splitlines()

    return run


def verdicts(output: list[str]) -> list[str]:
    return [re.sub(r" in \d+ s: .*", "", line).removeprefix("pythons: ") for line in output[-4:]]


def test_each_is_tested_and_one_line_says_what_came_of_it(run: Run, tmp_path: Path) -> None:
    for _ in range(2):  # a second time is like the first
        code, calls, output = run("unit", "dags")

        assert code == 0
        assert verdicts(output) == [
            "3.14  not found", "3.13  passed", "3.12  passed", "3.11  not found"
        ]  # fmt: skip
        assert [call.split()[1:3] for call in calls] == [
            [f"VENV=.local/pythons/{version}", f"PYTHON={tmp_path}/bin/python{version}"]
            for version in ("3.13", "3.12")
        ]
        assert all(call.endswith(" unit dags") for call in calls)


def test_one_that_fails_is_shown_and_stops_no_other(run: Run) -> None:
    code, calls, output = run("unit", failing="3.13")

    assert code == 1
    assert verdicts(output) == [
        "3.14  not found", "3.13  FAILED", "3.12  passed", "3.11  not found"
    ]  # fmt: skip
    assert len(calls) == 2
    assert "make says VENV=.local/pythons/3.13" in output
    assert "make says VENV=.local/pythons/3.12" not in output


def test_the_version_that_all_other_tests_run_on_can_be_left_out(run: Run) -> None:
    code, calls, output = run("--others", "unit")

    assert code == 0
    assert len(calls) == 1
    assert verdicts(output)[1].startswith("3.13  left out")
