"""Where reviews come from: the official archive, a local copy of it, or the made-up generator.

Whatever the source, it becomes one table of ``REVIEW_SCHEMA`` in a fixed row order. Archives are
read member by member and never extracted to disk.
"""

import gzip
import hashlib
import logging
import re
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pipelines.errors import SourceError
from pipelines.made_up import REVIEW_SCHEMA, make_reviews

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

# Given a title and the size in bytes: a context in which to report each chunk's bytes.
ProgressFactory = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]

FORMS: Final = "a .parquet, a .csv, a folder or .tar.gz of the archive, 'imdb' or 'made-up'"
CHUNK_BYTES: Final = 256 * 1024
TIMEOUT_SECONDS: Final = httpx.Timeout(30.0, connect=5.0)

MAX_REVIEW_BYTES: Final = 1024**2  # the longest review of the official archive has 14 kB
MAX_LIST_BYTES: Final = 16 * 1024**2
MAX_UNPACKED_BYTES: Final = 1024**3  # the official archive unpacks to about a quarter of it

REVIEW_NAME: Final = re.compile(
    r"aclImdb/(?:train|test)/(?P<label>pos|neg)/(?P<id>[0-9]{1,7})_(?P<rating>[1-9]|10)\.txt"
)
LIST_NAME: Final = re.compile(r"aclImdb/(?:train|test)/urls_(?:pos|neg)\.txt")
MOVIE_ID: Final = re.compile(r"tt[0-9]{7,8}")


class DownloadError(SourceError):
    """The official archive cannot be fetched, or is not the archive when it arrives."""


@dataclass(frozen=True)
class RemoteArchive:
    """A file to download, and what makes sure that it is the right one."""

    url: str
    size_bytes: int
    md5: str

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


OFFICIAL_ARCHIVE: Final = RemoteArchive(
    url="https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    size_bytes=84_125_825,
    md5="7c2ac02c03563afcf9b574c7e56c153a",
)


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
    made-up reviews where it cannot be downloaded; the description then says why.

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
    path = _fetched(cache_dir, archive, on_progress or _terminal_or_log)
    return _source(
        "imdb", f"the Large Movie Review Dataset from {archive.url}", _from_archive(path)
    )


def _local(path: Path) -> ReviewSource:
    readers: dict[str, Callable[[Path], pa.Table]] = {
        ".parquet": _from_parquet,
        ".csv": _from_csv,
        ".tar.gz": _from_archive,
        ".tgz": _from_archive,
    }
    if not path.exists():
        raise SourceError(f"the source {str(path)!r} does not exist. Give {FORMS}.")
    if path.is_dir():
        return _source(path.name, f"the unpacked archive {path}", _from_folder(path))
    for ending, reader in readers.items():
        if path.name.lower().endswith(ending):
            return _source(path.name, f"the file {path}", reader(path))
    raise SourceError(f"the source {str(path)!r} ends in none of {list(readers)}. Give {FORMS}.")


def _source(name: str, where: str, table: pa.Table) -> ReviewSource:
    logger.info("source=%s reviews=%d", name, table.num_rows)
    description = f"{table.num_rows:,} reviews from {where}"
    return ReviewSource(name=name, description=description, is_made_up=False, table=table)


# ── Parquet and CSV ──────────────────────────────────────────────────────────────────────────


def _from_parquet(path: Path) -> pa.Table:
    try:
        found = pq.read_schema(path).names
        _check_columns(path, found, ("text", "label"))
        table = pq.read_table(path, columns=[name for name in REVIEW_SCHEMA.names if name in found])
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


def _check_columns(path: Path, found: list[str], needed: tuple[str, ...]) -> None:
    missing = [name for name in needed if name not in found]
    if missing:
        raise SourceError(
            f"{path} has no columns {missing}: it has {found}, and {list(needed)} are needed. "
            f"Rename them, or give {FORMS}."
        )


def _as_reviews(path: Path, table: pa.Table, *, labels: Mapping[str, str]) -> pa.Table:
    """The table in ``REVIEW_SCHEMA``; ``labels`` says what each label of the file means."""
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


# ── The official archive ─────────────────────────────────────────────────────────────────────


def _from_archive(path: Path) -> pa.Table:
    try:
        # Through gzip, because tarfile alone takes a file cut between two members for a whole one.
        with gzip.open(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as members:
            return _as_table(path, dict(_wanted_members(members)))
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise SourceError(f"{path} is not a whole .tar.gz: {error}. Get it again.") from error


def _wanted_members(members: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    """Reviews and lists of film pages; links, folders and all other names are passed over."""
    unpacked_bytes = 0
    for member in members:
        unpacked_bytes += member.size + tarfile.BLOCKSIZE
        if unpacked_bytes > MAX_UNPACKED_BYTES:
            raise SourceError(
                f"{member.name!r} makes the archive larger than {MAX_UNPACKED_BYTES:,} bytes "
                "unpacked: that is not the official one, and it is not read further."
            )
        if member.isreg() and _is_wanted(member.name):
            _check_size(member.name, member.size)
            content = members.extractfile(member)
            if content is not None:
                yield member.name, content.read()


def _from_folder(path: Path) -> pa.Table:
    root = path if path.name == "aclImdb" else path / "aclImdb"
    files = {f"aclImdb/{file.relative_to(root).as_posix()}": file for file in _text_files(root)}
    wanted = {name: file for name, file in files.items() if _is_wanted(name)}
    for name, file in wanted.items():
        _check_size(name, file.stat().st_size)
    return _as_table(path, {name: file.read_bytes() for name, file in wanted.items()})


def _text_files(root: Path) -> Iterator[Path]:
    for folder in ("train", "test", "train/pos", "train/neg", "test/pos", "test/neg"):
        yield from (file for file in (root / folder).glob("*.txt") if not file.is_symlink())


def _is_wanted(name: str) -> bool:
    return bool(REVIEW_NAME.fullmatch(name) or LIST_NAME.fullmatch(name))


def _check_size(name: str, size_bytes: int) -> None:
    limit = MAX_LIST_BYTES if LIST_NAME.fullmatch(name) else MAX_REVIEW_BYTES
    if size_bytes > limit:
        raise SourceError(
            f"{name!r} has {size_bytes:,} bytes, at most {limit:,} are read: this is not the "
            "official archive. Get it again from its home page."
        )


def _as_table(path: Path, files: Mapping[str, bytes]) -> pa.Table:
    """Reviews in order of their names, whatever the order of the files."""
    lists = {name: _movie_ids(body) for name, body in files.items() if LIST_NAME.fullmatch(name)}
    matches = [match for name in sorted(files) if (match := REVIEW_NAME.fullmatch(name))]
    if not matches:
        raise SourceError(
            f"{path} holds no review named like 'aclImdb/train/pos/0_9.txt'. Give {FORMS}."
        )
    columns = [
        [_movie_id(match, lists) for match in matches],
        [_decoded(match.string, files[match.string]) for match in matches],
        ["positive" if match["label"] == "pos" else "negative" for match in matches],
        [int(match["rating"]) for match in matches],
    ]
    return pa.table(columns, schema=REVIEW_SCHEMA)


def _movie_ids(page_addresses: bytes) -> list[str | None]:
    """The film of review 0, 1, ...: one page address per line."""
    lines = page_addresses.decode("ascii", errors="replace").splitlines()
    return [match[0] if (match := MOVIE_ID.search(line)) else None for line in lines]


def _movie_id(review: re.Match[str], lists: Mapping[str, list[str | None]]) -> str | None:
    part = review.string.split("/")[1]
    ids, place = lists.get(f"aclImdb/{part}/urls_{review['label']}.txt", []), int(review["id"])
    return ids[place] if place < len(ids) else None


def _decoded(name: str, body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise SourceError(f"{name!r} is not UTF-8: {error}. Get the archive again.") from error


# ── Download ─────────────────────────────────────────────────────────────────────────────────


def _fetched(cache_dir: Path, archive: RemoteArchive, on_progress: ProgressFactory) -> Path:
    """The archive in ``cache_dir``: the copy there if it is whole, else downloaded now."""
    path = cache_dir / archive.name
    try:
        if path.is_file() and _md5(path) == archive.md5:
            return path
        cache_dir.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        _download(path, archive, on_progress)
    except httpx.HTTPError as error:
        raise _download_error(archive, f"{type(error).__name__} {error}".strip()) from error
    except OSError as error:
        raise _download_error(archive, f"it cannot be kept: {error}") from error
    return path


def _download(path: Path, archive: RemoteArchive, on_progress: ProgressFactory) -> None:
    """Fill ``path`` with the verified archive, or leave nothing, even when interrupted."""
    part = path.with_name(f"{path.name}.part")
    try:
        with (
            # As it is: a server that calls the archive's own gzip an encoding must not unpack it.
            httpx.stream(
                "GET",
                archive.url,
                timeout=TIMEOUT_SECONDS,
                follow_redirects=True,
                headers={"Accept-Encoding": "identity"},
            ) as response,
            on_progress(f"Downloading {archive.name}", archive.size_bytes) as advance,
        ):
            response.raise_for_status()
            _write(part, response.iter_raw(CHUNK_BYTES), archive, advance)
        if (found := _md5(part)) != archive.md5:
            raise _download_error(archive, f"its MD5 is {found}, expected {archive.md5}")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _write(
    part: Path, chunks: Iterable[bytes], archive: RemoteArchive, advance: Callable[[int], None]
) -> None:
    received = 0
    with part.open("wb") as file:
        for chunk in chunks:
            received += len(chunk)
            if received > archive.size_bytes:
                break
            file.write(chunk)
            advance(len(chunk))
    if received != archive.size_bytes:
        amount = f"more than {archive.size_bytes:,}" if received > archive.size_bytes else received
        raise _download_error(
            archive, f"{amount} bytes arrived, expected exactly {archive.size_bytes:,}"
        )


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _download_error(archive: RemoteArchive, what: str) -> DownloadError:
    return DownloadError(
        f"{archive.url} cannot be downloaded: {what}. Try again later, or name another source: "
        f"{FORMS}."
    )


def _terminal_or_log(title: str, size_bytes: int) -> AbstractContextManager[Callable[[int], None]]:
    shown = _progress_bar if sys.stderr.isatty() else _progress_log
    return shown(title, size_bytes)


@contextmanager
def _progress_bar(title: str, size_bytes: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=size_bytes)
        yield lambda received: progress.advance(task, received)


@contextmanager
def _progress_log(title: str, size_bytes: int) -> Iterator[Callable[[int], None]]:
    """A line at every quarter."""
    done = 0

    def advance(received: int) -> None:
        nonlocal done
        before, done = done, done + received
        if 4 * done // size_bytes > 4 * before // size_bytes:
            logger.info("%s: %d of %d bytes", title, done, size_bytes)

    yield advance
