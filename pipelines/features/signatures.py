"""Recognise texts that occurred before, word for word or almost, without storing the texts.

A text's *key* is the first 64 bits of its text id. Its *signature* has one cell for each
thirty-second of the range of its word fingerprints: 16 bits of the smallest fingerprint in it
(one-permutation min-hash [1]_). Two texts agree in a cell about as often as they share an n-gram,
so the share of equal cells estimates their Jaccard similarity. Texts that agree in four
neighbouring cells are compared in full.

References
----------
.. [1] P. Li, A. Owen and C.-H. Zhang, "One Permutation Hashing", NIPS 2012.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.features.fingerprints import Fingerprints
from pipelines.features.views import BITS_RANGE, View

SIGNATURE_VERSION = "s1"
"""Of how a signature is made of fingerprints: change it when that or a constant of it changes."""

VIEW = View(ngram_max=2, bits=BITS_RANGE[1])
SIMILAR_SHARE = 0.84  # of the cells that are in use
COPIED_SHARE = 0.6  # the same, for a copy with more changes: part of it would do as training
FEWEST_NGRAMS = 100  # about fifty words; shorter texts are alike by chance

SKETCH_SCHEMA = pa.schema(
    [
        pa.field("text_key", pa.uint64(), nullable=False),
        pa.field("signature", pa.binary(64), nullable=False),  # all zero: too short to compare
    ]
)

_CELL_BITS, CELLS, _BAND = 5, 32, 4
_NEIGHBOURS = 8  # earlier texts that are compared per band; bounds the cost of hostile texts


@dataclass(frozen=True, eq=False)
class Known:
    """Texts that already count.

    Parameters
    ----------
    text_keys : ndarray of uint64, shape (n_texts,)
        Ascending.
    signatures : ndarray of uint16, shape (n_recent_texts, 32)
        Only of the texts of the trailing nights.
    """

    text_keys: NDArray[np.uint64]
    signatures: NDArray[np.uint16]


NOTHING_KNOWN = Known(np.empty(0, np.uint64), np.empty((0, CELLS), np.uint16))


def text_keys(text_ids: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first 64 bits of each text id, of shape (n_texts, 32); 0 where it is all zero."""
    return np.ascontiguousarray(text_ids[:, :8]).view(">u8").ravel().astype(np.uint64)


def signatures(grams: Fingerprints) -> NDArray[np.uint16]:
    """One signature per text, all zero where the text is too short to be compared.

    Returns
    -------
    signatures : ndarray of uint16, shape (n_texts, 32)
        A cell is 0 when no fingerprint falls into it, else 1 ... 65,535.
    """
    cells = np.zeros((len(grams), CELLS), np.uint16)
    rows = np.repeat(np.arange(len(grams)) * CELLS, grams.lengths)
    positions = rows + (grams.ids >> np.uint64(grams.view.bits - _CELL_BITS)).astype(np.int64)
    is_smallest = np.ones(len(positions), np.bool_)  # a text's fingerprints ascend
    np.not_equal(positions[1:], positions[:-1], out=is_smallest[1:])
    low_bits = (grams.ids[is_smallest] & np.uint64(0xFFFF)).astype(np.uint16)
    cells.reshape(-1)[positions[is_smallest]] = np.maximum(low_bits, 1)
    cells[grams.lengths < FEWEST_NGRAMS] = 0
    return cells


def near_repeats(own: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Which texts are almost the same as an earlier one of the same array."""
    is_near = np.zeros(len(own), np.bool_)
    for first in range(0, CELLS, _BAND):
        rows, keys = _band(own, first)
        for distance in range(1, min(_NEIGHBOURS, len(rows) - 1) + 1):
            is_same = keys[distance:] == keys[:-distance]
            earlier, later = rows[:-distance][is_same], rows[distance:][is_same]
            is_near[later[_are_similar(own[earlier], own[later], SIMILAR_SHARE)]] = True
    return is_near


def near_known(
    own: NDArray[np.uint16], known: NDArray[np.uint16], *, similar_share: float = SIMILAR_SHARE
) -> NDArray[np.bool_]:
    """Which texts are almost the same as a known text.

    Parameters
    ----------
    own, known : ndarray of uint16, shape (n_texts, 32) and (n_known_texts, 32)
        What `signatures` makes of fingerprints with the same parameters.
    similar_share : float
        Of the cells in use, from which on two texts are almost the same.
    """
    is_near = np.zeros(len(own), np.bool_)
    for first in range(0, CELLS, _BAND):
        rows, keys = _band(own, first)
        known_rows, known_keys = _band(known, first)
        starts = np.searchsorted(known_keys, keys)
        for distance in range(min(_NEIGHBOURS, len(known_rows))):
            places = np.minimum(starts + distance, len(known_rows) - 1)
            is_same = known_keys[places] == keys
            is_similar = _are_similar(
                own[rows[is_same]], known[known_rows[places[is_same]]], similar_share
            )
            is_near[rows[is_same][is_similar]] = True
    return is_near


def _band(own: NDArray[np.uint16], first: int) -> tuple[NDArray[np.intp], NDArray[np.uint64]]:
    """Rows with all cells of a band in use and the band as one number, sorted by that number."""
    band = np.ascontiguousarray(own[:, first : first + _BAND])
    rows = np.flatnonzero((band != 0).all(axis=1))
    keys = band[rows].view(np.uint64).ravel()
    order = np.argsort(keys, kind="stable")
    return rows[order], keys[order]


def _are_similar(
    left: NDArray[np.uint16], right: NDArray[np.uint16], share: float
) -> NDArray[np.bool_]:
    in_use = ((left != 0) | (right != 0)).sum(axis=1)
    equal = ((left == right) & (left != 0)).sum(axis=1)
    similar: NDArray[np.bool_] = equal >= share * np.maximum(in_use, 1)
    return similar


def as_table(keys: NDArray[np.uint64], own: NDArray[np.uint16]) -> pa.Table:
    """The sketch of some texts, ready to be stored."""
    cells = np.ascontiguousarray(own).tobytes()
    column = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(64), len(own), [None, pa.py_buffer(cells)]
    )
    return pa.table({"text_key": pa.array(keys), "signature": column}, schema=SKETCH_SCHEMA)


def from_table(table: pa.Table) -> tuple[NDArray[np.uint64], NDArray[np.uint16]]:
    """Keys and signatures of a stored sketch."""
    cells = b"".join(table["signature"].to_pylist())
    return table["text_key"].to_numpy(), np.frombuffer(cells, np.uint16).reshape(-1, CELLS)
