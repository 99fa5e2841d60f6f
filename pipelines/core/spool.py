"""Bytes that are too many for memory: written once, read again in any order."""

from __future__ import annotations

import tempfile
import weakref

MOST_BYTES_IN_MEMORY = 8 * 1024 * 1024


class Spool:
    """A temporary file without a name; in memory as long as it is small. It goes with its owner."""

    def __init__(self) -> None:
        self.size = 0
        self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - closed below
            max_size=MOST_BYTES_IN_MEMORY
        )
        weakref.finalize(self, self._file.close)

    def append(self, data: bytes) -> None:
        self._file.seek(self.size)
        self._file.write(data)
        self.size += len(data)

    def read(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        return self._file.read(size)
