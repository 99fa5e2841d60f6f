"""What runs tests lets nothing but the code decide them, and says how much they tried."""

from __future__ import annotations

import importlib
import random
import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import surroundings
from tests.support.surroundings import forget_the_caller, shuffle

TESTS = Path(__file__).resolve().parents[2]
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
EXAMPLES = """
from hypothesis import given, strategies as st

@given(st.integers())
def test_any(number):
    print("example", number)

def test_fails():
    assert not "so that what was printed is shown"
"""


in_one_process_and_in_two = pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="one-process"),
        pytest.param(("-n", "2"), id="two-processes", marks=pytest.mark.long),
    ],
)


def output_of(body: str, folder: Path, *options: str, **environment: str) -> str:
    """What a run of its own, with this project's conftest, prints."""
    (folder / "test_it.py").write_text(body)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider"]
    reply = subprocess.run(
        [*command, f"--rootdir={folder}", "-c", "/dev/null", *options, str(folder)],
        cwd=TESTS.parent, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": f"{TESTS}:{TESTS.parent}", "PATH": "/usr/bin:/bin", **environment},
    )  # fmt: skip
    return reply.stdout + reply.stderr


# ── How much was tried ───────────────────────────────────────────────────────────────────────


@in_one_process_and_in_two
def test_counts_are_added_up_over_all_tests_and_processes(tmp_path, options):
    output = output_of(COUNTING, tmp_path, *options)

    assert re.findall("^attack: .*$", output, re.MULTILINE) == [
        "attack: 7,386 files, 15 replies tried"
    ]


def test_where_nothing_is_counted_nothing_is_said(tmp_path):
    output = output_of("def test_one(): pass\n", tmp_path)

    assert "1 passed" in output
    assert "attack" not in output


@in_one_process_and_in_two
def test_what_was_skipped_is_kept_for_the_last_lines_of_all_runs(tmp_path, options):
    skipping = (
        "import pytest\ndef test_one(): pytest.skip('no docker here')\ndef test_two(): pass\n"
    )
    skips = tmp_path / "skips"

    for _ in range(2):
        output_of(skipping, tmp_path, *options, LOOP_TEST_SKIPS=str(skips))

    assert skips.read_text() == "test_it.py::test_one: no docker here\n" * 2


def test_of_a_tests_sets_of_parameters_each_nth_is_quick_where_that_is_said(tmp_path):
    body = (
        "import pytest\n@pytest.mark.quick_every(2)\n@pytest.mark.parametrize('n', range(5))\n"
        "def test_one(n): pass\n@pytest.mark.parametrize('n', [4, 5])\ndef test_two(n): pass\n"
    )

    output = output_of(body, tmp_path, "-m", "not long")

    assert "5 passed, 2 deselected" in output


# ── Chance ───────────────────────────────────────────────────────────────────────────────────


def examples() -> list[int]:
    tried = []

    @settings(max_examples=300)
    @given(st.integers())
    def collect(number):
        tried.append(number)

    collect()
    return tried


def test_examples_do_not_depend_on_which_modules_are_loaded(tmp_path, monkeypatch):
    """Hypothesis would take its examples from the numbers that stand in them."""
    before = examples()
    numbers = random.Random(1).sample(range(10**6, 10**9), 500)
    (tmp_path / "full_of_numbers.py").write_text(f"NUMBERS = {numbers}\n")
    monkeypatch.syspath_prepend(tmp_path)

    importlib.import_module("full_of_numbers")
    after = examples()
    monkeypatch.delitem(sys.modules, "full_of_numbers")

    assert not {*after, *before} & {*numbers}


def printed_examples(folder: Path, **environment: str) -> list[str]:
    output = output_of(EXAMPLES, folder, "-rA", **environment)
    return re.findall(r"^example (.*)$", output, re.MULTILINE)


@pytest.mark.long
def test_examples_are_the_same_in_every_run_and_others_with_a_seed(tmp_path):
    usual, again = printed_examples(tmp_path), printed_examples(tmp_path)
    seeded, repeated = (printed_examples(tmp_path, LOOP_TEST_SEED="5") for _ in range(2))

    assert len(usual) > 50
    assert usual == again
    assert seeded == repeated != usual


def test_a_seeded_run_says_how_to_repeat_it(tmp_path):
    output = output_of(COUNTING, tmp_path, LOOP_TEST_SEED="123")

    assert "order and examples of this run: make test-random SEED=123" in output


# ── Order ────────────────────────────────────────────────────────────────────────────────────


def shuffled(seed: int) -> list[tuple[str, int]]:
    tests = [SimpleNamespace(path=f"module{number // 9}", number=number) for number in range(90)]
    shuffle(tests, seed)
    return [(test.path, test.number) for test in tests]


def test_a_seed_is_an_order_in_which_modules_stay_whole_and_no_test_is_lost():
    order = shuffled(1)

    assert sorted(number for _, number in order) == list(range(90))
    assert len(list(groupby(order, key=lambda one: one[0]))) == 10
    assert order == shuffled(1) != shuffled(2)


# ── The caller's environment ─────────────────────────────────────────────────────────────────


def test_what_people_set_for_themselves_is_taken_away(monkeypatch):
    monkeypatch.setattr(surroundings, "GIVEN_SERVER", "")
    own = dict.fromkeys(
        (
            *("AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "AWS_CA_BUNDLE", "LOOP_CONFIG", "https_proxy"),
            *("LOOP_SIGNING_KEY", "NO_PROXY", "COLUMNS", "AIRFLOW__CORE__EXECUTOR", "NO_COLOR"),
        ),
        "x",
    )
    kept = {"PATH": "/bin", "HOME": "/home/ada", "LOOP_TEST_REQUIRE": "all", "CHROMIUM": "/c"}
    environment = own | kept

    forget_the_caller(environment)

    assert environment == kept


def test_the_certificate_of_a_server_that_was_given_stays(monkeypatch):
    monkeypatch.setattr(surroundings, "GIVEN_SERVER", "https://127.0.0.1:9000")
    environment = {"AWS_CA_BUNDLE": "/ca.pem"}

    forget_the_caller(environment)

    assert environment == {"AWS_CA_BUNDLE": "/ca.pem"}
