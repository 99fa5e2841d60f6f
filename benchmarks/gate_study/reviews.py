"""The real reviews of the gate's benchmark: one side to train on, the other to hold out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.compared.models import default_candidate
from pipelines.core.settings.model import GateSettings
from pipelines.evaluation.slices import Described, slice_masks
from pipelines.features.fingerprints import Fingerprints, fingerprint
from pipelines.features.signatures import COPIED_SHARE, near_known, signatures
from pipelines.features.views import View

COLUMNS = ("review_id", "text", "label", "split", "rating", "movie_id")
SOURCES = ("desk", "partner", "mobile")

Side = Literal["train", "test"]
Mask = NDArray[np.bool_]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Reviews:
    """Reviews and what is needed of them, one entry per review."""

    ids: NDArray[np.str_]
    texts: NDArray[np.object_]
    labels: NDArray[np.int8]
    ratings: NDArray[np.int64]
    films: NDArray[np.str_]
    prints: Fingerprints

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Rows | Mask) -> Reviews:
        return Reviews(
            self.ids[rows],
            self.texts[rows],
            self.labels[rows],
            self.ratings[rows],
            self.films[rows],
            self.prints.take(rows),
        )


def read_sides(path: Path, trained_on: Side, limit: int | None = None) -> tuple[Reviews, Reviews]:
    """The reviews to train on, and those to hold out.

    Parameters
    ----------
    path : Path
        Parquet file with `COLUMNS`; ``split`` is "train" or "test".
    trained_on : {"train", "test"}
        The official split to train on; the other one is held out.
    limit : int, optional
        Fewer reviews per side, evenly spread, for a quick run.

    Returns
    -------
    training, pool : Reviews
        No text twice in a side. No film, text or near copy of the training side in the pool.
    """
    held_out: Side = "test" if trained_on == "train" else "train"
    training = _read(path, trained_on, limit)
    pool = _read(path, held_out, limit)
    known = np.isin(pool.ids, training.ids) | np.isin(pool.films, training.films)
    copied = near_known(
        signatures(pool.prints), signatures(training.prints), similar_share=COPIED_SHARE
    )
    return training, pool.take(~(known | copied))


def view_of_the_default() -> View:
    """What the default model reads of a review."""
    view: View = default_candidate(seed=0)[0].view
    return view


def _read(path: Path, split: Side, limit: int | None) -> Reviews:
    table = pq.read_table(path, columns=list(COLUMNS), filters=[("split", "=", split)])
    _, first = np.unique(table["review_id"].to_numpy(), return_index=True)
    rows = np.sort(first)
    if limit is not None and limit < len(rows):
        rows = rows[np.linspace(0, len(rows) - 1, limit).astype(np.int64)]
    table = table.take(rows)
    texts = table["text"].to_pylist()
    return Reviews(
        ids=np.array(table["review_id"].to_pylist()),
        texts=np.array(texts, np.object_),
        labels=table["label"].to_numpy().astype(np.int8),
        ratings=table["rating"].to_numpy().astype(np.int64),
        films=np.array(table["movie_id"].to_pylist()),
        prints=fingerprint(texts, view_of_the_default()),
    )


def masks_of(pool: Reviews, policy: GateSettings, rng: np.random.Generator) -> dict[str, Mask]:
    """The slices of the gate's policy; sources are drawn, as the reviews come from one site."""
    described = Described.of(
        texts=list(pool.texts),
        ratings=pool.ratings.tolist(),
        sources=rng.choice(SOURCES, len(pool), p=[0.6, 0.3, 0.1]).tolist(),
    )
    return slice_masks(described, policy.slices, min_rows=policy.min_slice_rows)
