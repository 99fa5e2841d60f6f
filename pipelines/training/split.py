"""Split reviews by film: a film never changes side, whatever is delivered later.

The split is a hash of the review's film (or of its text id, if there is no film). It never changes,
so no film is used both for training and for evaluation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def share_of(key: str, *, salt: str) -> float:
    """A number in [0, 1), evenly distributed over keys, which depends only on key and salt."""
    digest = hashlib.sha256(f"{salt}\n{key}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def is_holdout(keys: Iterable[str], *, share: float, salt: str) -> dict[str, bool]:
    """Which of the film (or text) ids are held out from training."""
    return {key: share_of(key, salt=f"holdout:{salt}") < share for key in set(keys)}


def fold_shares(keys: Iterable[str], *, salt: str) -> dict[str, float]:
    """Position of each training id among the folds, in [0, 1), independent of the holdout."""
    return {key: share_of(key, salt=f"fold:{salt}") for key in set(keys)}


def is_selection(keys: Iterable[str], *, share: float, salt: str) -> dict[str, bool]:
    """Which of the training ids calibrate a single candidate, independent of the holdout."""
    return {key: share_of(key, salt=f"selection:{salt}") < share for key in set(keys)}
