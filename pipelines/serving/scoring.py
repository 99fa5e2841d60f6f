"""Read the texts of a file of any size in batches, for scoring."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from pipelines.core.errors import ConfigError, SourceError
from pipelines.serving.champion import Champion

BATCH_ROWS = 2_000
BATCH_CHARACTERS = 4_000_000
_LONGEST_FIELD_BYTES = 64 * 1024 * 1024

OnShare = Callable[[float], None]


def read_texts(path: Path, on_share: OnShare = lambda _share: None) -> Iterator[list[str]]:
    """Batches of the column ``text``; a missing text is scored as empty.

    Parameters
    ----------
    path : Path
        A ``.csv``, ``.jsonl`` or ``.parquet`` file; the first two may end in ``.gz``.
    on_share : callable
        Called with the share of the file that was read, in [0, 1].

    Raises
    ------
    SourceError
        If the file cannot be read, or has no column ``text``.
    """
    name = path.name.lower().removesuffix(".gz")
    try:
        if name.endswith(".parquet"):
            yield from _from_parquet(path, on_share)
        elif name.endswith((".csv", ".jsonl")):
            yield from _from_lines(path, on_share, is_csv=name.endswith(".csv"))
        else:
            raise SourceError(f"{path} must end in .csv, .jsonl or .parquet")
    except (OSError, EOFError, zlib.error, RecursionError, csv.Error, ValueError) as error:
        raise SourceError(f"cannot read {path}: {error}") from error


def _from_lines(path: Path, on_share: OnShare, *, is_csv: bool) -> Iterator[list[str]]:
    size = max(1, path.stat().st_size)
    with path.open("rb") as raw:
        is_gzipped = path.name.lower().endswith(".gz")
        plain: IO[bytes] = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if is_gzipped else raw
        lines = io.TextIOWrapper(plain, encoding="utf-8-sig", errors="replace", newline="")
        texts = _csv_texts(lines, path) if is_csv else _json_texts(lines, path)
        for batch in _batches(texts):
            on_share(raw.tell() / size)
            yield batch


def _csv_texts(lines: io.TextIOWrapper, path: Path) -> Iterator[str]:
    csv.field_size_limit(_LONGEST_FIELD_BYTES)
    rows = csv.DictReader(lines)
    if "text" not in (rows.fieldnames or ()):
        raise SourceError(f"{path} has the columns {rows.fieldnames}; it needs one named 'text'")
    for row in rows:
        yield row["text"] or ""


def _json_texts(lines: io.TextIOWrapper, path: Path) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = json.loads(line)
        if not isinstance(row, dict) or "text" not in row:
            raise SourceError(f"{path}, line {number:,} is not a JSON object with a 'text'")
        if not isinstance(row["text"], str | None):
            raise SourceError(f"{path}, line {number:,}: 'text' is not a string")
        yield row["text"] or ""


def _from_parquet(path: Path, on_share: OnShare) -> Iterator[list[str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        if "text" not in file.schema_arrow.names:
            raise SourceError(
                f"{path} has the columns {file.schema_arrow.names}, but none named 'text'"
            )
        kind = file.schema_arrow.field("text").type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise SourceError(f"{path} has a column 'text' of type {kind}; it must hold text")
        rows, read = max(1, file.metadata.num_rows), 0
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=["text"]):
            read += batch.num_rows
            on_share(read / rows)
            yield [text or "" for text in batch.column("text").to_pylist()]
    except pa.ArrowException as error:
        raise SourceError(f"cannot read {path} as Parquet: {error}") from error


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

    With ``named_ngrams`` also ``why``: so many n-grams that moved the answer most, each with what
    it added to the log-odds, and the rest of them (see `pipelines.models.explain`).

    Raises
    ------
    ConfigError
        If n-grams are asked for and the champion is of a kind that cannot be explained.
    """
    from pipelines.models.explain import is_explainable
    from pipelines.models.prediction import positive_probability

    if named_ngrams is not None and not is_explainable(champion.model):
        raise ConfigError(
            f"champion {champion.entry.version} is not of a kind that can name n-grams: score "
            "without --explain, or train a candidate of fingerprints"
        )
    number = 0
    for texts in batches:
        probabilities = positive_probability(champion.model, texts)
        for text, probability in zip(texts, probabilities, strict=True):
            line: dict[str, Any] = {
                "row": number,
                "label": "positive" if probability >= 0.5 else "negative",
                "probability": round(float(probability), 6),
                "version": champion.entry.version,
            }
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
