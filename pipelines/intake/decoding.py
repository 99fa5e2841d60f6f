"""Decode the bytes of a delivery to rows; limits are checked before memory is allocated.

A fault of the whole file (truncated, not the format, columns missing, larger than a limit) raises
`UnreadableDeliveryError`. A fault of one row becomes a reason code on that row, so that the row
is quarantined and the others count.

Deliveries are decoded by `pipelines.intake.decoder`, in a process without privileges.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from pipelines.core.errors import UnreadableDeliveryError
from pipelines.intake.rows import (
    COLUMNS,
    DATE_INVALID,
    INVALID_UTF8,
    MALFORMED_ROW,
    RATING_INVALID,
    REQUIRED_COLUMNS,
    OnBlock,
    Rows,
    Sheet,
    too_large,
)
from pipelines.intake.text_rows import content, read_csv, read_jsonl

if TYPE_CHECKING:
    from pipelines.core.settings import IntakeSettings
    from pipelines.records.deliveries import FileFormat

__all__ = [
    "COLUMNS",
    "DATE_INVALID",
    "INVALID_UTF8",
    "MALFORMED_ROW",
    "RATING_INVALID",
    "REQUIRED_COLUMNS",
    "Rows",
    "decode",
    "decode_file",
]

MOST_NAME_CHARS = 200  # of a column that was not agreed on


def decode(
    data: bytes, file_format: FileFormat, *, is_gzipped: bool, intake: IntakeSettings
) -> Rows:
    """The rows of a delivered file, decoded in this process.

    Raises
    ------
    UnreadableDeliveryError
        As `decode_file` does.
    """
    rows = Rows()
    rows.extra_columns = decode_file(
        io.BytesIO(data), file_format, is_gzipped=is_gzipped, intake=intake, on_block=rows.extend
    )
    return rows


def decode_file(
    file: BinaryIO,
    file_format: FileFormat,
    *,
    is_gzipped: bool,
    intake: IntakeSettings,
    on_block: OnBlock,
) -> tuple[str, ...]:
    """Decode a delivered file block by block; blocks are valid only if this returns.

    Parameters
    ----------
    file : binary file
        A seekable file.
    file_format : FileFormat
        According to the file's name.
    is_gzipped : bool
        According to the file's name.
    intake : IntakeSettings
        The limits.
    on_block : callable
        Called with each block of rows.

    Returns
    -------
    extra_columns : tuple of str
        Names of the columns beyond the agreed ones, sorted.

    Raises
    ------
    UnreadableDeliveryError
        With one of the reasons ``unknown_format``, ``empty_file``, ``truncated``,
        ``not_gzip``, ``too_large``, ``too_many_rows``, ``too_many_columns``, ``too_many_parts``,
        ``wrong_columns``, ``malformed_csv``, ``not_jsonl``, ``not_parquet``, ``wrong_encoding``.
    """
    read = _reader(file_format)
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if not size:
        raise UnreadableDeliveryError("empty_file", "the file has 0 bytes.")
    if not is_gzipped and size > intake.max_decoded_bytes:
        raise too_large(intake)
    sheet = Sheet(intake, on_block)
    extra_columns = read(file, sheet, is_gzipped)
    sheet.finish()
    return tuple(sorted(name[:MOST_NAME_CHARS] for name in extra_columns))


_Reader = Callable[[BinaryIO, Sheet, bool], tuple[str, ...]]


def _reader(file_format: FileFormat) -> _Reader:
    readers: dict[str, _Reader] = {
        "csv": read_csv, "jsonl": read_jsonl, "parquet": _read_parquet,
    }  # fmt: skip
    if file_format not in readers:
        raise UnreadableDeliveryError(
            "unknown_format",
            "the file's name must end in .csv, .jsonl or .parquet (each also with .gz).",
        )
    return readers[file_format]


def _read_parquet(file: BinaryIO, sheet: Sheet, is_gzipped: bool) -> tuple[str, ...]:
    from pipelines.intake.parquet_rows import read_parquet

    if is_gzipped:
        unpacked = io.BytesIO()
        unpacked.writelines(content(file, sheet.intake, is_gzipped=True))
        file = unpacked
    return read_parquet(file, sheet)
