"""The list of safeguards is about this code: `make test-safeguards` takes each away and tries."""

from __future__ import annotations

import subprocess

import pytest

from ops import safeguards
from ops.safeguards import PROJECT, SAFEGUARDS, Safeguard, as_table

BY_NAME = {one.name: one for one in SAFEGUARDS}


@pytest.mark.parametrize("name", BY_NAME)
def test_its_lines_are_there_once_and_its_test_exists(name):
    one = BY_NAME[name]
    module, _, test = one.test.partition("::")

    assert safeguards.missing(one) == ""
    assert f"def {test}(" in (PROJECT / module).read_text(encoding="utf-8")


def test_there_are_twelve_at_least_and_each_has_a_name_of_its_own():
    assert len(BY_NAME) == len(SAFEGUARDS) >= 12


def test_the_page_shows_the_very_table():
    assert as_table(SAFEGUARDS) in (PROJECT / "docs" / "safeguards.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("code", "last", "is_missed"),
    [
        (1, "1 failed in 2.0s", True),
        (1, "2 failed, 3 passed in 2.0s", True),
        (0, "1 passed in 2.0s", False),
        (5, "no tests ran in 0.1s", False),
        (2, "1 error in 0.5s", False),
        (1, "1 error in 0.5s", False),
        (4, "", False),
    ],
)
def test_only_a_test_that_failed_misses_its_safeguard(code, last, is_missed):
    reply = subprocess.CompletedProcess([], code, stdout=f"...\n{last}\n", stderr="")

    assert (safeguards._verdict(reply) == "") == is_missed


def test_a_safeguard_whose_lines_are_not_found_is_not_called_missed(tmp_path):
    (tmp_path / "module.py").write_text("x = 1\nx = 1\n")
    one = Safeguard("x", "x", "module.py", "x = 1\n", "", "tests/unit/test_x.py::test_x")

    assert "2 times" in safeguards.missing(one, tmp_path)
