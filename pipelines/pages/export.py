"""What a page shows, as a file: CSV for a spreadsheet, JSON for a program."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Final

from fastapi import Response

from pipelines.core.escaping import visible
from pipelines.core.record import canonical_json
from pipelines.pages.frame import inert_headers

FORMATS: Final = ("csv", "json")
_TYPES: Final = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # how what a spreadsheet would run begins


def file(lines: Sequence[Mapping[str, object]], name: str, format_: str) -> Response:
    """The lines as a download; foreign text in it stays text, in a spreadsheet, too."""
    body = canonical_json([dict(line) for line in lines]) if format_ == "json" else _csv(lines)
    disposition = f'attachment; filename="{name}.{format_}"'
    return Response(
        body,
        media_type=_TYPES[format_],
        headers=inert_headers() | {"Content-Disposition": disposition},
    )


def _csv(lines: Sequence[Mapping[str, object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if lines:
        writer.writerow(lines[0])
    writer.writerows([_cell(value) for value in line.values()] for line in lines)
    return text.getvalue().encode("utf-8", "replace")


def _cell(value: object) -> str:
    shown = "" if value is None else visible(str(value))
    is_text = isinstance(value, str)
    return f"'{shown}" if is_text and shown.startswith(_FORMULA) else shown
