"""Download the official archive once, completely or not at all."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from pipelines.core.errors import SourceError
from pipelines.simulation.archive import FORMS

logger = logging.getLogger(__name__)

# Given a title and the size in bytes: a context in which to report each chunk's bytes.
ProgressFactory = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
CHUNK_BYTES: Final = 256 * 1024
TIMEOUT_SECONDS: Final = httpx.Timeout(30.0, connect=5.0)


class DownloadError(SourceError):
    """The official archive cannot be fetched, or is not the archive when it arrives."""


@dataclass(frozen=True)
class RemoteArchive:
    """A file to download, with the size and digest that prove it is the right one."""

    url: str
    size_bytes: int
    md5: str

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


OFFICIAL_ARCHIVE = RemoteArchive(
    url="https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    size_bytes=84_125_825,
    md5="7c2ac02c03563afcf9b574c7e56c153a",
)


# ── Download ─────────────────────────────────────────────────────────────────────────────────


def fetch_archive(cache_dir: Path, archive: RemoteArchive, on_progress: ProgressFactory) -> Path:
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
        if (actual := _md5(part)) != archive.md5:
            raise _download_error(archive, f"its MD5 is {actual}, expected {archive.md5}")
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


def terminal_or_log(title: str, size_bytes: int) -> AbstractContextManager[Callable[[int], None]]:
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
