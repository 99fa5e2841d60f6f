"""Drop values of rows at random, for each pass over them anew.

Passes come in pairs. The second of a pair drops values by the opposites of the numbers by which the
first does: antithetic variates [1]_. With a share of one half it keeps just what the first dropped,
so two passes see every value once, and less of what is learned is chance.

References
----------
.. [1] J. M. Hammersley and K. W. Morton, "A new Monte Carlo technique: antithetic variates",
   Mathematical Proceedings of the Cambridge Philosophical Society 52(3), 1956.
"""

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
    seed, run : int
        Choose them, together with the pair of passes and the block; the only randomness.

    Raises
    ------
    ValueError
        If the share is out of range, or so close to 1 that every value would be dropped.
    """

    def __init__(self, share: float, seed: int, run: int = 0) -> None:
        if not 0 <= share < 1 or round(_STEPS * (1 - share)) == 0:
            raise ValueError(f"dropout must be from 0 to below 1, got {share}")
        self._kept = round(_STEPS * (1 - share))
        self._seed, self._run = seed, run

    def applied(
        self, rows: sparse.csr_array, values: NDArray[np.float32], *, passing: int, block: int = 0
    ) -> sparse.csr_array:
        """Return the rows with some values dropped; positions are shared, zeros are kept.

        Parameters
        ----------
        rows : csr_array of float32
            The rows; not changed.
        values : ndarray of float32
            As long as the values of the rows; the result is written to it.
        passing : int
            Number of the pass, from 0.
        block : int
            Number of the block that these rows are, if the pass goes over several.
        """
        if self._kept == _STEPS:
            return rows
        random = np.random.RandomState([self._seed, self._run, passing // 2, block])
        raise_by = np.float32(_STEPS / self._kept)
        for start in range(0, len(values), CHUNK_MARKS):
            part = slice(start, start + CHUNK_MARKS)
            own = rows.data[part]
            draws = np.frombuffer(random.bytes(len(own)), np.uint8)
            is_kept = draws >= _STEPS - self._kept if passing % 2 else draws < self._kept
            np.multiply(own, is_kept, out=values[part])
            values[part] *= raise_by
        return sparse.csr_array((values, rows.indices, rows.indptr), shape=rows.shape)
