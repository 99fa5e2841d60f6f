"""docs/records.md names every kind of object, who writes and reads it, and tests that exist."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

from pipelines.registry.fsck.places import PLACES
from tests.support.hostile.forgeries import KINDS

pytestmark = pytest.mark.attack

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if re.match(r"\| [`a-z]", line) and "`" in line
]


def name_of(place):
    return place.holds if isinstance(place.holds, str) else f"`{place.holds.__name__}`"


def test_every_place_of_a_record_or_file_has_its_row_and_no_other_has_one():
    places = [(name_of(place), f"{place.bucket}: `{place.where}`") for place in PLACES]

    assert sorted((row[0], row[1]) for row in ROWS) == sorted(places)
    assert {f"`{name}`" for name in KINDS} <= {row[0] for row in ROWS}


def test_every_row_says_what_covers_it_and_which_tests_prove_it():
    described = set(re.findall(r"^- \*\*([A-Z])\*\* ", PAGE, re.MULTILINE))

    assert all(len(row) == 6 and all(row) for row in ROWS)
    assert {letter for row in ROWS for letter in row[5].split()} == described
    assert all({"A", "B", "D"} <= set(row[5].split()) for row in ROWS if row[0].startswith("`"))


def is_there(named: str) -> bool:
    names, found = named.split("."), importlib.import_module("pipelines")
    while hasattr(found, "__path__") and importlib.util.find_spec(f"{found.__name__}.{names[0]}"):
        found = importlib.import_module(f"{found.__name__}.{names.pop(0)}")
    for name in names:
        found = getattr(found, name, None)
    return callable(found)


def test_whoever_writes_or_reads_exists():
    cells = " ".join(" ".join(row[2:5]) for row in ROWS)
    named = {name for name in re.findall(r"`(\w+(?:\.\w+)+)`", cells) if not name.endswith(".json")}

    assert len(named) > 30
    assert {name for name in named if not is_there(name)} == set()
