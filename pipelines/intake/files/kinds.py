"""Name the kind of file that its first bytes show, where its name says another."""

from __future__ import annotations

import codecs
import re

from pipelines.core.errors import UnreadableDeliveryError

HEAD_BYTES = 1024

# Where a mark stands, the mark, and what it marks. Marks of letters and digits may begin a text
# ("ORCID,text"): they count only in a file that holds control characters.
_MARKS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x1f\x8b", "gzip"),
    (0, b"PK\x05\x06", "an empty ZIP archive"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ\x00", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard (zstd)"),
    (0, b"\x04\x22\x4d\x18", "LZ4"),
    (0, b"\xff\x06\x00\x00sNaPpY", "Snappy"),
    (0, b"LZIP", "lzip"),
    (0, b"x\x9c", "zlib"),
    (0, b"x\xda", "zlib"),
    (0, b"\x5d\x00\x00", "LZMA"),
    (0, b"\x1f\x9d", "compress (.Z)"),
    (0, b"\x1f\xa0", "compress (.Z)"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"PAR1", "Parquet"),
    (0, b"PARE", "encrypted Parquet"),
    (0, b"ORC", "ORC"),
    (0, b"Obj\x01", "Avro"),
    (0, b"ARROW1", "Arrow IPC (Feather)"),
    (0, b"FEA1", "Feather"),
    (0, b"SEQ\x06", "a Hadoop sequence file"),
    (0, b"RCF\x01", "a Hadoop RCFile"),
    (0, b"SQLite format 3\x00", "an SQLite database"),
    (8, b"DUCK", "a DuckDB database"),
    (4, b"Standard Jet DB", "an Access database"),
    (4, b"Standard ACE DB", "an Access database"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document such as .xls"),
    (0, b"%PDF-", "PDF"),
    (0, b"{\\rtf", "RTF"),
    (0, b"\x89HDF\r\n", "HDF5"),
    (0, b"CDF\x01", "NetCDF"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"$FL2", "SPSS"),
    (0, b"<stata_dta>", "Stata"),
    (0, bytes(12) + b"\xc2\xea\x81\x60\xb3\x14\x11\xcf", "SAS"),
    (0, b"bplist00", "a binary property list of Apple"),
    (0, b"RDX", "R data"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ\x90", "a program"),
    (0, b"-----BEGIN ", "PEM or PGP, so perhaps encrypted"),
    (0, b"age-encryption.org", "encrypted with age"),
    (0, b"Salted__", "encrypted with OpenSSL"),
    (0, b"version https://git-lfs", "a pointer of Git LFS instead of the file itself"),
)
_UTF_32 = (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_PICKLE = re.compile(rb"\x80[\x02-\x05][\x95}\]c(]")
_OPENPGP = re.compile(rb"(?:\x84.|\x85..|\xc1.{1,2})\x03|\x8c\x0d[\x04-\x06]", re.DOTALL)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
FIRST_BYTES = 64  # in which a binary file shows that it is no text
_TEXT_STARTS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE), "an HTML page"),
    (re.compile(rb"<\?xml|<[a-z][\w:.-]*[\s/>]", re.IGNORECASE), "XML"),
)
_JSON_ARRAY = re.compile(rb"\[\s*(?:\{|$)")
_JSON_OBJECT = re.compile(rb'\{\s*(?:"(?:[^"\\]|\\.)*"\s*:|\})')
_CSV_HEADER = re.compile(rb'"?[A-Za-z_][\w .-]*"?(?:[,;\t|]"?[A-Za-z_][\w .-]*"?)+\s*\r?\n')
_OPEN_OBJECT = re.compile(rb'\{[ \t]*\r?\n\s*"')  # its names stand on lines of their own
_MEANT = {"csv": "CSV", "jsonl": "JSON Lines", "parquet": "Parquet"}


def check(head: bytes, file_format: str) -> None:
    """Refuse a file whose first bytes, after decompression, show another kind than its name says.

    Raises
    ------
    UnreadableDeliveryError
        With the reason ``wrong_encoding`` or ``other_format``.
    """
    if file_format != "parquet":
        _check_encoding(head)
    kind = named(head) or _binary(head, file_format) or _text_kind(head, file_format)
    if kind is not None and kind != _MEANT[file_format]:
        raise UnreadableDeliveryError(
            "other_format",
            f"the file is named as {_MEANT[file_format]} but is {kind}. Ask the source to send "
            f"{_MEANT[file_format]}, or to name the file after what it is.",
        )


def check_gzip(head: bytes) -> None:
    """Refuse a file that is named as gzip and is not.

    Raises
    ------
    UnreadableDeliveryError
        With the reason ``not_gzip``.
    """
    kind = named(head)
    if kind == "gzip" or not head:
        return
    if kind is None and not _binary(head, "csv"):
        plain = _text_kind(head, "parquet") or "text"
        kind = f"{plain} that is not packed. Ask the source to pack it, or to rename it without .gz"
    if kind is not None:
        raise UnreadableDeliveryError("not_gzip", f"the file is named as gzip (.gz) but is {kind}.")


def named(head: bytes) -> str | None:
    """What a binary file is; None if it has no known mark."""
    if head.startswith(b"PK\x03\x04"):
        return _zip(head)
    if _PICKLE.match(head):
        return "a Python pickle"
    if _OPENPGP.match(head):
        return "OpenPGP, so perhaps encrypted"
    found = ((mark, kind) for at, mark, kind in _MARKS if head.startswith(mark, at))
    return next((kind for mark, kind in found if not mark.isalnum() or _CONTROL.search(head)), None)


def _binary(head: bytes, file_format: str) -> str | None:
    """What a file without a known mark is if its beginning is no text: zeros, or control characters
    in what is not UTF-8 either.
    """
    start = head[:FIRST_BYTES].split(b"\n")[0]
    if file_format == "parquet" or start.lstrip().startswith(b"{") or not _CONTROL.search(start):
        return None
    if not any(head):
        return "nothing but zero bytes"
    try:
        codecs.utf_8_decode(start, "strict", False)  # its last letter may be cut
    except UnicodeDecodeError:
        return "binary data instead of text"
    return "binary data instead of text" if b"\0" in start else None


def _zip(head: bytes) -> str:
    if b"[Content_Types].xml" in head or b"_rels/.rels" in head or b"xl/" in head:
        return "an Excel workbook (.xlsx) or another Office document"
    if b"mimetypeapplication/vnd.oasis" in head:
        return "an OpenDocument file such as .ods"
    return "a ZIP archive"


def _check_encoding(head: bytes) -> None:
    name = (
        "UTF-32" if head.startswith(_UTF_32)
        else "UTF-16" if head.startswith(_UTF_16) or _has_nul_beside_letters(head)
        else None
    )  # fmt: skip
    if name and not (named(head)):
        raise UnreadableDeliveryError("wrong_encoding", f"the file is {name}; UTF-8 is expected.")


def _has_nul_beside_letters(head: bytes) -> bool:
    """Whether every second byte is NUL, as in UTF-16 without a mark at its beginning."""
    first, second = any(head[0:64:2]), any(head[1:64:2])
    return len(head) >= 8 and first != second


def _text_kind(head: bytes, file_format: str) -> str | None:
    """What a text is instead of what its name says; None if it may be that."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    kind = next((kind for pattern, kind in _TEXT_STARTS if pattern.match(start)), None)
    if kind is not None:
        return kind
    if file_format != "jsonl" and _JSON_OBJECT.match(start):
        return "JSON Lines"
    if _JSON_ARRAY.match(start):
        return "one JSON array instead of an object per line"
    if file_format == "jsonl" and _OPEN_OBJECT.match(start):
        return "JSON over several lines instead of an object per line"
    return "CSV" if file_format != "csv" and _CSV_HEADER.match(start) else None
