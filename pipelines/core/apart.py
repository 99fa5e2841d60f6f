"""Have a module work on a file that somebody else made, in a process of its own without rights.

The process gets the file as its standard input, opened again for reading alone, and a request as
its argument. It answers with messages: a kind, a length and a body. It gives its rights up itself
(`core.bare_process`); whoever reads the messages must not trust them.
"""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from pipelines.core import bare_process

if TYPE_CHECKING:
    import subprocess

MOST_BYTES_IN_MEMORY = 32 * 1024 * 1024  # of a file; a larger one is written to disk

HEAD = struct.Struct("=cI")  # of a message: its kind, and the length of its body
# Crashes of the process itself, which the same bytes cause again; and too much processor time.
OF_ITSELF = {
    signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS,
    signal.SIGXCPU,
}  # fmt: skip


class TooLargeMessageError(Exception):
    """A message is longer than any that the module sends."""


# ── The parent's side ────────────────────────────────────────────────────────────────────────


def unnamed_file(size_bytes: int) -> BinaryIO:
    """An empty file without a name: on disk, or in memory if it is small."""
    if size_bytes > MOST_BYTES_IN_MEMORY:
        import tempfile

        return cast("BinaryIO", tempfile.TemporaryFile())
    return os.fdopen(os.memfd_create("file"), "w+b")


class Apart:
    """A process that works on a file.

    Parameters
    ----------
    module : str
        Of this package; its ``main()`` answers.
    request : dict
        What `asked` returns there.
    file : binary file
        With a descriptor, e.g. from `unnamed_file`.
    wall_seconds : float
        Then it is ended.

    Attributes
    ----------
    is_late : bool
        Whether it was ended for that reason.

    Raises
    ------
    OSError
        If it does not start.
    """

    def __init__(
        self, module: str, request: dict[str, Any], file: BinaryIO, *, wall_seconds: float
    ) -> None:
        import threading

        self.is_late = False
        self._process = _started(bare_process.command(module, json.dumps(request)), file)
        self._timer = threading.Timer(wall_seconds, self._end)
        self._timer.start()

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, if it goes on sending."""
        self._process.kill()
        self._wait()

    def messages(self, most_bytes: int) -> Iterator[tuple[bytes, bytes]]:
        """Each message that comes whole: its kind and its body.

        Raises
        ------
        TooLargeMessageError
            If one claims more bytes than this.
        """
        stream = cast("IO[bytes]", self._process.stdout)
        while len(head := stream.read(HEAD.size)) == HEAD.size:
            kind, size = HEAD.unpack(head)
            if size > most_bytes:
                raise TooLargeMessageError
            body = stream.read(size)
            if len(body) < size:
                return
            yield kind, body

    def exit_code(self) -> int:
        """How it ended, once no more messages come: as `subprocess.Popen.returncode`."""
        return self._wait()

    def _end(self) -> None:
        self.is_late = True
        self._process.kill()

    def _wait(self) -> int:
        with self._process:
            code = self._process.wait()
        self._timer.cancel()
        self._timer.join()
        return code


def _started(command: list[str], file: BinaryIO) -> subprocess.Popen[bytes]:
    import subprocess

    file.flush()
    # Opened again, for a position of its own and read access only.
    readable = os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter, our own program
            command,
            stdin=readable,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=bare_process.ENVIRONMENT,
        )
    finally:
        os.close(readable)


# ── The child's side ─────────────────────────────────────────────────────────────────────────


def asked() -> tuple[dict[str, Any], io.FileIO, IO[bytes]]:
    """The request, the file, and where to `send` the messages."""
    return json.loads(sys.argv[3]), io.FileIO(0), os.fdopen(os.dup(1), "wb")


def send(answers: IO[bytes], kind: bytes, body: bytes) -> None:
    """Send a message."""
    answers.write(HEAD.pack(kind, len(body)))
    answers.write(body)
    answers.flush()
