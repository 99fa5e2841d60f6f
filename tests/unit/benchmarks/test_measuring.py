"""What the benchmarks say of a process is what it did."""

from __future__ import annotations

import itertools
import sys
import textwrap

import pytest

from benchmarks import measuring
from benchmarks.measuring import in_own_process, markdown_table, medians, timed, tree_cpu_seconds

WAITING = """
import os, pathlib, time

def until_looked_at():
    looks = pathlib.Path(os.environ["LOOKS"])
    wanted = int(looks.read_text()) + 2  # a look may be going on
    while int(looks.read_text() or 0) < wanted:
        time.sleep(0.01)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write the work that is measured; it can wait ``until_looked_at`` by who measures."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("LOOKS", str(tmp_path / "looks"))
    (tmp_path / "waiting.py").write_text(WAITING)
    look, looks = measuring.high_water_bytes, itertools.count(1)
    (tmp_path / "looks").write_text("0")

    def counted(pid: int) -> int:
        found = look(pid)
        (tmp_path / "new").write_text(str(next(looks)))
        (tmp_path / "new").replace(tmp_path / "looks")
        return found

    monkeypatch.setattr(measuring, "high_water_bytes", counted)

    def write(body: str) -> str:
        (tmp_path / "work.py").write_text(textwrap.dedent(body))
        return "work"

    return write


def test_the_peak_of_a_process_is_what_it_held(module, tmp_path):
    name = module("""
        import json, waiting
        held = bytearray(200_000_000)
        held[:: 4096] = bytes(len(held[:: 4096]))
        waiting.until_looked_at()
        print(json.dumps({"answer": 42.0}))
    """)

    figures = in_own_process(name, "any", tmp_path)

    assert figures["answer"] == 42.0
    assert 200 < figures["peak_mb"] < 300


def test_a_short_peak_is_not_missed_and_much_output_does_not_hang(module, tmp_path):
    name = module("""
        import json, waiting
        held = b"1" * 200_000_000
        del held
        print("." * 1_000_000)
        waiting.until_looked_at()
        print(json.dumps({}))
    """)

    assert 200 < in_own_process(name, "any", tmp_path)["peak_mb"] < 300


def test_what_comes_after_the_work_is_in_no_peak(module, tmp_path):
    name = module("""
        import json, waiting
        from benchmarks.measuring import end_of_work
        held = b"1" * 100_000_000
        del held
        end_of_work()
        held = b"1" * 300_000_000
        waiting.until_looked_at()
        print(json.dumps({}))
    """)

    assert 100 < in_own_process(name, "any", tmp_path)["peak_mb"] < 200


def test_a_measurement_that_fails_is_no_measurement(module, tmp_path):
    with pytest.raises(SystemExit, match="measuring any failed with exit code 3"):
        in_own_process(module("raise SystemExit(3)"), "any", tmp_path)


def test_the_time_of_helper_processes_counts():
    import subprocess

    def work() -> None:
        burn = "import time\nwhile time.process_time() < 0.5: pass"
        subprocess.run([sys.executable, "-c", burn], check=True)

    before = tree_cpu_seconds()
    _, seconds = timed(work)

    # Without the helper's 0.5 s it would be some hundredths, however busy the machine is; the
    # system counts in hundredths and cuts off the rest, several times.
    assert seconds["cpu_seconds"] > 0.25
    assert tree_cpu_seconds() > before + 0.25


def test_medians_are_taken_figure_by_figure():
    runs = [{"a": 1.0, "b": 9.0}, {"a": 2.0, "b": 7.0}, {"a": 30.0, "b": 8.0}]

    assert medians(runs) == {"a": 2.0, "b": 8.0}


def test_a_table_has_a_line_per_row():
    assert markdown_table(["x", "y"], [["1", "2"]]) == "| x | y |\n| --- | ---: |\n| 1 | 2 |\n"
