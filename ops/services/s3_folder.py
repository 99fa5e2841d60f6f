"""An S3 server on a folder: an object is on the disk before the server says that it is.

    AWS_ACCESS_KEY_ID=... python -m ops.services.s3_folder FOLDER [--port 9000]

LocalBucket with what the loop needs beyond it: no part of an object is ever stored, an answer comes
after the disk has the object, listings read only the folder they are about, and whoever does not
name the access key is refused. Secrets are not checked, so it listens on 127.0.0.1 only. It prints
its port; without ``--port`` it chooses a free one.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import hashlib
import hmac
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

from localbucket import TEMP_PREFIX, S3Error, S3Handler

from ops.services.processes import LOOPBACK

LOCK = ".lock"
_NO_FILE = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}
_DIGEST = re.compile(r"[0-9a-f]{64}")


class FolderServer(ThreadingHTTPServer):
    """The only server of its folder; it removes what an earlier one did not finish.

    Raises
    ------
    BlockingIOError
        If another one serves this folder.
    """

    request_queue_size = 128  # as many may connect at once
    daemon_threads = True

    def __init__(self, folder: Path, *, port: int, access_key: str, is_synced: bool = True) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for part in self.folder.rglob(f"{TEMP_PREFIX}*"):
            if part.is_file():
                part.unlink()
        own = {"data_root": self.folder, "access_key": access_key, "is_synced": is_synced}
        super().__init__((LOOPBACK, port), type("FolderHandler", (_Handler,), own))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong, except that a client is gone."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        self._lock.close()


class _Handler(S3Handler):  # type: ignore[misc]  # LocalBucket has no types
    disable_nagle_algorithm = True  # an answer is two writes; the second would wait for 40 ms
    access_key = ""
    is_synced = True
    has_answered = False
    unsynced: Path | None = None  # a folder that the disk must have before the answer

    def log_message(self, *_: Any) -> None:
        """Nothing: the clients say what went wrong."""

    def do_OPTIONS(self) -> None:  # noqa: N802 - the name that http.server calls
        """A browser's question whether any page may use the buckets."""
        self._send_error(_refused())

    def _dispatch(self, action: Callable[[str, str], None]) -> None:
        self.has_answered = False
        super()._dispatch(lambda bucket, key: self._answer(action, bucket, key))

    def _answer(self, action: Callable[[str, str], None], bucket: str, key: str) -> None:
        credential = re.search(r"Credential=([^/,\s]*)/", self.headers.get("Authorization", ""))
        named = (credential[1] if credential else "").encode()
        if not hmac.compare_digest(named, self.access_key.encode()):
            raise _refused()
        try:
            action(bucket, key)
        except ConnectionError:
            raise
        except (OSError, ValueError) as error:
            if self.has_answered:
                raise
            raise _of(error) from error

    def _send_headers(self, *arguments: Any, **options: Any) -> None:
        folder, self.unsynced = self.unsynced, None
        if folder:
            self._sync(folder)
        self.has_answered = True
        super()._send_headers(*arguments, **options)

    def _read_body(self) -> bytes:
        """The whole body, or an error: a client may have died in the middle of it."""
        body: bytes = super()._read_body()
        length, digest = (
            self.headers.get(name, "") for name in ("Content-Length", "x-amz-content-sha256")
        )
        # A body in chunks says itself where it ends.
        in_chunks = digest.startswith("STREAMING-") or "chunked" in (
            self.headers.get("Transfer-Encoding", "") + self.headers.get("Content-Encoding", "")
        )
        if not in_chunks and len(body) != int(length or 0):
            raise _incomplete(f"{len(body):,} of {length} bytes came")
        if _DIGEST.fullmatch(digest) and hashlib.sha256(body).hexdigest() != digest:
            raise _incomplete("the bytes are not those that the client signed")
        return body

    def _create_bucket(self, bucket: str) -> None:
        self.unsynced = self.data_root  # LocalBucket answers in the next line
        super()._create_bucket(bucket)

    def _write_object(self, bucket: str, key: str, write: Callable[[IO[bytes]], str]) -> str:
        target: Path = self._object_path(bucket, key)
        folders = [folder for folder in target.parents if not folder.exists()]

        def write_to_disk(file: IO[bytes]) -> str:
            etag = write(file)
            file.flush()
            if self.is_synced:
                os.fsync(file.fileno())
            return etag

        etag: str = super()._write_object(bucket, key, write_to_disk)
        for folder in (target, *folders):
            self._sync(folder.parent)  # holds the name
        return etag

    def _sync(self, folder: Path) -> None:
        if not self.is_synced:
            return
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)

    def _list_entries(
        self, bucket_dir: Path, prefix: str, delimiter: str, marker: str, is_folder: bool, most: int
    ) -> tuple[list[tuple[str, Path]], list[str], bool, str]:
        """A page of keys and common prefixes after the marker.

        LocalBucket's reads the whole bucket for each page.
        """
        contents: list[tuple[str, Path]] = []
        prefixes: list[str] = []
        last = ""
        folder = prefix[: prefix.rfind("/") + 1]  # the one folder that can have them
        if not {"", ".", ".."}.isdisjoint(folder.split("/")[:-1]):
            folder = ""
        for key, path in _keys(bucket_dir / folder, folder, prefix, marker):
            head, found, _ = key[len(prefix) :].partition(delimiter or "\0")
            common = prefix + head + found if found else ""
            if (is_folder and key.startswith(marker)) or (common and common in prefixes[-1:]):
                continue
            if len(contents) + len(prefixes) >= most:
                return contents, prefixes, most > 0, last
            if common:
                prefixes.append(common)
            else:
                contents.append((key, path))
            last = f"P:{common}" if common else f"K:{key}"
        return contents, prefixes, False, last


def _keys(folder: Path, start: str, prefix: str, after: str) -> Iterator[tuple[str, Path]]:
    """Keys in a folder that begin with ``prefix`` and follow ``after``, in order, with their files.

    No folder is read that can have none, or before its turn comes. ``start`` is the folder's key.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(filter(None, (_name(entry) for entry in entries)))
    except (FileNotFoundError, NotADirectoryError):  # none, or its last object was deleted
        return
    for name in names:
        key, path = start + name, folder / name
        if not name.endswith("/"):
            if key.startswith(prefix) and key > after:
                yield key, path
        elif _may_begin(key, prefix) and (key > after or after.startswith(key)):
            yield from _keys(path, key, prefix, after)


def _may_begin(folder: str, prefix: str) -> bool:
    """Whether a key in a folder can begin with a prefix."""
    return folder.startswith(prefix) or prefix.startswith(folder)


def _name(entry: os.DirEntry[str]) -> str:
    """The part of a key that it is, with a slash if it is a folder; empty for what is no key."""
    if entry.is_dir(follow_symlinks=False):
        return f"{entry.name}/"
    return entry.name if entry.is_file() and not entry.name.startswith(TEMP_PREFIX) else ""


def _refused() -> S3Error:
    message = "The request does not name the access key of this server."
    return S3Error(HTTPStatus.FORBIDDEN, "InvalidAccessKeyId", message)


def _of(error: OSError | ValueError) -> S3Error:
    """What it says of a key that cannot be a file, or of a disk that does not do its work."""
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, ValueError) or error.errno in _NO_FILE:
        return S3Error(HTTPStatus.BAD_REQUEST, "InvalidArgument", f"This cannot be kept: {what}")
    return S3Error(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", what)


def _incomplete(what: str) -> S3Error:
    return S3Error(HTTPStatus.BAD_REQUEST, "IncompleteBody", f"Nothing was stored: {what}.")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m ops.services.s3_folder", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="where the buckets are, or will be")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--no-sync", action="store_true", help="do not wait for the disk")
    parser.add_argument(
        "--until-end-of-input", action="store_true", help="end with whoever started it"
    )
    chosen = parser.parse_args()
    key = os.environ.get("AWS_ACCESS_KEY_ID", "")
    if not key:
        parser.error("AWS_ACCESS_KEY_ID must say which access key the clients will name")
    server = FolderServer(
        chosen.folder, port=chosen.port, access_key=key, is_synced=not chosen.no_sync
    )
    sys.stdout.write(f"port {server.server_port}\n")
    sys.stdout.flush()
    if chosen.until_end_of_input:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()
    else:
        server.serve_forever()


if __name__ == "__main__":
    main()
