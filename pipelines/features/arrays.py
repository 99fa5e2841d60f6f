"""Arrays that grow in place."""

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
