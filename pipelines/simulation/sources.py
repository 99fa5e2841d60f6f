"""Where reviews come from: the official archive, a local copy of it, or the made-up generator.

Whatever the source, it becomes one table of ``REVIEW_SCHEMA`` in a fixed row order. Archives are
read member by member and never extracted to disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pipelines.core.errors import SourceError
from pipelines.simulation.archive import FORMS, from_archive, from_folder
from pipelines.simulation.download import (
    OFFICIAL_ARCHIVE,
    DownloadError,
    ProgressFactory,
    RemoteArchive,
    fetch_archive,
    terminal_or_log,
)
from pipelines.simulation.made_up import REVIEW_SCHEMA, make_reviews

__all__ = [
    "OFFICIAL_ARCHIVE",
    "REVIEW_SCHEMA",
    "DownloadError",
    "ProgressFactory",
    "RemoteArchive",
    "ReviewSource",
    "open_source",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReviewSource:
    """Reviews and where they come from; ``description`` is one line for people."""

    name: str
    description: str
    is_made_up: bool
    table: pa.Table  # of REVIEW_SCHEMA


def open_source(
    spec: str | None,
    *,
    cache_dir: Path,
    made_up_rows: int,
    seed: int,
    archive: RemoteArchive = OFFICIAL_ARCHIVE,
    on_progress: ProgressFactory | None = None,
) -> ReviewSource:
    """The reviews that ``spec`` names.

    A path names a ``.parquet`` (columns ``text``, ``label`` 0/1, and if present ``movie_id`` and
    ``rating``), a ``.csv`` (columns ``review``, ``sentiment``), or the official archive as
    ``.tar.gz`` or unpacked folder. The word ``imdb`` downloads that archive into ``cache_dir``,
    once; ``made-up`` generates ``made_up_rows`` reviews from ``seed``. None means ``imdb``, or
    made-up reviews where it cannot be downloaded; the description then gives the reason.

    Raises
    ------
    SourceError
        If the source cannot be read; as `DownloadError` if it cannot be downloaded.
    """
    if spec is None:
        try:
            return _official(cache_dir, archive, on_progress)
        except DownloadError as error:
            logger.info("source=made-up why=%s", error)
            return _made_up(made_up_rows, seed, why=f", because {error}")
    if spec == "made-up":
        return _made_up(made_up_rows, seed)
    if spec == "imdb":
        return _official(cache_dir, archive, on_progress)
    return _local(Path(spec).expanduser())


def _made_up(rows: int, seed: int, why: str = ".") -> ReviewSource:
    return ReviewSource(
        name="made-up",
        description=f"{rows:,} made-up reviews (seed {seed}), not real ones{why}",
        is_made_up=True,
        table=make_reviews(rows, seed=seed),
    )


def _official(
    cache_dir: Path, archive: RemoteArchive, on_progress: ProgressFactory | None
) -> ReviewSource:
    path = fetch_archive(cache_dir, archive, on_progress or terminal_or_log)
    return _source("imdb", f"the Large Movie Review Dataset from {archive.url}", from_archive(path))


def _local(path: Path) -> ReviewSource:
    readers: dict[str, Callable[[Path], pa.Table]] = {
        ".parquet": _from_parquet,
        ".csv": _from_csv,
        ".tar.gz": from_archive,
        ".tgz": from_archive,
    }
    if not path.exists():
        raise SourceError(f"the source {str(path)!r} does not exist. Give {FORMS}.")
    if path.is_dir():
        return _source(path.name, f"the unpacked archive {path}", from_folder(path))
    for ending, reader in readers.items():
        if path.name.lower().endswith(ending):
            return _source(path.name, f"the file {path}", reader(path))
    raise SourceError(f"the source {str(path)!r} must end in one of {list(readers)}. Give {FORMS}.")


def _source(name: str, where: str, table: pa.Table) -> ReviewSource:
    logger.info("source=%s reviews=%d", name, table.num_rows)
    description = f"{table.num_rows:,} reviews from {where}"
    return ReviewSource(name=name, description=description, is_made_up=False, table=table)


# ── Parquet and CSV ──────────────────────────────────────────────────────────────────────────


def _from_parquet(path: Path) -> pa.Table:
    try:
        names = pq.read_schema(path).names
        _check_columns(path, names, ("text", "label"))
        table = pq.read_table(path, columns=[name for name in REVIEW_SCHEMA.names if name in names])
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} cannot be read as Parquet: {error}. Get it again.") from error
    return _as_reviews(path, table, labels={"0": "negative", "1": "positive"})


def _from_csv(path: Path) -> pa.Table:
    texts = dict.fromkeys(("review", "sentiment"), pa.string())
    try:
        table = pa_csv.read_csv(
            path,
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(column_types=texts),
        )
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} cannot be read as CSV: {error}. Get it again.") from error
    _check_columns(path, table.column_names, tuple(texts))
    renamed = pa.table({"text": table["review"], "label": table["sentiment"]})
    return _as_reviews(path, renamed, labels={name: name for name in ("negative", "positive")})


def _check_columns(path: Path, columns: list[str], needed: tuple[str, ...]) -> None:
    missing = [name for name in needed if name not in columns]
    if missing:
        raise SourceError(
            f"{path} has no columns {missing}: it has {columns}, and {list(needed)} are needed. "
            f"Rename them, or give {FORMS}."
        )


def _as_reviews(path: Path, table: pa.Table, *, labels: Mapping[str, str]) -> pa.Table:
    """The table in ``REVIEW_SCHEMA``; ``labels`` maps the file's labels to ours."""
    written = table["label"].cast(pa.string())
    meaning = pc.index_in(written, value_set=pa.array(labels, pa.string()))
    if meaning.null_count or table["text"].null_count:
        unknown = [value for value in pc.unique(written).to_pylist() if value not in labels]
        raise SourceError(
            f"{path} has {meaning.null_count:,} labels other than {list(labels)} "
            f"({unknown[:5]}) and {table['text'].null_count:,} reviews without text. Repair it."
        )
    columns = [
        table[name] if name in table.column_names else pa.nulls(table.num_rows, pa.string())
        for name in REVIEW_SCHEMA.names
    ]
    labelled = pa.array(labels.values(), pa.string()).take(meaning.combine_chunks())
    columns[REVIEW_SCHEMA.get_field_index("label")] = labelled
    try:
        return pa.table(columns, names=REVIEW_SCHEMA.names).cast(REVIEW_SCHEMA)
    except pa.ArrowException as error:
        raise SourceError(f"{path} does not fit {REVIEW_SCHEMA.names}: {error}.") from error
