"""Decode the bytes of a delivery to rows; limits are checked before memory is allocated.

A fault of the whole file (truncated, not the format, columns missing, larger than a limit) raises
`UnreadableDeliveryError`. A fault of one row becomes a reason code on that row, so that the row
is quarantined and the others count.

Deliveries are decoded by `pipelines.intake.files.decoder`, in a process without privileges.
"""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from pipelines.core.errors import UnreadableDeliveryError
from pipelines.intake.files import kinds
from pipelines.intake.files.reading import AGREED, COLUMNS, REQUIRED_COLUMNS, Reading
from pipelines.intake.files.rows import (
    DATE_INVALID,
    INVALID_UTF8,
    MALFORMED_ROW,
    RATING_INVALID,
    OnBlock,
    RawRows,
    Rows,
    Sheet,
    too_large,
)
from pipelines.intake.files.text_rows import content, read_csv, read_jsonl

if TYPE_CHECKING:
    from pipelines.core.settings.data import IntakeSettings
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
    data: bytes,
    file_format: FileFormat,
    *,
    is_gzipped: bool,
    intake: IntakeSettings,
    reading: Reading = AGREED,
) -> Rows:
    """The rows of a delivered file, decoded in this process.

    Raises
    ------
    UnreadableDeliveryError
        As `decode_file` does.
    """
    rows = Rows()
    sheet = decode_file(
        io.BytesIO(data), file_format, is_gzipped=is_gzipped, intake=intake, reading=reading,
        on_block=rows.extend,
    )  # fmt: skip
    rows.extra_columns, rows.found = sheet
    return rows


def decode_file(
    file: BinaryIO,
    file_format: FileFormat,
    *,
    is_gzipped: bool,
    intake: IntakeSettings,
    reading: Reading,
    on_block: OnBlock,
) -> tuple[tuple[str, ...], dict[str, dict[str, int]]]:
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
    reading : Reading
        What upstream calls things.
    on_block : callable
        Called with each block of rows.

    Returns
    -------
    extra_columns : tuple of str
        Names of the columns beyond the agreed ones, sorted.
    found : dict
        As `Rows.found`.

    Raises
    ------
    UnreadableDeliveryError
        With one of the reasons ``unknown_format``, ``other_format``, ``empty_file``,
        ``truncated``, ``not_gzip``, ``too_large``, ``too_many_rows``, ``too_many_columns``,
        ``too_many_parts``, ``wrong_columns``, ``malformed_csv``, ``not_jsonl``, ``not_parquet``,
        ``wrong_encoding``.
    """
    sheet = Sheet(intake, on_block, reading)
    rows = raw_rows(file, file_format, is_gzipped=is_gzipped, intake=intake, reading=reading)
    while True:
        try:
            row = next(rows)
        except StopIteration as end:
            extra_columns: tuple[str, ...] = end.value
            break
        sheet.append(row)
    sheet.finish()
    return tuple(sorted(name[:MOST_NAME_CHARS] for name in extra_columns)), sheet.found


def raw_rows(
    file: BinaryIO,
    file_format: FileFormat,
    *,
    is_gzipped: bool,
    intake: IntakeSettings,
    reading: Reading,
    unpacked: IO[bytes] | None = None,
) -> RawRows:
    """The rows of a file as they stand there: the only reader, for deliveries and for scoring.

    ``unpacked`` is an empty file for the content of a gzipped Parquet file; by default it is held
    in memory. The rest, also what is raised and returned, is as for `decode_file`.
    """
    if file_format not in _FORMATS:
        raise UnreadableDeliveryError(
            "unknown_format",
            "the file's name must end in .csv, .jsonl or .parquet (each also with .gz).",
        )
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if not size:
        raise UnreadableDeliveryError("empty_file", "the file has 0 bytes.")
    if is_gzipped:
        _check_gzip(file)
    elif size > intake.max_decoded_bytes:
        raise too_large(intake)
    if file_format == "csv":
        return read_csv(file, intake, reading, is_gzipped=is_gzipped)
    if file_format == "jsonl":
        return read_jsonl(file, intake, reading, is_gzipped=is_gzipped)
    return _parquet_rows(file, intake, reading, (unpacked or io.BytesIO()) if is_gzipped else None)


_FORMATS = ("csv", "jsonl", "parquet")


def _check_gzip(file: BinaryIO) -> None:
    kinds.check_gzip(file.read(kinds.HEAD_BYTES))
    file.seek(0)


def _parquet_rows(
    file: BinaryIO, intake: IntakeSettings, reading: Reading, unpacked: Any
) -> RawRows:
    from pipelines.intake.files.parquet_rows import read_parquet

    if unpacked is not None:
        unpacked.writelines(content(file, intake, is_gzipped=True))
        file = unpacked
    return (yield from read_parquet(file, intake, reading))
