"""A reader finds a thing by its folder's name: folders and modules stay small."""

from __future__ import annotations

from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
MOST_MODULES, MOST_LINES = 14, 350
ROOTS = ("pipelines", "dags", "plugins", "ops", "benchmarks", "tests")
FOLDERS = sorted(
    {path.parent for root in ROOTS for path in (PROJECT / root).rglob("*.py")}
    | {PROJECT / root for root in ROOTS}
)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(PROJECT)))
def test_no_folder_holds_more_modules_than_a_reader_takes_in(folder):
    assert len([path for path in folder.glob("*.py") if path.stem != "__init__"]) <= MOST_MODULES


def test_no_module_of_the_pipelines_is_longer_than_a_reader_goes_through():
    lines = {path: len(path.read_text().splitlines()) for path in PROJECT.glob("pipelines/**/*.py")}

    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}
