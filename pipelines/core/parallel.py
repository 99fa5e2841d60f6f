"""Many small reads at once: a store answers each slowly, but serves many at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

MOST_READS = 8  # in flight

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def in_parallel(read: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]:
    """The result of reading each item, in the order of the items; an error ends the reading."""
    with ThreadPoolExecutor(MOST_READS) as readers:
        yield from readers.map(read, items)
