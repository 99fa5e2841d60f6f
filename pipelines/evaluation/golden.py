"""The golden set: short reviews written and labelled by hand, the same for every model.

The holdout grows each night; the golden set does not, so its scores can be compared over years.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from pipelines.core.errors import ConfigError
from pipelines.core.record import canonical_json, sha256_of
from pipelines.core.settings.model import SENTIMENT
from pipelines.core.settings.section import faults

MIN_ROWS_PER_LABEL = 20

_NotBlank = Annotated[str, Field(pattern=r"\S")]


@dataclass(frozen=True, eq=False)
class GoldenSet:
    """Texts and labels in the order of the file.

    Parameters
    ----------
    texts : tuple of str
        The reviews.
    labels : ndarray of int8, shape (n_reviews,)
        1 positive, 0 negative; or the number of the class.
    digest : str
        sha256 of texts and labels in their order. Ids and notes are not included: no model reads
        them.
    """

    texts: tuple[str, ...]
    labels: NDArray[np.int8]
    digest: str


class _Review(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^g\d{3,}$")
    text: _NotBlank
    label: str
    note: _NotBlank  # why it is in the set

    @field_validator("label")
    @classmethod
    def _is_of_a_class(cls, label: str, info: ValidationInfo) -> str:
        names = info.context or SENTIMENT
        if label not in names:
            raise ValueError(f"it must be {' or '.join(map(repr, names))}, not {label!r}")
        return label


def load_golden(path: Path, class_names: tuple[str, ...] = SENTIMENT) -> GoldenSet:
    """Read a golden set: one JSON object per line with ``id``, ``text``, ``label`` and ``note``.

    Raises
    ------
    ConfigError
        If the file cannot be read; a line is not such an object, or its label is of no class; an id
        or a text occurs twice; a label has fewer than `MIN_ROWS_PER_LABEL` reviews.
    """
    reviews = _read(path, class_names)
    _check_unique(path, "id", [review.id for review in reviews])
    _check_unique(path, "text", [review.text for review in reviews])
    _check_labels(path, [review.label for review in reviews], class_names)
    return GoldenSet(
        texts=tuple(review.text for review in reviews),
        labels=np.array([class_names.index(review.label) for review in reviews], np.int8),
        digest=sha256_of(canonical_json([[review.text, review.label] for review in reviews])),
    )


def _read(path: Path, class_names: tuple[str, ...]) -> list[_Review]:
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
    except OSError as error:
        raise ConfigError(
            f"cannot read the golden set {path}: {error.strerror}. "
            "Set evaluation.golden_file to an existing file, e.g. config/golden.jsonl"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the golden set {path} is not UTF-8: {error}") from error
    return [
        _review(path, number, line, class_names)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]


def _review(path: Path, number: int, line: str, class_names: tuple[str, ...]) -> _Review:
    try:
        return _Review.model_validate_json(line, context=class_names)
    except ValidationError as error:
        raise ConfigError(
            f"{path}, line {number} cannot be used: {faults(error)}. A line must be an object like "
            f'{{"id": "g001", "text": "...", "label": "{class_names[-1]}", "note": "..."}}'
        ) from error


def _check_unique(path: Path, field: str, values: Sequence[str]) -> None:
    if len(set(values)) != len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise ConfigError(f"{path} has the {field} {twice!r} more than once. Remove one of them")


def _check_labels(path: Path, labels: Sequence[str], class_names: tuple[str, ...]) -> None:
    for label in reversed(class_names):
        if labels.count(label) < MIN_ROWS_PER_LABEL:
            raise ConfigError(
                f"{path} has {labels.count(label)} {label} reviews; it needs at least "
                f"{MIN_ROWS_PER_LABEL} of each label. Add some"
            )
