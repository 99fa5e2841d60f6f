"""Thrift's compact protocol, written: enough to make Parquet footers and pages that lie."""

from __future__ import annotations

from typing import Any


class I64(int):
    """A whole number that the footer calls 64 bits wide."""


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def zigzag(number: int) -> bytes:
    return varint(((number << 1) ^ (number >> 63)) & 0xFFFFFFFFFFFFFFFF)


def struct(fields: dict[int, Any]) -> bytes:
    """A struct of field id to value: int, I64, bytes, list of one kind, or dict for a struct."""
    out, last = b"", 0
    for field, value in sorted(fields.items()):
        kind = _kind(value)
        delta = field - last
        out += bytes([delta << 4 | kind]) if delta < 16 else bytes([kind]) + zigzag(field)
        out += _body(value)
        last = field
    return out + b"\0"


def _kind(value: Any) -> int:
    kinds = {I64: 6, int: 5, bytes: 8, list: 9, dict: 12}
    return kinds[type(value)]


def _body(value: Any) -> bytes:
    if isinstance(value, int):
        return zigzag(value)
    if isinstance(value, bytes):
        return varint(len(value)) + value
    if isinstance(value, dict):
        return struct(value)
    return list_head(len(value), _kind(value[0]) if value else 5) + b"".join(map(_body, value))


def list_head(size: int, kind: int) -> bytes:
    """The beginning of a list, which may claim more than there is."""
    return bytes([size << 4 | kind]) if size < 15 else bytes([0xF0 | kind]) + varint(size)
