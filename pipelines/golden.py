from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.records import sha256_of


@dataclass(frozen=True, eq=False)
class GoldenSet:
    texts: tuple[str, ...]
    labels: np.ndarray
    digest: str


def load_golden(path: Path) -> GoldenSet:
    return GoldenSet(
        ("A superb, wonderful film.", "A dreadful, boring film."),
        np.array([1, 0], np.int8),
        sha256_of(b"x"),
    )
