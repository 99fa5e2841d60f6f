"""Files made to exhaust whoever reads them, each with what must become of it.

Small on the wire, or up to the limits of ``[intake]``; every one is the same in every run. A body
is made in pieces, so that no large file is ever whole in memory.
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from typing import Any

from tests.support.hostile.made_parquet import CODECS, NAMES, closed, file_of, group_of, schema
from tests.support.hostile.thrift import I64, list_head, struct
from tests.support.made.builders import as_csv, as_jsonl, as_parquet, some_rows

MB = 1_000_000
MOST_ROWS, MOST_BYTES, MOST_ROW_CHARS = 200_000, 268_435_456, MB
HEADER = b"review_id,text,label,written_on\n"
GOOD_ROW = b"r,A film of some length.,positive,2026-01-05\n"
NOT_ENOUGH = "row_count"  # too few rows, once all that is no row is left out
FEW_ROWS = ("quarantined_share", NOT_ENOUGH)
ONE_LABEL = ("class_balance", "quarantined_share")
NO_LABEL = ("known_share", "quarantined_share", NOT_ENOUGH)

Pieces = Callable[[], Iterable[bytes]]


@dataclass(frozen=True)
class HostileFile:
    """A file's name, its body in pieces, and what may hold it: sets of rules, usually one set.

    The empty set says that it is not held. Damage at random has several possible outcomes.
    """

    name: str
    body: Pieces
    held_by: frozenset[frozenset[str]]


def by(*rules: str) -> frozenset[frozenset[str]]:
    """Held by all of these rules and by no other."""
    return frozenset([frozenset(rules)])


def by_one_of(*outcomes: str | tuple[str, ...]) -> frozenset[frozenset[str]]:
    """Held by any one of these: a rule alone, or all of several."""
    return frozenset(frozenset([one] if isinstance(one, str) else one) for one in outcomes)


def gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(1, wbits=31)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def filled(piece: bytes, size: int) -> Iterator[bytes]:
    """So many bytes of one piece again and again, in larger pieces."""
    large = piece * max(1, MB // len(piece))
    return repeat(large, -(-size // len(large)))


def lines_file(kind: str, name: str, body: Pieces, *held_by: str) -> Iterator[HostileFile]:
    """The file as it is; every second one packed, too."""
    yield HostileFile(f"{name}.{kind}", body, by(*held_by))
    if zlib.crc32(name.encode()) % 2:
        yield HostileFile(f"{name}.{kind}.gz", lambda: gzipped(body()), by(*held_by))


def whole(data: bytes) -> Pieces:
    return lambda: [data]


def after(start: bytes, piece: bytes, size: int) -> Pieces:
    return lambda: chain([start], filled(piece, size))


# ── CSV ──────────────────────────────────────────────────────────────────────────────────────


def csv_files() -> Iterator[HostileFile]:
    file = partial(lines_file, "csv")
    for name, end in (("lf", b"\n"), ("cr", b"\r"), ("crlf", b"\r\n")):
        yield from file(f"blank-lines-{name}", after(HEADER, end, MB), "too_many_rows")
        few = HEADER + end * 50_000 + GOOD_ROW + end * 50_000
        yield from file(f"few-rows-among-blank-lines-{name}", whole(few), NOT_ENOUGH)
    for count in (500, 40_000, 900_000):
        row = HEADER + b"," * count + b"\n"
        yield from file(f"a-row-of-{count}-commas", whole(row), *FEW_ROWS)
        wide = b"c," * (count // 2) + b"\n"
        yield from file(f"a-header-of-{count // 2}-names", whole(wide), "too_many_columns")
    yield from file("rows-of-commas", after(HEADER, b"," * 9_999 + b"\n", 60 * MB),
                    "too_many_columns")  # fmt: skip
    for name, piece in (("a", b"a"), ("quote", b'"'), ("nul", b"\0"), ("blank", b" "),
                        ("not-utf8", b"\xff"), ("comma", b",")):  # fmt: skip
        yield from file(f"one-endless-line-of-{name}", after(HEADER, piece, 2 * MB),
                        "malformed_csv")  # fmt: skip
        yield from file(f"an-endless-header-of-{name}", after(b"", piece, 2 * MB),
                        "other_format" if name == "nul" else "malformed_csv")  # fmt: skip
    for name, piece in (("lines", b"a\n"), ("good-rows", GOOD_ROW), ("blank", b"\n")):
        yield from file(f"a-quote-never-closed-{name}", after(HEADER + b'"', piece, 2 * MB),
                        "malformed_csv")  # fmt: skip
    for row in (b"a\n", b"a,b\n", b",,,\n", GOOD_ROW, b'""\n', b"\xff\n"):
        yield from file(f"too-many-rows-of-{row[:12]!r}", after(HEADER, row, len(row) * 300_000),
                        "too_many_rows")  # fmt: skip
    for name, text in _texts().items():
        rows = b"".join(b"%d,%s,positive,2026-01-05\n" % (n, text) for n in range(30))
        yield from file(f"texts-of-{name}", whole(HEADER + rows), "quarantined_share")
    for name, value in _numbers().items():
        rows = b"".join(b"%d,Text,positive,2026-01-05,%s\n" % (n, value) for n in range(30))
        head = HEADER[:-1] + b",rating\n"
        yield from file(f"ratings-of-{name}", whole(head + rows),
                        "quarantined_share")  # fmt: skip
    yield from file("utf16", whole(as_csv(some_rows(40)).decode().encode("utf-16")),
                    "wrong_encoding")  # fmt: skip


def _texts() -> dict[str, bytes]:
    return {
        "combining-marks": ("a" + "\u0315" * 10_000 + "\u0300" * 9_000).encode(),
        "mixed-marks": ("\u0300\u0315\u0327" * 6_000).encode(),
        "ligatures-of-18": ("\ufdfa" * 19_000).encode(),
        "spaced-ligatures": ("\ufdfa " * 9_000).encode(),
        "not-utf8": b"\xff" * 20_000,
        "nul": b"\0" * 20_000,
        "tags": b"<a>" * 6_000,
        "open-tags": b"<" * 20_000,
        "almost-a-mb": b"x" * 900_000,
        "entities": b"&amp;lt;" * 2_400,
    }


def _numbers() -> dict[str, bytes]:
    return {
        "1e999999": b"1e999999",
        "a-long-exponent": b"1e" + b"9" * 10_000,
        "100000-digits": b"1" * 100_000,
        "as-many-after-the-point": b"1." + b"3" * 100_000,
        "many-zeros": b"0." + b"0" * 100_000 + b"1",
        "underscores": b"1_0" * 10_000,
        "nan": b"-nan",
        "blanks": b" " * 100_000 + b"x",
    }


# ── JSON Lines ───────────────────────────────────────────────────────────────────────────────


def jsonl_files() -> Iterator[HostileFile]:
    file = partial(lines_file, "jsonl")
    for name, end in (("lf", b"\n"), ("crlf", b"\r\n"), ("blanks", b" \n"), ("tabs", b"\t\n")):
        yield from file(f"blank-lines-{name}", after(b"", end, MB), "too_many_rows")
        yield from file(f"good-rows-before-blank-lines-{name}",
                        after(as_jsonl(some_rows(40)), end, MB), "too_many_rows")  # fmt: skip
    for line in (b"{}", b"null", b"[]", b"1", b'""', b"{", b"\0", b"\xff"):
        is_utf_16 = line == b"\0"  # every second byte is NUL
        yield from file(f"too-many-lines-of-{line!r}",
                        after(b"", line + b"\n", 210_000 * (len(line) + 1)),
                        "wrong_encoding" if is_utf_16 else "too_many_rows")  # fmt: skip
    yield from file("objects-without-names", after(b"", b"{}\n", 300_000), "too_many_rows")
    for name, line in _json_lines().items():
        good = as_jsonl(some_rows(40))
        yield from file(f"good-rows-and-a-line-of-{name}", whole(good + line + b"\n"))
        yield from file(f"only-lines-of-{name}", after(b"", line + b"\n", 3 * len(line)),
                        *_only(name))  # fmt: skip
    names = b"".join(b'{"n%d":1}\n' % number for number in range(100_000))
    yield from file("new-names-in-each-line", whole(names), "too_many_columns")
    many = b"".join(
        json.dumps({f"n{line}-{number}": 1 for number in range(3_000)}).encode() + b"\n"
        for line in range(30)
    )
    yield from file("3000-new-names-in-each-line", whole(many), "too_many_columns")
    yield from file("one-endless-line", after(b'{"text": "', b"x", 3 * MB), "not_jsonl")


def _json_lines() -> dict[str, bytes]:
    some = MB - 100
    return {
        "deep-lists": b"[" * some,
        "deep-whole-lists": b"[" * 900 + b"]" * 900,
        "a-deep-day": b'{"written_on":' + b"[" * 900 + b"]" * 900 + b"}",
        "deep-objects": b'{"a":' * (some // 5),
        "flat-lists": b"[" + b"[]," * (some // 3) + b"[]]",
        "numbers": b"[" + b"1," * (some // 2) + b"1]",
        "a-text-of-lists": b'{"text":[' + b"[]," * (some // 4) + b"[]]}",
        "4000-digits": b'{"rating":' + b"7" * 4_000 + b"}",
        "many-of-4000-digits": b"[" + (b"7" * 4_000 + b",") * 240 + b"1]",
        "100000-digits": b'{"rating":' + b"7" * 100_000 + b"}",
        "1e999999": b'{"rating":1e999999,"movie_id":1e308}',
        "surrogates": b'{"text":"' + b"\\ud800" * 150_000 + b'"}',
        "escapes": b'{"text":"' + b"\\u0001" * 150_000 + b'"}',
        "a-doubled-name": b'{"text":"a","text":"b"}',
        "longer-than-a-row": b'{"text":"' + b"x" * (2 * MB) + b'"}',
        "an-open-text": b'{"text":"' + b"x" * (some // 2),
    }


def _only(name: str) -> list[str]:
    whole_objects = {
        "a-deep-day",
        "a-doubled-name",
        "4000-digits",
        "1e999999",
        "surrogates",
        "escapes",
    }
    return ["wrong_columns"] if name in whole_objects else ["not_jsonl"]


# ── gzip ─────────────────────────────────────────────────────────────────────────────────────


def gzip_files() -> Iterator[HostileFile]:
    good, empty = gzip.compress(as_csv(some_rows(40)), mtime=0), gzip.compress(b"", mtime=0)
    named = good[:3] + b"\x08" + good[4:10] + b"n" * (5 * MB) + b"\0" + good[10:]
    stored = zlib.compressobj(0, wbits=-15)
    blocks = good[:10] + b"\0\0\0\xff\xff" * 500_000 + stored.flush() + bytes(8)
    bodies: dict[str, tuple[Pieces, str | None]] = {
        "empty-members": (whole(empty * 20_000), "too_many_parts"),
        "members-of-a-byte": (whole(gzip.compress(b"\n", mtime=0) * 20_000), "too_many_parts"),
        "members-before-rows": (whole(empty * 9_000 + good), None),
        "zeros-between-members": (whole(empty + bytes(9 * MB) + good + bytes(9 * MB)), None),
        "gzip-of-gzip": (whole(gzip.compress(good, mtime=0)), "other_format"),
        "a-name-of-5-mb": (whole(named), None),
        "empty-blocks": (whole(blocks), "wrong_columns"),
        "a-member-then-noise": (whole(good + b"noise"), "not_gzip"),
        "cut-in-the-header": (whole(good[:9]), "truncated"),
        "cut-in-the-checksum": (whole(good[:-3]), "truncated"),
        "a-wrong-checksum": (whole(good[:-8] + bytes(8)), "not_gzip"),
    }  # fmt: skip
    for name, (body, reason) in bodies.items():
        yield HostileFile(f"gzip-{name}.csv.gz", body, by(*([reason] if reason else [])))
    for name, piece, reason in (
        ("short-lines", b"x\n", "too_many_rows"), ("a", b"a", "not_jsonl"),
        ("nul", b"\0", "other_format"),
    ):  # fmt: skip
        body = partial(after(b"", piece, 20 * MB))
        yield HostileFile(f"gzip-bomb-of-{name}.jsonl.gz", lambda body=body: gzipped(body()),
                          by(reason))  # fmt: skip


# ── Parquet ──────────────────────────────────────────────────────────────────────────────────


def parquet_files() -> Iterator[HostileFile]:
    for name, body, reasons in chain(
        _repeated_values(), _lying_pages(), _lying_footers(), _many_parts(), _damaged()
    ):
        yield HostileFile(f"parquet-{name}.parquet", whole(body), by_one_of(*reasons))
    packed = gzip.compress(file_of([group_of(8_192, b"x" * 900_000)]), mtime=0)
    yield HostileFile("parquet-repeated.parquet.gz", whole(packed), by("too_large"))
    for name, size, reason in (
        ("too-many", 300 * MB, "too_large"),
        ("many", 260 * MB, "truncated"),
    ):
        zeros = partial(after(b"PAR1", b"\0", size))
        yield HostileFile(
            f"parquet-{name}-zeros.parquet.gz", lambda zeros=zeros: gzipped(zeros()), by(reason)
        )


Made = Iterator[tuple[str, bytes, Sequence[str | tuple[str, ...]]]]


def _repeated_values() -> Made:
    for codec in CODECS:
        for size in (60_000, 1_000_000):
            body = file_of([group_of(8_192, b"x" * size, codec=codec)])
            yield f"{size}-bytes-in-8192-rows-{codec}", body, ["too_large"]
    yield "a-value-beyond-a-row", file_of([group_of(8, b"x" * 2 * MB)]), ["too_large"]
    yield "a-dictionary-of-9-mb", file_of([group_of(8, b"x" * 9 * MB, codec="zstd")]), ["too_large"]
    many = file_of([group_of(100, b"x" * 20, copies=300_000, codec="zstd")])
    yield "a-dictionary-of-300000-values", many, ["quarantined_share"]
    for rows in (200_001, 2**31 - 1):
        yield f"{rows}-rows-in-few-bytes", file_of([group_of(rows)]), ["too_many_rows"]
    hidden = file_of([group_of(250_000)], footer_claims={3: I64(100)})
    yield "more-rows-than-the-footer-says", hidden, ["too_many_rows"]
    wide = ("x" * 30_000 + "\U0001f3ac").encode()
    yield "wide-characters", file_of([group_of(8_192, wide)]), ["too_large"]
    yield "values-not-utf8", file_of([group_of(8_192, b"\xff" * 30_000)]), ["too_large"]


def _lying_pages() -> Made:
    for size in (0, 1, 2**20, 2**28, 2**30, 2**31 - 1):
        for field, what in ((2, "plain"), (3, "packed")):
            for claims in ("data_claims", "dictionary_claims"):
                body = file_of([group_of(100, codec="snappy", **{claims: {field: size}})])
                too_large = field == 2 and size >= 2**23
                reason = "too_large" if too_large and (claims[1] == "i" or size >= 2**28) else None
                yield f"{claims}-{what}-{size}", body, [reason or "not_parquet"]
    for count in (2**20, 2**31 - 1):
        details = {1: count, 2: 8, 3: 3, 4: 3}
        body = file_of([group_of(100, data_claims={5: details})])
        yield f"a-page-of-{count}-values", body, ["quarantined_share"]
    for field in (1, 2, 3):
        body = file_of([group_of(100, data_claims={field: -1})])
        yield f"a-negative-field-{field}", body, ["not_parquet"]
        body = file_of([group_of(100, data_claims={field: I64(2**40)})])
        yield f"a-wide-field-{field}", body, ["not_parquet"]
    least = {1: 100, 2: 8, 3: 3, 4: 3, 5: {1: b"x" * 400_000}}
    yield (
        "a-page-header-of-400-kb",
        file_of([group_of(100, data_claims={5: least})]),
        ["not_parquet"],
    )


def _lying_footers() -> Made:
    for number in (-1, 2**31, 2**40, 2**62):
        for field, what in (
            (5, "values"),
            (6, "plain"),
            (7, "packed"),
            (9, "data-at"),
            (11, "dict-at"),
        ):
            body = file_of([group_of(100, claims={field: I64(number)})])
            outcomes = ["not_parquet", "quarantined_share", "too_large", NO_LABEL]
            yield f"footer-{what}-{number}", body, outcomes
    body = file_of([group_of(100)], footer_claims={3: I64(2**62)})
    yield "footer-rows", body, ["too_many_rows"]
    for kind in (5, 6, 12):
        for size in (20_000, 10**6, 2**31 - 1):
            claimed = struct({1: 1})[:-1] + b"\x19" + list_head(size, kind)
            yield f"footer-list-of-{size}-{kind}", closed(b"PAR1", claimed), ["not_parquet"]
    yield (
        "footer-beyond-the-file",
        b"PAR1" + (500_000).to_bytes(4, "little") + b"PAR1",
        ["not_parquet"],
    )
    yield "footer-of-4-gb", b"PAR1" + b"\xff" * 4 + b"PAR1", ["too_many_parts"]
    yield "footer-encrypted", as_parquet(some_rows(40))[:-4] + b"PARE", ["truncated"]


def _many_parts() -> Made:
    yield "600-row-groups", file_of([group_of(1)] * 600), [ONE_LABEL]
    yield "3000-row-groups", file_of([group_of(1)] * 3_000), [ONE_LABEL]
    yield "6000-row-groups", file_of([group_of(1)] * 6_000), [ONE_LABEL]
    yield (
        "30000-pages",
        file_of([group_of(1, data_pages=1)] * 500 + [group_of(1)]),
        [ONE_LABEL],
    )
    key_values = [{1: b"k", 2: b"v"}] * 9_000
    body = file_of([group_of(100)], footer_claims={5: key_values})
    yield "9000-keys", body, ["quarantined_share"]
    body = file_of([group_of(100)], footer_claims={5: [{1: b"k", 2: b"v" * 2 * MB}]})
    yield "a-key-of-2-mb", body, ["too_many_parts"]
    wide = schema((*NAMES, *(f"c{number}" for number in range(5_000))))
    yield "5000-columns", file_of([group_of(10)], footer_claims={2: wide}), ["too_many_columns"]
    for depth in (50, 3_000, 9_000):
        nested = [{4: b"schema", 5: 1}, *([{4: b"g", 5: 1, 3: 0}] * depth), *schema(("text",))[1:]]
        body = file_of([group_of(10)], footer_claims={2: nested})
        yield f"a-schema-{depth}-deep", body, ["wrong_columns", "decoder_failed", "not_parquet"]
    for kind in (1, 2, 3):
        element = [schema()[0], *({**one, 3: kind} for one in schema()[1:])]
        body = file_of([group_of(10)], footer_claims={2: element})
        yield f"repetition-{kind}", body, ["not_parquet", "wrong_columns", FEW_ROWS]


def _damaged() -> Made:
    any_of = ["not_parquet", "truncated", "too_large", "too_many_rows", "too_many_parts",
              "wrong_columns", "too_many_columns", "quarantined_share", NOT_ENOUGH]  # fmt: skip
    source = file_of([group_of(100, b"x" * 50_000, codec="zstd")])
    for seed in range(40):
        chance, body = random.Random(seed), bytearray(source)
        for _ in range(4):
            body[chance.randrange(len(body) - 8)] = chance.randrange(256)
        yield f"damaged-{seed}", bytes(body), any_of


# ── At the limits ────────────────────────────────────────────────────────────────────────────


def _numbered_rows(line: bytes, count: int) -> Iterator[bytes]:
    yield HEADER
    yield from (line % number for number in range(count))


def _longest_texts() -> dict[str, bytes]:
    """As long as a text may be, of what takes longest to normalize, to search or to hash."""
    signs = [
        bytes([letter, mark]) for letter in b"abcdefghijklmnopqrstuvwxyz" for mark in b"!?.;:()*-"
    ]
    return {
        "ligatures-of-8": ("\ufdfb" * 19_990).encode(),
        "words-and-marks": (b"".join(signs) * 50)[:19_990],
        "tags": b"<a>" * 6_600,
        "open-tags": b"<" * 19_990,
        "blanks": b"a " * 9_990,
        "entities": b"&amp;lt;" * 2_490,
        "marks-that-fit": ("a" + "\u0315" * 15 + "\u0300" * 15).encode() * 640,
        "short": b"<a> x",
    }


def largest_files() -> Iterator[HostileFile]:
    """Files as large as the limits allow, in memory or on the wire: they take seconds each."""
    any_verdict = by_one_of("quarantined_share", "too_large", ONE_LABEL)
    row = (
        b"%07d,"
        + b"All in all a film of its kind and of the time. " * 27
        + b",positive,2026-01-05\n"
    )
    rows: Callable[[], Any] = lambda: chain([HEADER], (row % n for n in range(MOST_ROWS)))  # noqa: E731
    yield HostileFile("200000-rows-of-1300.csv", rows, by(*ONE_LABEL))
    size = MOST_BYTES - 2 * MB
    for name, text in _longest_texts().items():
        line = b"%d," + text + b",positive,2026-01-05\n"
        count = size // (len(text) + 40)
        body = partial(_numbered_rows, line, min(count, MOST_ROWS))
        yield HostileFile(f"largest-texts-of-{name}.csv", body, any_verdict)
    wide = '{"review_id":"a","text":"%s\U0001f3ac","label":"x","written_on":"d"}\n' % ("x" * 1_000)
    plain = {
        "commas.csv": (after(HEADER, b"," * 199 + b"\n", size), "too_many_columns"),
        "one-line.jsonl": (after(b"", b"x", size), "not_jsonl"),
        "lists.jsonl": (after(b"", b"[" + b"[]," * 300_000 + b"[]]\n", size), "not_jsonl"),
        "names.jsonl": (after(b"", b"{" + b'"":1,' * 180_000 + b'"":1}\n', size), "not_jsonl"),
        "digits.jsonl": (
            after(b"", b"[" + (b"7" * 4_290 + b",") * 230 + b"1]\n", size),
            "not_jsonl",
        ),
        "not-utf8.jsonl": (
            after(b"", b'{"text":"' + b"\xff" * 900_000 + b'"}\n', size),
            "too_large",
        ),
        "wide.jsonl": (after(b"", wide.encode(), size), "too_large"),
    }
    for name, (body, reason) in plain.items():
        yield HostileFile(f"largest-{name}", body, by(reason))
        yield HostileFile(f"largest-{name}.gz", lambda body=body: gzipped(body()), by(reason))


def hostile_files() -> list[HostileFile]:
    return [*csv_files(), *jsonl_files(), *gzip_files(), *parquet_files()]
