"""`make demo` as a newcomer without network runs it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from leftovers import processes_with

from ops.stack import PROJECT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(700)]


def test_the_demo_ends_well_on_made_up_reviews_and_leaves_nothing_running(tmp_path):
    folder = tmp_path / "demo"

    reply = subprocess.run(
        [sys.executable, "-m", "ops.demo", "--reviews", "made-up", "--folder", str(folder)],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert reply.returncode == 0, reply.stdout[-3000:] + reply.stderr[-3000:]
    assert "MADE-UP" in reply.stdout
    summary = json.loads((folder / "summary.json").read_text())
    nights = summary["nights"]
    assert summary["is_made_up"]
    assert [night["ingest_state"] for night in nights] == [
        "success", "success", "success", "failed", "success",
    ]  # fmt: skip
    assert nights[0]["verdict"] == nights[1]["verdict"] == "PROMOTE"
    assert nights[2]["quarantined"] == round(0.03 * nights[2]["delivered"])
    assert nights[3]["held_deliveries"] == 2
    assert nights[3]["accepted"] > 0
    assert nights[4]["verdict"] == "NO_NEW_DATA"
    for night in nights:
        assert night["accepted"] + night["quarantined"] + night["held"] == night["delivered"]
    assert processes_with(str(folder)) == []
