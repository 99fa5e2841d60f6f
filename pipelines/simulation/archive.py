"""Reviews from the official archive, packed or unpacked."""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pyarrow as pa

from pipelines.core.errors import SourceError
from pipelines.simulation.made_up import REVIEW_SCHEMA

FORMS = "a .parquet, a .csv, a folder or .tar.gz of the archive, 'imdb' or 'made-up'"
MAX_REVIEW_BYTES: Final = 1024**2  # the longest review of the official archive has 14 kB
MAX_LIST_BYTES: Final = 16 * 1024**2
MAX_UNPACKED_BYTES: Final = 1024**3  # the official archive unpacks to about a quarter of it

REVIEW_NAME: Final = re.compile(
    r"aclImdb/(?:train|test)/(?P<label>pos|neg)/(?P<id>[0-9]{1,7})_(?P<rating>[1-9]|10)\.txt"
)
LIST_NAME: Final = re.compile(r"aclImdb/(?:train|test)/urls_(?:pos|neg)\.txt")
MOVIE_ID: Final = re.compile(r"tt[0-9]{7,8}")


# ── The official archive ─────────────────────────────────────────────────────────────────────


def from_archive(path: Path) -> pa.Table:
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
                "unpacked. It is not the official archive and is not read further."
            )
        if member.isreg() and _is_wanted(member.name):
            _check_size(member.name, member.size)
            content = members.extractfile(member)
            if content is not None:
                yield member.name, content.read()


def from_folder(path: Path) -> pa.Table:
    root = path if path.name == "aclImdb" else path / "aclImdb"
    files = {f"aclImdb/{file.relative_to(root).as_posix()}": file for file in _text_files(root)}
    review_files = {name: file for name, file in files.items() if _is_wanted(name)}
    for name, file in review_files.items():
        _check_size(name, file.stat().st_size)
    return _as_table(path, {name: file.read_bytes() for name, file in review_files.items()})


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
