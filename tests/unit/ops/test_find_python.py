"""The newest Python that can make a virtual environment is taken, whatever else is on the path."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from ops import pythons
from tests.support.fake_pythons import Machine

ROOT = pythons.PROJECT


def search(machine: Machine, *versions: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "ops/find_python.sh", *versions],
        cwd=ROOT, env=machine.environment | more, capture_output=True, text=True, check=False,
    )  # fmt: skip


def found(machine: Machine, *versions: str, **more: str) -> str:
    reply = search(machine, *versions, **more)
    assert (reply.returncode, reply.stderr) == (0, "")
    return reply.stdout.strip()


def complaint(machine: Machine, *versions: str, **more: str) -> str:
    reply = search(machine, *versions, **more)
    assert (reply.returncode, reply.stdout) == (1, "")
    return reply.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_newest_is_taken(machine: Machine) -> None:
    machine.python("python3.11")
    newest = machine.python("python3.13", folder=machine.later)
    machine.python("python3.12")

    assert found(machine) == newest


def test_the_newest_may_be_known_as_python3_alone_or_to_pyenv_alone(machine: Machine) -> None:
    machine.python("python3.11")
    by_pyenv = machine.python("python3.12", folder=machine.pyenv / "versions" / "3.12.1" / "bin")
    assert found(machine) == by_pyenv

    plain = machine.python("python3", "3.13")
    assert found(machine) == plain


def test_a_version_on_which_no_test_was_run_is_the_last_choice(machine: Machine) -> None:
    untested = machine.python("python3.14")
    assert found(machine) == untested

    tested = machine.python("python3.11")
    assert found(machine) == tested


def test_a_shim_with_nothing_behind_it_is_passed_over(machine: Machine) -> None:
    for version in ("3.13", "3.12"):
        machine.shim(f"python{version}")
    behind_it = machine.python("python3.12", folder=machine.later)

    assert found(machine) == behind_it


@pytest.mark.parametrize("lacking", ["venv", "ensurepip", "sqlite3"])
def test_one_that_lacks_what_is_needed_is_passed_over(machine: Machine, lacking: str) -> None:
    machine.python("python3.13", lacks=lacking)
    whole = machine.python("python3.11")

    assert found(machine) == whole


@pytest.mark.parametrize("lacking", ["venv", "ensurepip"])
def test_where_only_venv_is_missing_the_package_is_named(machine: Machine, lacking: str) -> None:
    machine.python("python3", "3.11", lacks=lacking)

    assert f"lacks {lacking} (Debian and Ubuntu: apt install python3-venv" in complaint(machine)


def test_where_there_is_none_all_that_was_looked_for_is_named(machine: Machine) -> None:
    old = machine.python("python3", "3.10")
    shim = machine.shim("python3.13")

    text = complaint(machine)

    for version in ("3.13", "3.12", "3.11", "3.14"):
        assert f"python{version}, " in text
    assert f"python3 on the path and in {machine.pyenv}/versions" in text
    assert re.findall(r"^  (.+)$", text, re.MULTILINE) == [
        f"{shim} does not run",
        f"{old} is Python 3.10",
    ]


def test_on_a_machine_without_any_it_says_so(machine: Machine) -> None:
    assert "There is no suitable Python." in complaint(machine)


def test_only_the_versions_that_are_asked_for_count(machine: Machine) -> None:
    machine.python("python3.13")
    asked_for = machine.python("python3.11")

    assert found(machine, "3.12", "3.11") == asked_for
    assert "python3.12, python3" in complaint(machine, "3.12")


def test_the_one_that_the_caller_names_wins(machine: Machine) -> None:
    machine.python("python3.13")
    named = machine.python("python3.11")

    assert found(machine, PYTHON=named) == named
    assert found(machine, PYTHON="python3.11") == named


@pytest.mark.parametrize(
    ("program", "why"),
    [("python3.10", "is Python 3.10"), ("python3.9", "does not run"), ("no-such", "does not run")],
)
def test_an_unsuitable_one_that_the_caller_names_is_refused(
    machine: Machine, program: str, why: str
) -> None:
    machine.python("python3.13")
    machine.python("python3.10")
    machine.shim("python3.9")

    text = complaint(machine, PYTHON=program)

    assert text.startswith(f"PYTHON={program} {why}. Needed is one of: 3.13 3.12 3.11 3.14.")


def test_what_the_search_looks_for_is_what_the_project_supports() -> None:
    text = (ROOT / "ops" / "find_python.sh").read_text(encoding="utf-8")
    (looked_for,) = re.findall(r"\|\| set -- ([\d. ]+)$", text, re.MULTILINE)

    assert sorted(looked_for.split(), reverse=True) == sorted(pythons.supported(), reverse=True)
