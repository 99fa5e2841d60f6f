"""Drop values of rows at random, for each pass over them anew."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

CHUNK_MARKS = 1 << 18
_STEPS = 256  # one random byte per value


class Dropout:
    """Sets a share of the values to 0 and raises the others, so that their mean stays the same.

    Parameters
    ----------
    share : float
        Share of the values to drop, in [0, 1); rounded to 1/256.
    random : RandomState
        Chooses them; each use moves it on.

    Raises
    ------
    ValueError
        If the share is out of range, or so close to 1 that every value would be dropped.
    """

    def __init__(self, share: float, random: np.random.RandomState) -> None:
        if not 0 <= share < 1 or round(_STEPS * (1 - share)) == 0:
            raise ValueError(f"dropout must be from 0 to below 1, got {share}")
        self._kept = round(_STEPS * (1 - share))
        self._random = random

    def applied(self, rows: sparse.csr_array, values: NDArray[np.float32]) -> sparse.csr_array:
        """Return the rows with some values dropped; positions are shared, zeros are kept.

        Parameters
        ----------
        rows : csr_array of float32
            The rows; not changed.
        values : ndarray of float32
            As long as the values of the rows; the result is written to it.
        """
        if self._kept == _STEPS:
            return rows
        raise_by = np.float32(_STEPS / self._kept)
        for start in range(0, len(values), CHUNK_MARKS):
            part = slice(start, start + CHUNK_MARKS)
            own = rows.data[part]
            is_kept = np.frombuffer(self._random.bytes(len(own)), np.uint8) < self._kept
            np.multiply(own, is_kept, out=values[part])
            values[part] *= raise_by
        return sparse.csr_array((values, rows.indices, rows.indptr), shape=rows.shape)
