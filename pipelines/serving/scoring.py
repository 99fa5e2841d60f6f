"""Read the texts of a file of any size in batches, for scoring."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.core.errors import ConfigError, SourceError, UnreadableDeliveryError
from pipelines.core.settings.data import IntakeSettings
from pipelines.intake.files import reading
from pipelines.intake.files.decoding import raw_rows
from pipelines.intake.files.rows import INVALID_UTF8, MALFORMED_ROW, RawRow, as_review
from pipelines.intake.landing import parse_name
from pipelines.serving.champion import Champion

BATCH_ROWS = 2_000
BATCH_CHARACTERS = 4_000_000

OnShare = Callable[[float], None]

_ANY = 2**60
# A person's own file: only one row must fit into memory.
_LIMITS = IntakeSettings(
    max_delivery_bytes=_ANY,
    max_decoded_bytes=_ANY,
    max_rows=_ANY,
    max_row_chars=64 * 1024 * 1024,
    max_value_bytes=_ANY,
    max_columns=10_000,
    partition_rows=_ANY,
    max_deliveries=1,
    max_decoder_memory_bytes=_ANY,
    max_decoder_cpu_seconds=_ANY,
    max_decoder_wall_seconds=_ANY,
)


def read_texts(
    path: Path, on_share: OnShare = lambda _share: None, *, names: Sequence[str] = ("text",)
) -> Iterator[list[str]]:
    """Batches of the texts, as many as the file has rows and in their order.

    The reader is that of deliveries (`intake.files.decoding.raw_rows`). A missing text is scored
    as empty.

    Parameters
    ----------
    path : Path
        A ``.csv``, ``.jsonl`` or ``.parquet`` file, each also with ``.gz``.
    on_share : callable
        Called with the share of the file that was read, in [0, 1].
    names : sequence of str
        What the column of texts may be called.

    Raises
    ------
    SourceError
        If the file cannot be read, has no such column, or a row of it cannot be read for certain;
        it names the line.
    """
    name = parse_name(path.name)
    try:
        size = max(1, path.stat().st_size)
        with path.open("rb") as file, tempfile.TemporaryFile() as unpacked:
            rows = raw_rows(
                file, name.file_format, is_gzipped=name.is_gzipped, intake=_LIMITS,
                reading=reading.of_texts(names), unpacked=unpacked,
            )  # fmt: skip
            for batch in _batches(_text_of(row, path) for row in rows):
                on_share(min(1.0, file.tell() / size))
                yield batch
    except UnreadableDeliveryError as error:
        raise SourceError(f"cannot read {path}: {error.detail}") from error
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error}") from error


def _text_of(row: RawRow, path: Path) -> str:
    found: list[tuple[str, str]] = []
    text = as_review(row.values.get("text"), found)
    if row.problem is None and "text" not in row.values:
        found.append((MALFORMED_ROW, "it has no text"))
    faults = {MALFORMED_ROW: "{}", INVALID_UTF8: "{} is not UTF-8"}
    problems = (faults[code].format(what) for code, what in found if code in faults)
    problem = row.problem or next(problems, None)
    if problem is not None:
        raise SourceError(
            f"{path}, line {row.line:,} cannot be read: {problem}. Nothing from there on is scored."
        )
    return text or ""


def _batches(texts: Iterator[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if len(batch) == BATCH_ROWS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def score_lines(
    champion: Champion, batches: Iterator[list[str]], *, named_ngrams: int | None = None
) -> Iterator[str]:
    """One JSON line per text: its number, label, probability of positive, and the version.

    For more than two classes the probability is the label's, and ``probabilities`` has all.

    With ``named_ngrams`` also ``why``: so many n-grams that moved the answer most, each with what
    it added to the log-odds, and the rest of them (see `pipelines.models.explain`).

    Raises
    ------
    ConfigError
        If n-grams are asked for and the champion is of a kind that cannot be explained.
    """
    from pipelines.models.answers import predicted
    from pipelines.models.explain import is_explainable
    from pipelines.models.prediction import probabilities

    if named_ngrams is not None and not is_explainable(champion.model):
        raise ConfigError(
            f"champion {champion.entry.version} is not of a kind that can name n-grams: score "
            "without --explain, or train a candidate of fingerprints"
        )
    number, names = 0, champion.manifest.plan.class_names
    for texts in batches:
        found = probabilities(champion.model, texts)
        for text, place, answer in zip(texts, predicted(found), found.tolist(), strict=True):
            line: dict[str, Any] = {
                "row": number,
                "label": names[place],
                "probability": round(answer if found.ndim == 1 else answer[place], 6),
                "version": champion.entry.version,
            }
            if found.ndim == 2:
                shares = (round(value, 6) for value in answer)
                line["probabilities"] = dict(zip(names, shares, strict=True))
            if named_ngrams is not None:
                line["why"] = _why(champion, text, named_ngrams)
            yield json.dumps(line) + "\n"
            number += 1


def _why(champion: Champion, text: str, named_ngrams: int) -> dict[str, Any]:
    from pipelines.models.explain import explain

    found = explain(champion.model, text, named_ngrams)
    return {
        "ngrams": [[ngram, round(part, 6)] for ngram, part in found.ngrams],
        "remainder": round(found.remainder, 6),
        "intercept": round(found.intercept, 6),
    }
