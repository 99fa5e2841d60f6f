"""Rows that lie on disk in blocks are read as if they were in memory."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core import spool
from pipelines.core.spool import Spool
from pipelines.intake.files.blocks import packed
from pipelines.intake.files.rows import Rows
from pipelines.intake.files.spooled_rows import SpooledRows
from tests.support.made.builders import in_memory

COUNT = 12


def numbered(count: int) -> Rows:
    names = [f"r{number}" for number in range(count)]
    return Rows(names, names, names, names, [1] * count, [None] * count, [()] * count)


def spooled(rows: Rows, bounds: list[int]) -> SpooledRows:
    """The rows in blocks that end at these positions."""
    on_disk = SpooledRows()
    for start, stop in pairwise([0, *bounds, len(rows)]):
        on_disk.append(packed(rows.pick(range(start, stop))), stop - start)
    return on_disk


BOUNDS = st.lists(st.integers(0, COUNT), max_size=4).map(sorted)
POSITIONS = st.sets(st.integers(0, COUNT - 1)).map(sorted)


@settings(deadline=None)
@given(bounds=BOUNDS)
def test_the_blocks_are_the_rows_in_order(bounds):
    on_disk = spooled(numbered(COUNT), bounds)

    assert in_memory(on_disk) == numbered(COUNT)
    assert len(on_disk) == COUNT


@settings(deadline=None)
@given(bounds=BOUNDS, positions=POSITIONS)
def test_any_rows_are_found_with_their_positions(bounds, positions):
    on_disk = spooled(numbered(COUNT), bounds)

    found = list(on_disk.select(positions))

    assert [row for chosen, _ in found for row in chosen] == positions
    names = [name for _, block in found for name in block.review_id]
    assert names == [f"r{row}" for row in positions]
    assert all(chosen for chosen, _ in found)
    assert [name for _, block in numbered(COUNT).select(positions) for name in block.text] == names


def test_no_rows_have_no_blocks():
    assert list(SpooledRows().blocks()) == list(SpooledRows().select([])) == []


def test_what_is_too_large_for_memory_is_on_disk_and_leaves_nothing_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(spool, "MOST_BYTES_IN_MEMORY", 10)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    large = Spool()

    large.append(b"0123456")
    large.append(b"789abcdef")

    assert (large.read(5, 6), large.read(0, 2), large.size) == (b"56789a", b"01", 16)
    assert open_files_in(tmp_path) == 1
    del large
    assert open_files_in(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []


def open_files_in(folder: Path) -> int:
    links = (path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink())
    return sum(str(link).startswith(str(folder)) for link in links)
