"""Read the rows of a Parquet file without trusting its footer or its page headers.

Before Arrow reads a column, the sizes in the headers of its pages are added up. A dictionary page,
or a page of delta-encoded strings, can repeat one large value in every row; the number of rows per
batch is small enough for that.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.errors import UnreadableDeliveryError
from pipelines.intake.files import kinds
from pipelines.intake.files.parquet_pages import DICTIONARY_PAGE, Page, read_page
from pipelines.intake.files.reading import Reading, located
from pipelines.intake.files.rows import RawRow, RawRows, check_row_count, too_large

if TYPE_CHECKING:
    from pipelines.core.settings.data import IntakeSettings

MOST_FOOTER_BYTES = 1024 * 1024
MOST_PARTS = 10_000  # elements of one list in the footer: row groups, columns
MOST_PAGES = 65_536
MOST_REPEATED_BYTES = 8 * 1024 * 1024  # of a page whose values can repeat; writers use 1 MiB

_MARK = b"PAR1"  # both ends of a whole file
_TAIL_BYTES = 8
_BATCH_ROWS, _BATCH_BYTES = 8192, 32 * 1024 * 1024
_SLICE_BYTES = 8 * 1024 * 1024
_BUFFER_BYTES = 1024 * 1024


def read_parquet(file: BinaryIO, intake: IntakeSettings, reading: Reading) -> RawRows:
    """Every row; returns the columns beyond ours.

    Raises
    ------
    UnreadableDeliveryError
        If the file is not Parquet, or exceeds a limit.
    """
    try:
        return (yield from _read(file, intake, reading))
    except MemoryError:
        raise  # Arrow's MemoryError is also an ArrowException
    # ValueError: names or values that are not UTF-8; LookupError: an unknown time zone.
    except (pa.ArrowException, OSError, OverflowError, ValueError, LookupError) as error:
        first_line = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UnreadableDeliveryError(
            "truncated" if _is_cut(file) else "not_parquet",
            f"the file cannot be read as Parquet ({first_line}).",
        ) from error


def _is_cut(file: BinaryIO) -> bool:
    file.seek(0)
    starts = file.read(len(_MARK)) == _MARK
    return starts and _tail(file)[-len(_MARK) :] != _MARK


def _tail(file: BinaryIO) -> bytes:
    file.seek(max(0, file.seek(0, io.SEEK_END) - _TAIL_BYTES))
    return file.read()


def _read(file: BinaryIO, intake: IntakeSettings, reading: Reading) -> RawRows:
    file.seek(0)
    kinds.check(file.read(kinds.HEAD_BYTES), "parquet")
    metadata = _metadata(file)
    check_row_count(metadata.num_rows, intake)
    names = metadata.schema.to_arrow_schema().names
    places, extra = located(names, lambda: int(metadata.num_rows), intake, reading)
    ours = {names[place]: column for column, place in places.items()}
    _check_types(metadata.schema, list(ours))
    pages = list(_pages(file, metadata, list(ours), intake))
    batches = _opened(file, metadata=metadata).iter_batches(
        batch_size=_batch_rows(pages, intake), columns=list(ours), use_threads=False
    )
    rows = 0
    for batch in batches:
        check_row_count(rows + batch.num_rows, intake)
        for values in _batch_values(batch, ours, intake):
            rows += 1
            yield RawRow(values, None, rows)
    return extra


def _opened(source: Any, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
    return pq.ParquetFile(
        source,
        metadata=metadata,
        buffer_size=_BUFFER_BYTES,
        pre_buffer=False,
        thrift_string_size_limit=MOST_FOOTER_BYTES,
        thrift_container_size_limit=MOST_PARTS,
    )


def _metadata(file: BinaryIO) -> pq.FileMetaData:
    """The footer without the Arrow schema in it: Parquet's own types are enough."""
    tail = _tail(file)
    if len(tail) < _TAIL_BYTES or tail[-len(_MARK) :] != _MARK:
        raise ValueError("its last four bytes are not PAR1")
    size = int.from_bytes(tail[:4], "little")
    if size > MOST_FOOTER_BYTES:
        raise UnreadableDeliveryError(
            "too_many_parts",
            f"its footer claims {size:,} bytes; at most {MOST_FOOTER_BYTES:,} are read.",
        )
    file.seek(max(0, file.seek(0, io.SEEK_END) - _TAIL_BYTES - size))
    footer = file.read(size).replace(b"ARROW:schema", b"ARROW:ignore")
    return _opened(pa.BufferReader(_MARK + footer + tail)).metadata


# ── Before anything is read ──────────────────────────────────────────────────────────────────


def _check_types(schema: pq.ParquetSchema, present: list[str]) -> None:
    """Refuse lists, structs and values whose length the footer sets: reviews have none."""
    arrow_schema = schema.to_arrow_schema()
    columns = map(schema.column, range(len(schema.names)))
    is_uuid = {column.path: column.logical_type.type == "UUID" for column in columns}
    for name in present:
        kind = arrow_schema.field(name).type
        if not (_is_plain(kind) or is_uuid.get(name)):
            raise UnreadableDeliveryError(
                "wrong_columns",
                f"column {name!r} has the type {str(kind)[:80]}; text, a number or a date is "
                "expected.",
            )


def _is_plain(kind: pa.DataType) -> bool:
    types = pa.types
    checks = (
        types.is_string, types.is_large_string, types.is_binary, types.is_large_binary,
        types.is_integer, types.is_floating, types.is_boolean, types.is_date,
        types.is_timestamp, types.is_time, types.is_decimal, types.is_null,
    )  # fmt: skip
    return any(check(kind) for check in checks)


def _pages(
    file: BinaryIO, metadata: pq.FileMetaData, present: list[str], intake: IntakeSettings
) -> Iterator[Page]:
    """Every page that will be read; raises if together they exceed a limit."""
    paths = [metadata.schema.column(index).path for index in range(metadata.num_columns)]
    columns = [paths.index(name) for name in present]
    file_bytes = file.seek(0, io.SEEK_END)
    chunks = (
        metadata.row_group(group).column(column)
        for group in range(metadata.num_row_groups)
        for column in columns
    )
    packed_bytes = plain_bytes = 0
    pages = chain.from_iterable(_chunk_pages(file, chunk) for chunk in chunks)
    for number, page in enumerate(pages):
        packed_bytes += page.packed_bytes
        plain_bytes += page.plain_bytes
        if packed_bytes > file_bytes:
            raise ValueError("its pages overlap")
        if plain_bytes > intake.max_decoded_bytes:
            raise too_large(intake)
        _check_page(page, number)
        yield page


def _check_page(page: Page, number: int) -> None:
    if number >= MOST_PAGES:
        raise UnreadableDeliveryError(
            "too_many_parts", f"the file has more than {MOST_PAGES:,} pages."
        )
    if page.can_repeat and page.plain_bytes > MOST_REPEATED_BYTES:
        raise UnreadableDeliveryError(
            "too_large",
            f"a page of values that can repeat has {page.plain_bytes:,} bytes; at most "
            f"{MOST_REPEATED_BYTES:,} are read.",
        )


def _chunk_pages(file: BinaryIO, chunk: pq.ColumnChunkMetaData) -> Iterator[Page]:
    """The pages of one column in one row group, located as Arrow locates them."""
    position, values = chunk.data_page_offset, 0
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < position:
        position = chunk.dictionary_page_offset
    end = position + chunk.total_compressed_size
    if chunk.file_path or not 0 <= position <= end:
        raise ValueError("a column lies outside of the file")
    while values < chunk.num_values:
        page = read_page(file, position)
        position += page.header_bytes + page.packed_bytes
        if position > end:
            raise ValueError("a page ends behind its column")
        values += page.values if page.kind != DICTIONARY_PAGE else 0
        yield page


def _batch_rows(pages: list[Page], intake: IntakeSettings) -> int:
    """How many rows fit into the memory of one batch if each has the largest value."""
    largest = max((page.plain_bytes for page in pages if page.can_repeat), default=1)
    return max(1, min(_BATCH_ROWS, min(_BATCH_BYTES, intake.max_decoded_bytes) // max(1, largest)))


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────


def _batch_values(
    batch: pa.RecordBatch, ours: dict[str, str], intake: IntakeSettings
) -> Iterator[dict[str, Any]]:
    """Rows by our names, a few converted at a time, so that a batch is not held twice in memory."""
    step = max(1, batch.num_rows * _SLICE_BYTES // max(_SLICE_BYTES, batch.nbytes))
    for name in batch.schema.names:
        _check_lengths(name, batch.column(name), intake)
    for start in range(0, batch.num_rows, step):
        part = batch.slice(start, step)
        values = {ours[name]: _python_values(part.column(name)) for name in part.schema.names}
        for row in range(part.num_rows):
            yield {name: column[row] for name, column in values.items()}


def _check_lengths(name: str, column: pa.Array, intake: IntakeSettings) -> None:
    if not (pa.types.is_string(column.type) or pa.types.is_binary(column.type)):
        return
    longest = pc.max(pc.binary_length(column)).as_py() or 0
    if longest > intake.max_row_chars:
        raise UnreadableDeliveryError(
            "too_large",
            f"a value of column {name!r} has {longest:,} bytes; "
            f"intake.max_row_chars is {intake.max_row_chars:,}.",
        )


def _python_values(column: pa.Array) -> list[Any]:
    if pa.types.is_string(column.type):  # which may still not be UTF-8
        return [
            None if value is None else value.decode("utf-8", "surrogateescape")
            for value in column.cast(pa.binary()).to_pylist()
        ]
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):  # a moment that Python has no date for
        values = [_python_value(value) for value in column]
    return values


def _python_value(value: pa.Scalar) -> Any:
    """A value; one that Python has no type for as a text, which is no date."""
    try:
        return value.as_py()
    except (ValueError, OverflowError):
        return f"{value.value} since 1970"
