"""Arrays that grow in place, or are given back from their end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Growing:
    """An array that grows in place: what is appended is copied once, and never held twice."""

    def __init__(self, kind: Any) -> None:
        self.array = np.empty(0, kind)

    def append(self, values: NDArray[Any]) -> None:
        start = len(self.array)
        self.array.resize(start + len(values), refcheck=False)
        self.array[start:] = values


class FromTheEnd:
    """An array of at most so many values, the last ones first: room that is not used costs nothing.

    The system gives memory to what is written, not to what is asked for.
    """

    def __init__(self, like: NDArray[Any], most: int) -> None:
        self._room, self._start = np.empty(most, like.dtype), most

    def prepend(self, values: NDArray[Any]) -> None:
        stop = self._start
        self._start -= len(values)
        self._room[self._start : stop] = values

    @property
    def array(self) -> NDArray[Any]:
        return self._room[self._start :]
