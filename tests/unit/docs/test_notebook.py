"""The notebook runs from its first cell to its last, and is kept without what it printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.printed import ROOT
from tests.support.timing import HANG_SECONDS

NOTEBOOK = ROOT / "docs" / "notebooks" / "lecture.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]


def test_it_is_kept_without_what_it_printed() -> None:
    assert [cell["outputs"] for cell in CODE if cell["outputs"]] == []
    assert {cell["execution_count"] for cell in CODE} == {None}


def test_it_has_every_station_of_the_path() -> None:
    text = "".join(line for cell in CELLS for line in cell["source"]).lower()

    stations = ["collection", "preprocessing", "model selection", "training", "evaluation",
                "iteration"]  # fmt: skip
    assert [name for name in stations if f". {name}\n" not in text] == []


@pytest.mark.long
@pytest.mark.timeout(4 * HANG_SECONDS)
def test_it_runs_from_the_first_cell_to_the_last_in_a_fresh_interpreter(tmp_path: Path) -> None:
    last = ["print(champion.generation, read_decision(decision).verdict)"]
    code = "\n".join(["".join(cell["source"]) for cell in CODE] + last)

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=NOTEBOOK.parent, capture_output=True, text=True,
        timeout=4 * HANG_SECONDS, check=False, env=os.environ | {"HOME": str(tmp_path)},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-3_000:]
    generation, verdict = done.stdout.splitlines()[-1].split()
    assert (generation, verdict in {"PROMOTE", "REFRESH", "HOLD"}) == ("1", True)
