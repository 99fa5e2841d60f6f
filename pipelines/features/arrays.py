"""Arrays that grow in place, at their end or at their beginning."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Growing:
    """An array that grows in place, so that appended values are copied only once."""

    def __init__(self, kind: Any) -> None:
        self.array = np.empty(0, kind)

    def append(self, values: NDArray[Any]) -> None:
        start = len(self.array)
        self.array.resize(start + len(values), refcheck=False)
        self.array[start:] = values


class FromTheEnd:
    """An array of at most so many values, filled from its end; unused room costs no memory.

    The system assigns memory to pages that are written, not to pages that are only reserved.
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
