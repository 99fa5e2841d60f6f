"""Who is who: the same review is recognised however it is written, and a film never changes side.

A review's text id is the sha256 of its normalized text. Its split is a hash of its film (else of
its text): the same for ever, so no film is both trained on and evaluated on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def share_of(key: str, *, salt: str) -> float:
    """A number in [0, 1), spread evenly over keys and fixed for ever by key and salt."""
    digest = hashlib.sha256(f"{salt}\n{key}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def is_holdout(keys: Iterable[str], *, share: float, salt: str) -> dict[str, bool]:
    """Which of the film (or text) ids are never trained on."""
    return {key: share_of(key, salt=f"holdout:{salt}") < share for key in set(keys)}


def fold_shares(keys: Iterable[str], *, salt: str) -> dict[str, float]:
    """Place of each training id among the folds, in [0, 1), independent of the holdout."""
    return {key: share_of(key, salt=f"fold:{salt}") for key in set(keys)}


def is_selection(keys: Iterable[str], *, share: float, salt: str) -> dict[str, bool]:
    """Which of the training ids calibrate a lone candidate, independent of the holdout."""
    return {key: share_of(key, salt=f"selection:{salt}") < share for key in set(keys)}
