"""The gates that people use: one look at two accuracies, on all rows that are held out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

MARGIN = 0.005  # half a point
LEVEL = 0.05  # one-sided

Correct = NDArray[np.bool_]
RivalGate = Callable[[Correct, Correct], bool]


def correct(labels: NDArray[np.int8], probability: NDArray[np.float64]) -> Correct:
    """Which reviews a model gets right, shape (n_reviews,)."""
    is_right: Correct = (probability >= 0.5) == (labels == 1)
    return is_right


def always(_champion: Correct, _challenger: Correct) -> bool:
    """No gate: every night's model answers the next day."""
    return True


def is_higher(champion: Correct, challenger: Correct) -> bool:
    """The challenger's accuracy is higher."""
    return int(challenger.sum()) > int(champion.sum())


def is_higher_by_margin(champion: Correct, challenger: Correct) -> bool:
    """The challenger's accuracy is higher by more than half a point."""
    return int(challenger.sum()) - int(champion.sum()) > MARGIN * len(champion)


def is_significant(champion: Correct, challenger: Correct) -> bool:
    """McNemar's exact test, one-sided, says that the challenger errs less often."""
    won, lost = int((challenger & ~champion).sum()), int((champion & ~challenger).sum())
    return won > lost and float(bdtr(lost, won + lost, 0.5)) < LEVEL


RIVALS: dict[str, RivalGate] = {
    "always": always,
    "accuracy >": is_higher,
    "accuracy > +0.5 pt": is_higher_by_margin,
    "McNemar p < .05": is_significant,
}
