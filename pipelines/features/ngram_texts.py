"""Spell the n-grams of a single text, which fingerprints alone cannot."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipelines.features.fingerprints import Fingerprints, fingerprint
from pipelines.features.tokens import Tokens, blocks
from pipelines.features.views import Offsets, View

GAP = "[...]"
"""Stands for a token between two others that can be any token."""

CUT = "*"
"""Stands for the rest of a token of which only a prefix is read."""


def spelled(text: str, view: View) -> tuple[Fingerprints, list[str]]:
    """Return the fingerprints of a text, and for each the n-gram it is of.

    Tokens are in lower case, with a blank between. Two n-grams of the text that have the same
    fingerprint, which hardly ever happens, are spelled as the first.

    Returns
    -------
    fingerprints : Fingerprints
        What `fingerprint` returns for this one text.
    ngrams : list of str
        One per fingerprint, in the same order, e.g. ``"not good"``.
    """
    fingerprints = fingerprint([text], view)
    names = _names(text, view)
    return fingerprints, [names[found] for found in fingerprints.ids.tolist()]


def _names(text: str, view: View) -> dict[int, str]:
    names: dict[int, str] = {}
    for block in blocks([text]):
        tokens = Tokens.of(block)
        words = _words(tokens, view.prefix_bytes)
        for offsets, hashes in view.ngrams(tokens.hashes(view.prefix_bytes)):
            _add(names, words, offsets, hashes >> np.uint64(64 - view.bits))
    return names


def _add(
    names: dict[int, str], words: list[str], offsets: Offsets, ids: NDArray[np.uint64]
) -> None:
    gaps = [f" {GAP}" * (after - before - 1) for before, after in pairwise(offsets)]
    for start, own_id in enumerate(ids.tolist()):
        if own_id not in names:
            rest = zip(gaps, offsets[1:], strict=True)
            tail = "".join(f"{gap} {words[start + offset]}" for gap, offset in rest)
            names[own_id] = words[start] + tail


def _words(tokens: Tokens, prefix_bytes: int) -> list[str]:
    data, cut = tokens.block.tobytes(), CUT if prefix_bytes else ""
    ends = tokens.read_to(prefix_bytes) + 1
    bounds = zip(tokens.starts.tolist(), ends.tolist(), strict=True)
    return [
        data[start:end].lower().decode("utf-8", "replace")
        + (cut if end - start == prefix_bytes else "")
        for start, end in bounds
    ]
