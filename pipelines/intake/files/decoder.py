"""Decode a delivered file in a process without privileges, and do not trust its answer.

The parent passes the bytes as an open file without a name, and reads messages from a pipe: blocks
of rows (`intake.files.blocks`), then one that says how it ended. A message is a kind, a length and
a body. Each block is checked, and kept on disk.

If the child exceeds a limit or crashes, that is a result, because the same bytes cause it again. If
it is ended by anything else, such as a person, there is no result.
"""

from __future__ import annotations

import gc
import io
import json
import os
import signal
import struct
import sys
from contextlib import contextmanager
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from pipelines.core import bare_process
from pipelines.core.errors import DecoderGoneError, UnreadableDeliveryError
from pipelines.intake.files.blocks import not_understood, packed, unpacked
from pipelines.intake.files.decoding import decode_file
from pipelines.intake.files.reading import AGREED, Reading
from pipelines.intake.files.rows import (
    FAULTS,
    MOST_VALUE_CHARS,
    MOST_VALUES,
    TEXT_COLUMNS,
    check_row_count,
    check_value_bytes,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from pipelines.core.settings.data import IntakeSettings
    from pipelines.intake.files.spooled_rows import SpooledRows
    from pipelines.records.deliveries import FileFormat

BLOCK, DONE, REFUSED, NO_MEMORY = b"B", b"D", b"R", b"M"

_HEAD = struct.Struct("=cI")
_MOST_BLOCK_BYTES = 32 * 1024 * 1024  # 1 MiB and a row, times four if it is not UTF-8
_MOST_WORDS_BYTES = 1024 * 1024
MOST_BYTES_IN_MEMORY = 32 * 1024 * 1024  # of a delivery; a larger one is written to disk
# Crashes of the decoder itself, which the same bytes cause again.
_CRASHES = {
    signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS,
}  # fmt: skip


# ── The parent's side ────────────────────────────────────────────────────────────────────────


@contextmanager
def unnamed_file(size_bytes: int) -> Iterator[BinaryIO]:
    """An empty file without a name to write a delivery to: on disk, or in memory if it is small."""
    import tempfile

    try:
        if size_bytes > MOST_BYTES_IN_MEMORY:
            file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - closed below
        else:
            file = os.fdopen(os.memfd_create("delivery"), "w+b")
    except OSError as error:
        raise DecoderGoneError(f"could not get the file ({error.strerror})") from error
    with file:
        yield file


def decode_apart(
    file: BinaryIO,
    file_format: FileFormat,
    *,
    is_gzipped: bool,
    intake: IntakeSettings,
    reading: Reading = AGREED,
) -> SpooledRows:
    """The rows of a delivered file, decoded by a process without privileges.

    Parameters
    ----------
    file : binary file
        With a descriptor, e.g. from `unnamed_file`.
    file_format : FileFormat
        According to the file's name.
    is_gzipped : bool
        According to the file's name.
    intake : IntakeSettings
        The limits.
    reading : Reading
        What upstream calls things.

    Raises
    ------
    UnreadableDeliveryError
        As `intake.files.decoding.decode_file` does, and with the reasons ``decoder_memory_limit``,
        ``decoder_cpu_limit`` and ``decoder_failed``.
    DecoderGoneError
        If the process could not be started, or was ended from outside.
    """
    import threading

    request = {
        "file_format": file_format, "is_gzipped": is_gzipped, "intake": intake.model_dump(),
        "reading": reading.as_json(),
    }  # fmt: skip
    process = _started(file, json.dumps(request))
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(intake.max_decoder_wall_seconds, end)
    timer.start()
    try:
        with process:
            rows = _received(cast("IO[bytes]", process.stdout), intake)
    except UnreadableDeliveryError:
        process.kill()  # it may go on sending
        raise
    finally:
        timer.cancel()
        timer.join()
    if rows is not None:
        return rows
    if late.is_set():
        raise DecoderGoneError(f"gave no answer within {intake.max_decoder_wall_seconds:,.0f} s")
    raise _ended(process.returncode, intake)


def _started(file: BinaryIO, request: str) -> subprocess.Popen[bytes]:
    import subprocess

    try:
        file.flush()
        # Opened again, for a position of its own and read access only.
        readable = os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return subprocess.Popen(  # noqa: S603 - our own interpreter, our own program
                bare_process.command("pipelines.intake.files.decoder", request),
                stdin=readable,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=bare_process.ENVIRONMENT,
            )
        finally:
            os.close(readable)
    except OSError as error:
        raise DecoderGoneError(f"did not start ({error.strerror})") from error


def _received(stream: IO[bytes], intake: IntakeSettings) -> SpooledRows | None:
    """All rows if the child finished; None if it was ended."""
    from pipelines.intake.files.spooled_rows import SpooledRows

    rows, value_bytes = SpooledRows(), 0
    while len(head := stream.read(_HEAD.size)) == _HEAD.size:
        kind, size = _HEAD.unpack(head)
        if size > (_MOST_BLOCK_BYTES if kind == BLOCK else _MOST_WORDS_BYTES):
            raise not_understood()
        body = stream.read(size)
        if len(body) < size:
            return None
        if kind != BLOCK:
            return _finished(kind, body, rows, intake)
        block = unpacked(body)
        check_row_count(len(rows) + len(block), intake)
        value_bytes += sum(
            sys.getsizeof(text) for name in TEXT_COLUMNS for text in getattr(block, name)
        )
        check_value_bytes(value_bytes, intake)
        rows.append(body, len(block))
    return None


def _finished(kind: bytes, body: bytes, rows: SpooledRows, intake: IntakeSettings) -> SpooledRows:
    if kind == NO_MEMORY:
        raise _out_of_memory(intake)
    try:
        message = json.loads(body)
        if kind == DONE:
            rows.extra_columns = tuple(str(name) for name in message["extra_columns"])
            rows.found = _found(message["found"])
            return rows
        reason, detail, count = str(message["reason"]), str(message["detail"]), int(message["rows"])
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise not_understood() from error
    raise UnreadableDeliveryError(reason, detail, rows=max(0, min(count, intake.max_rows)))


def _found(message: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """What reason codes were found for, as far as such a message may go."""
    return {
        str(code): {
            str(value)[:MOST_VALUE_CHARS]: int(count)
            for value, count in list(values.items())[:MOST_VALUES]
        }
        for code, values in list(message.items())[: len(FAULTS) + 1]
    }


def _ended(code: int, intake: IntakeSettings) -> Exception:
    if code == -signal.SIGXCPU:
        return UnreadableDeliveryError(
            "decoder_cpu_limit",
            "decoding it takes more than "
            f"intake.max_decoder_cpu_seconds={intake.max_decoder_cpu_seconds} s.",
        )
    if -code in _CRASHES:
        name = signal.Signals(-code).name
        return UnreadableDeliveryError("decoder_failed", f"decoding it ends in a crash ({name}).")
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return DecoderGoneError(f"ended without an answer ({how})")


def _out_of_memory(intake: IntakeSettings) -> UnreadableDeliveryError:
    return UnreadableDeliveryError(
        "decoder_memory_limit",
        "decoding it takes more than "
        f"intake.max_decoder_memory_bytes={intake.max_decoder_memory_bytes:,}.",
    )


# ── The child's side ─────────────────────────────────────────────────────────────────────────


def main() -> None:
    """Decode the file on standard input, as requested in the arguments."""
    request = json.loads(sys.argv[3])
    intake: Any = SimpleNamespace(**request["intake"])
    answers = os.fdopen(os.dup(1), "wb")
    bare_process.give_up_everything(
        address_bytes=intake.max_decoder_memory_bytes, cpu_seconds=intake.max_decoder_cpu_seconds
    )
    gc.disable()  # there are no cycles, and hostile JSON would make it scan millions of lists
    kind, message = _decoded(answers, request, intake)
    _send(answers, kind, json.dumps(message).encode())
    answers.close()


def _decoded(
    answers: IO[bytes], request: dict[str, Any], intake: IntakeSettings
) -> tuple[bytes, dict[str, Any]]:
    """Send every block; returns the last message, whatever happens."""
    try:
        extra_columns, found = decode_file(
            io.FileIO(0), request["file_format"], is_gzipped=request["is_gzipped"], intake=intake,
            reading=Reading(**request["reading"]),
            on_block=lambda rows: _send(answers, BLOCK, packed(rows)),
        )  # fmt: skip
    except UnreadableDeliveryError as error:
        return REFUSED, {"reason": error.reason, "detail": error.detail, "rows": error.rows}
    except MemoryError:
        return NO_MEMORY, {}
    except Exception as error:  # noqa: BLE001 - the same bytes raise it again
        detail = f"decoding it failed unexpectedly ({type(error).__name__})."
        return REFUSED, {"reason": "decoder_failed", "detail": detail, "rows": 0}
    return DONE, {"extra_columns": extra_columns, "found": found}


def _send(answers: IO[bytes], kind: bytes, body: bytes) -> None:
    answers.write(_HEAD.pack(kind, len(body)))
    answers.write(body)
    answers.flush()
