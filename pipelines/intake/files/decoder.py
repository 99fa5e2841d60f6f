"""Decode a delivered file in a process without privileges, and do not trust its answer.

The parent passes the bytes as an open file without a name, and reads messages from a pipe: blocks
of rows (`intake.files.blocks`), then one that says how it ended. A message is a kind, a length and
a body. Each block is checked, and kept on disk.

If the child exceeds a limit or crashes, that is a result, because the same bytes cause it again. If
it is ended by anything else, such as a person, there is no result.
"""

from __future__ import annotations

import gc
import json
import re
import signal
import sys
from contextlib import contextmanager
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from pipelines.core import apart, bare_process
from pipelines.core.apart import OF_ITSELF, Apart, TooLargeMessageError, asked, send
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
    import io
    from collections.abc import Iterator

    from pipelines.core.settings.data import IntakeSettings
    from pipelines.intake.files.spooled_rows import SpooledRows
    from pipelines.records.deliveries import FileFormat

BLOCK, DONE, REFUSED, NO_MEMORY = b"B", b"D", b"R", b"M"

_MOST_BLOCK_BYTES = 32 * 1024 * 1024  # 1 MiB and a row, times four if it is not UTF-8
_MOST_WORDS_BYTES = 1024 * 1024
_REASON, _MOST_DETAIL_CHARS = re.compile("[a-z][a-z0-9_]{0,39}"), 2_000


# ── The parent's side ────────────────────────────────────────────────────────────────────────


@contextmanager
def unnamed_file(size_bytes: int) -> Iterator[BinaryIO]:
    """An empty file without a name to write a delivery to: on disk, or in memory if it is small."""
    try:
        file = apart.unnamed_file(size_bytes)
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
    request = {
        "file_format": file_format, "is_gzipped": is_gzipped, "intake": intake.model_dump(),
        "reading": reading.as_json(),
    }  # fmt: skip
    seconds = intake.max_decoder_wall_seconds
    try:
        process = Apart(__name__, request, file, wall_seconds=seconds)
    except OSError as error:
        raise DecoderGoneError(f"did not start ({error.strerror})") from error
    with process:
        rows = _received(process, intake)
        if rows is not None:
            return rows
        code = process.exit_code()
    if process.is_late:
        raise DecoderGoneError(f"gave no answer within {seconds:,.0f} s")
    raise _ended(code, intake)


def _received(process: Apart, intake: IntakeSettings) -> SpooledRows | None:
    """All rows if the process finished; None if it was ended."""
    from pipelines.intake.files.spooled_rows import SpooledRows

    rows, value_bytes = SpooledRows(), 0
    try:
        for kind, body in process.messages(_MOST_BLOCK_BYTES):
            if kind != BLOCK:
                return _finished(kind, body, rows, intake)
            block = unpacked(body)
            check_row_count(len(rows) + len(block), intake)
            value_bytes += sum(
                sys.getsizeof(text) for name in TEXT_COLUMNS for text in getattr(block, name)
            )
            check_value_bytes(value_bytes, intake)
            rows.append(body, len(block))
    except TooLargeMessageError as error:
        raise not_understood() from error
    return None


def _finished(kind: bytes, body: bytes, rows: SpooledRows, intake: IntakeSettings) -> SpooledRows:
    if len(body) > _MOST_WORDS_BYTES:
        raise not_understood()
    if kind == NO_MEMORY:
        raise _out_of_memory(intake)
    try:
        message = json.loads(body)
        json.dumps(message, ensure_ascii=False).encode()  # half a character can be stored nowhere
        if kind == DONE:
            rows.extra_columns = tuple(str(name) for name in message["extra_columns"])
            rows.found = _found(message["found"], intake)
            return rows
        reason, detail = str(message["reason"]), str(message["detail"])[:_MOST_DETAIL_CHARS]
        count = _count(message["rows"], intake)
    except (
        ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError,
    ) as error:  # fmt: skip
        raise not_understood() from error
    if not _REASON.fullmatch(reason):
        raise not_understood()
    raise UnreadableDeliveryError(reason, detail, rows=count)


def _count(number: int, intake: IntakeSettings) -> int:
    return max(0, min(int(number), intake.max_rows))


def _found(message: dict[str, dict[str, int]], intake: IntakeSettings) -> dict[str, dict[str, int]]:
    """What reason codes were found for, as far as such a message may go."""
    return {
        str(code): {
            str(value)[:MOST_VALUE_CHARS]: _count(count, intake)
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
    if -code in OF_ITSELF:
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
    request, file, answers = asked()
    intake: Any = SimpleNamespace(**request["intake"])
    bare_process.give_up_everything(
        address_bytes=intake.max_decoder_memory_bytes, cpu_seconds=intake.max_decoder_cpu_seconds
    )
    gc.disable()  # there are no cycles, and hostile JSON would make it scan millions of lists
    kind, message = _decoded(file, answers, request, intake)
    send(answers, kind, json.dumps(message).encode())
    answers.close()


def _decoded(
    file: io.FileIO, answers: IO[bytes], request: dict[str, Any], intake: IntakeSettings
) -> tuple[bytes, dict[str, Any]]:
    """Send every block; returns the last message, whatever happens."""
    try:
        extra_columns, found = decode_file(
            file, request["file_format"], is_gzipped=request["is_gzipped"], intake=intake,
            reading=Reading(**request["reading"]),
            on_block=lambda rows: send(answers, BLOCK, packed(rows)),
        )  # fmt: skip
    except UnreadableDeliveryError as error:
        return REFUSED, {"reason": error.reason, "detail": error.detail, "rows": error.rows}
    except MemoryError:
        return NO_MEMORY, {}
    except Exception as error:  # noqa: BLE001 - the same bytes raise it again
        detail = f"decoding it failed unexpectedly ({type(error).__name__})."
        return REFUSED, {"reason": "decoder_failed", "detail": detail, "rows": 0}
    return DONE, {"extra_columns": extra_columns, "found": found}
