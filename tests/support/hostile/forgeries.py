"""What somebody without a key can put in the place of a record, as far as we could think of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipelines.core.record import StoredRecord, canonical_json
from pipelines.core.store import keyring
from pipelines.core.store.stores import Stores
from pipelines.registry.fsck.places import PLACES, BucketName, place_of
from tests.support import sealing

A_STRANGERS_KEY = "5e" * 32
KINDS: dict[str, type[StoredRecord]] = {
    place.holds.__name__: place.holds for place in PLACES if isinstance(place.holds, type)
}


@dataclass(frozen=True)
class Forgery:
    """Bytes to put under a key, and what is wrong with them."""

    what: str
    data: bytes


@dataclass(frozen=True)
class Target:
    """One record of the whole world: where it lies, as what, and its bytes."""

    bucket: BucketName
    key: str
    kind: type[StoredRecord]
    data: bytes

    @property
    def place(self) -> str:
        return f"{self.bucket}/{self.key}"

    @property
    def seal(self) -> bytes:
        return self.data[: self.data.index(b"\n") + 1]

    @property
    def payload(self) -> bytes:
        return self.data[len(self.seal) :]

    @property
    def fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(self.payload)
        return fields


def targets(world: Stores, kind: type[StoredRecord]) -> list[Target]:
    """Every record of a kind, by key."""
    bucket = world.reviews if kind.BUCKET == "reviews" else world.models
    return [
        Target(kind.BUCKET, info.key, kind, bucket.get(info.key))
        for info in bucket.list("")
        if (place := place_of(kind.BUCKET, info.key)) is not None and place.holds is kind
    ]


def sealed_by_a_stranger(payload: bytes, *, kind: str, place: str) -> bytes:
    """Signed well, by a key that nobody trusts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(keyring.KEY_VARIABLE, raising=False)
        patch.setenv(keyring.SEED_VARIABLE, A_STRANGERS_KEY)
        return sealing.seal(payload, kind=kind, place=place)


# ── (a) Signed by nobody, or by a stranger ───────────────────────────────────────────────────


def unsigned(one: Target) -> Iterator[Forgery]:
    strangers = sealed_by_a_stranger(one.payload, kind=one.kind.__name__, place=one.place)
    line, ours = json.loads(strangers.split(b"\n", 1)[0]), json.loads(one.seal)
    signature = Ed25519PrivateKey.generate().sign(one.payload).hex()
    yield Forgery("no seal at all", one.payload)
    yield Forgery("sealed by a stranger", strangers)
    for what, changes in (
        ("a stranger's signature under our key's name", {"key_id": ours["key_id"]}),
        ("our signature under a stranger's name", {"signature": ours["signature"]}),
        ("a signature over the bare bytes", {"signature": signature}),
        ("a signature of zeros", {"key_id": ours["key_id"], "signature": "0" * 128}),
        ("no key", {"key_id": "", "signature": ""}),
        ("a key of zeros", {"key_id": "0" * 64}),
        ("another kind in the seal", {**ours, "kind": "Anything"}),
        ("no place in the seal", {**ours, "place": ""}),
    ):
        yield Forgery(what, _with_line(strangers, line | changes))


def _with_line(like: bytes, line: dict[str, Any]) -> bytes:
    """The seal's line in its one spelling, as long as it must be, and the same bytes after it."""
    text = canonical_json(line).rstrip(b"\n")
    is_padded = like.split(b"\n", 1)[0].endswith(b" ")
    padding = b" " * (-(len(text) + 1) % 64) if is_padded else b""
    return text + padding + b"\n" + like.split(b"\n", 1)[1]


# ── (b) A changed field under the old seal ───────────────────────────────────────────────────


def changed_fields(one: Target) -> Iterator[Forgery]:
    """Each field of the record, one at a time, with another value or none, and one more."""
    for name, value in one.fields.items():
        for other in [other for other in _others(value) if other != value]:
            yield Forgery(f"another {name}", one.seal + canonical_json(one.fields | {name: other}))
        less = {other: kept for other, kept in one.fields.items() if other != name}
        yield Forgery(f"without {name}", one.seal + canonical_json(less))
    yield Forgery("one more field", one.seal + canonical_json(one.fields | {"is_trusted": True}))


def _others(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value, None]
    if isinstance(value, int | float):
        return [value + 1, -value - 1, None]
    if isinstance(value, str):
        return [f"{value}x", value[:-1] + ("0" if value[-1:] != "0" else "1"), None]
    if isinstance(value, list):
        return [[], [*value, *value[:1]], None] if value else [[None], None]
    if isinstance(value, dict):
        return [{}, value | {"x": 1}, None]
    return ["x", 1, {}]


# ── (c) In another place of its kind ─────────────────────────────────────────────────────────


def other_places(one: Target) -> list[str]:
    """Keys of the same kind that differ from the record's own in one of their parts."""
    place = place_of(one.bucket, one.key)
    keys = set()
    for part in re.finditer(r"[^/.=_-]+", one.key):
        for letter in "0123456789abcdexyz":
            text = part.group()
            for other in (text[:-1] + letter, letter + text[1:]):
                key = one.key[: part.start()] + other + one.key[part.end() :]
                if key != one.key and place_of(one.bucket, key) == place:
                    keys.add(key)
    return sorted(keys)


# ── (d) and (e) Another record, or one whose own fields say another place ────────────────────


def other_records(one: Target, others: list[Target]) -> Iterator[Forgery]:
    """Honest records of other kinds and places, as they lie elsewhere."""
    for other in others:
        if (other.bucket, other.key) != (one.bucket, one.key):
            yield Forgery(f"the {other.kind.__name__} of {other.key}", other.data)


def sealed_for_here(one: Target, others: list[Target]) -> Iterator[Forgery]:
    """What only a bug of ours could have signed: for this place, and it belongs elsewhere."""
    kind = one.kind.__name__
    for other in others:
        if (other.bucket, other.key) == (one.bucket, one.key):
            continue
        what = f"the {other.kind.__name__} of {other.key}, sealed as {kind} for here"
        yield Forgery(what, sealing.seal(other.payload, kind=kind, place=one.place))
        if other.kind is not one.kind:
            what = f"our own bytes, sealed as {other.kind.__name__} for here"
            sealed = sealing.seal(one.payload, kind=other.kind.__name__, place=one.place)
            yield Forgery(what, sealed)
    elsewhere = "models" if one.bucket == "reviews" else "reviews"
    for place in (f"{elsewhere}/{one.key}", one.key, f"{one.place}/", one.place.upper()):
        yield Forgery(f"sealed for {place}", sealing.seal(one.payload, kind=kind, place=place))


# ── (f) No record at all ─────────────────────────────────────────────────────────────────────


def torn(one: Target) -> Iterator[Forgery]:
    """Cut, empty, spoiled, or spelled in another way, under the old seal or without one."""
    data, seal, payload = one.data, one.seal, one.payload
    yield Forgery("nothing", b"")
    for length in {1, len(seal) // 2, len(seal) - 1, len(seal), len(data) // 2, len(data) - 1}:
        yield Forgery(f"the first {length} bytes", data[:length])
    for what, other in (
        ("a newline before", b"\n" + data),
        ("a newline after", data + b"\n"),
        ("twice", data + data),
        ("the seal twice", seal + data),
        ("the payload twice", data + payload),
        ("a NUL in the middle", data[:-20] + b"\0" + data[-20:]),
        ("nothing but NULs", b"\0" * len(data)),
        ("not UTF-8", data[:-10] + b"\xff\xfe" + data[-10:]),
        ("UTF-16", data.decode().encode("utf-16")),
        ("a byte order mark", b"\xef\xbb\xbf" + data),
        ("CRLF", data.replace(b"\n", b"\r\n")),
        ("a page of HTML", b"<!doctype html><title>Log in</title>"),
        ("null", b"null\n"),
        ("a seal that is a list", b"[]\n" + payload),
        ("a seal that is deep", b"[" * 3000 + b"\n" + payload),
    ):
        yield Forgery(what, other)
    yield from _spelled_otherwise(one)


def _spelled_otherwise(one: Target) -> Iterator[Forgery]:
    line = json.loads(one.seal)
    first = next(iter(one.fields))
    doubled = f'{{"{first}":{json.dumps(one.fields[first])},'.encode() + one.payload[1:]
    deep = b'{"a":' * 20_000 + b"1" + b"}" * 20_000
    for what, payload in (
        ("with spaces", json.dumps(one.fields, sort_keys=True).encode() + b"\n"),
        ("indented", json.dumps(one.fields, sort_keys=True, indent=1).encode() + b"\n"),
        ("in another order", json.dumps(dict(reversed(one.fields.items()))).encode() + b"\n"),
        ("a field twice", doubled),
        ("without its newline", one.payload.rstrip(b"\n")),
        ("deeply nested", deep),
        ("not a number", b'{"number":NaN}\n'),
    ):
        yield Forgery(f"the record {what}", one.seal + payload)
    for what, spelled in (
        ("with spaces", json.dumps(line, sort_keys=True).encode()),
        ("in another order", json.dumps(dict(reversed(line.items()))).encode()),
        ("a field twice", b'{"kind":"x",' + one.seal.strip()[1:]),
        ("in capitals", one.seal.strip().replace(b"a", b"A")),
        ("one more field", json.dumps(line | {"x": 1}, sort_keys=True).encode()),
    ):
        yield Forgery(f"the seal {what}", spelled + b"\n" + one.payload)


def sealed_junk(one: Target) -> Iterator[Forgery]:
    """Sealed by us for this very place, and no such record."""
    kind = one.kind.__name__
    for what, payload in (
        ("nothing", b""),
        ("null", b"null\n"),
        ("a list", b"[]\n"),
        ("no field", b"{}\n"),
        ("not a number", b'{"number":NaN}\n'),
        ("not UTF-8", b'{"a":"\xff"}\n'),
        ("NULs", b"\0" * 100),
        ("deeply nested", b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
        ("one more field", canonical_json(one.fields | {"is_trusted": True})),
        ("another version of it", canonical_json(one.fields | {"schema_version": 99})),
    ):
        yield Forgery(f"sealed for here: {what}", sealing.seal(payload, kind=kind, place=one.place))


def a_few(one: Target, others: list[Target]) -> list[Forgery]:
    """One of each kind, to put before every reader."""
    first = next(name for name, value in one.fields.items() if isinstance(value, str))
    same_kind = [other for other in others if other.kind is one.kind and other.key != one.key]
    another = next(other for other in others if other.kind is not one.kind)
    forgeries = [
        *list(unsigned(one))[:3],
        Forgery("another field", one.seal + canonical_json(one.fields | {first: "x"})),
        Forgery(f"a {another.kind.__name__}", another.data),
        Forgery("its first half", one.data[: len(one.data) // 2]),
        Forgery("nothing", b""),
        Forgery(
            "our own bytes, sealed for another place",
            sealing.seal(one.payload, kind=one.kind.__name__, place=f"{one.place}x"),
        ),
    ]
    return forgeries + [
        Forgery(f"the record of {other.key}", other.data) for other in same_kind[:2]
    ]
