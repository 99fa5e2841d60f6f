"""The decoded rows of a delivery of any size, on disk: only a block of them is in memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise

from pipelines.core.spool import Spool
from pipelines.intake.files.blocks import unpacked
from pipelines.intake.files.rows import Rows


class SpooledRows:
    """As `Rows`, which are read block by block."""

    def __init__(self) -> None:
        self.extra_columns: tuple[str, ...] = ()
        self.found: dict[str, dict[str, int]] = {}
        self._spool = Spool()
        self._bytes = [0]  # where each block begins, and where the last one ends
        self._rows = [0]  # the same, in rows

    def __len__(self) -> int:
        return self._rows[-1]

    def append(self, block: bytes, rows: int) -> None:
        """Add a block that was found to be valid, and how many rows it has."""
        self._spool.append(block)
        self._bytes.append(self._spool.size)
        self._rows.append(self._rows[-1] + rows)

    def blocks(self) -> Iterator[Rows]:
        """As `Rows.blocks`."""
        for start, stop in pairwise(self._bytes):
            yield unpacked(self._spool.read(start, stop - start))

    def select(self, positions: Sequence[int]) -> Iterator[tuple[list[int], Rows]]:
        """As `Rows.select`."""
        place = 0
        for number, (first, last) in enumerate(pairwise(self._rows)):
            start, place = place, bisect_left(positions, last, place)
            if place > start:
                chosen, begin = list(positions[start:place]), self._bytes[number]
                block = unpacked(self._spool.read(begin, self._bytes[number + 1] - begin))
                yield chosen, block.pick([position - first for position in chosen])
