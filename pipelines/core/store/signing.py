"""Ed25519 seals over records, cache entries and the champion log.

A seal is a signature over some bytes, their kind and the place where they belong. It is not valid
for the same bytes in another place or as another kind. It is one line of JSON before the bytes, so
that it is checked before anything in them is read.

The private key is a PEM file that ``LOOP_SIGNING_KEY_FILE`` names, or 32 random bytes as 64 hex
digits in ``LOOP_SIGNING_KEY``; only processes that write need it.
Public keys are not secret: ``trust.trusted_keys`` in the configuration lists the trusted ones, or
the file that ``LOOP_TRUSTED_KEYS_FILE`` names, for processes that only read. Without any, a
development key is made on first use, and every process that uses it logs a warning: anybody who
can run code on this machine can sign with it.

References
----------
.. [1] S. Josefsson, I. Liusvaara, "Edwards-Curve Digital Signature Algorithm (EdDSA)", RFC 8032.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable
from typing import Any

from pipelines.core.errors import ConfigError, SignatureError
from pipelines.core.record import canonical_json
from pipelines.core.store.keyring import KEY_VARIABLE, PUBLIC_KEY, Keyring, public_hex

logger = logging.getLogger(__name__)


_SIGNATURE = re.compile(r"[0-9a-f]{128}")

MAX_SEAL_BYTES, _ALIGNMENT = 4096, 64


def seal(payload: bytes, *, kind: str, place: str, keyring: Keyring) -> bytes:
    """The bytes with a seal by the keyring's own key before them; the same every time.

    Parameters
    ----------
    payload : bytes
        The bytes to sign.
    kind : str
        What they are, e.g. ``"Decision"``.
    place : str
        Where they belong: ``reviews`` or ``models``, and the object key.
    keyring : Keyring
        Its private key signs.

    Raises
    ------
    ConfigError
        If the key is missing or unusable, or its public half is not among the trusted ones.
    """
    key = keyring.signing_key()
    key_id, trusted = public_hex(key), keyring.trusted_keys()
    if key_id not in trusted:
        raise ConfigError(
            f"the signing key {key_id} is not among trust.trusted_keys {sorted(trusted)}: every "
            f"reader would refuse it. Add it there, or point {KEY_VARIABLE} to a trusted key."
        )
    signature = key.sign(_vouched(hashlib.sha256(payload), kind=kind, place=place)).hex()
    return _line({"key_id": key_id, "kind": kind, "place": place, "signature": signature}) + payload


def unseal(data: bytes, *, kind: str, place: str, uri: str, keyring: Keyring) -> memoryview:
    """The sealed bytes, if a trusted key signed them as this kind, for this place.

    Raises
    ------
    SignatureError
        If they are not sealed by a trusted key, were changed, or belong elsewhere.
    """
    seal = _seal_for(data, kind=kind, place=place, uri=uri, keyring=keyring)
    payload = memoryview(data)[len(_line(seal)) :]
    _verify(seal, hashlib.sha256(payload), uri=uri)
    return payload


def check_unkept(
    chunks: Iterable[bytes], *, kind: str, place: str, uri: str, keyring: Keyring
) -> int:
    """Check sealed bytes as `unseal` does, of which one chunk at a time is in memory.

    The first chunk has at least the seal, if it is one. Returns the number of bytes.

    Raises
    ------
    SignatureError
        As `unseal`. The rest is not read where the seal is for other bytes.
    """
    following = iter(chunks)
    first = next(following, b"")
    seal = _seal_for(first, kind=kind, place=place, uri=uri, keyring=keyring)
    digest, size = hashlib.sha256(first[len(_line(seal)) :]), len(first)
    for chunk in following:
        digest.update(chunk)
        size += len(chunk)
    _verify(seal, digest, uri=uri)
    return size


def _seal_for(data: bytes, *, kind: str, place: str, uri: str, keyring: Keyring) -> dict[str, str]:
    """The seal before some bytes, if it says that a trusted key made it for kind and place."""
    seal = read_seal(data, uri=uri)
    key_id = seal["key_id"]
    if (seal["kind"], seal["place"]) != (kind, place):
        raise SignatureError(
            f"{uri} was signed as {seal['kind'][:40]} for {seal['place'][:300]!r}, not as {kind} "
            f"for {place!r}. It is not used: find out who put it there."
        )
    trusted = keyring.trusted_keys()
    if key_id not in trusted:
        raise SignatureError(
            f"{uri} is signed by {key_id}, which is not among the trusted keys {sorted(trusted)}. "
            "If it should be, add it to trust.trusted_keys."
        )
    return seal


def _verify(seal: dict[str, str], digest: hashlib._Hash, *, uri: str) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key_id, vouched = seal["key_id"], _vouched(digest, kind=seal["kind"], place=seal["place"])
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key_id))
        key.verify(bytes.fromhex(seal["signature"]), vouched)
    except (InvalidSignature, ValueError) as error:
        raise SignatureError(
            f"{uri} was changed after {key_id[:16]}… signed it. It is not used."
        ) from error


def read_seal(data: bytes, *, uri: str) -> dict[str, str]:
    """The line before the sealed bytes; the signature is not checked here.

    It has one spelling, so no byte of it can be changed.

    Raises
    ------
    SignatureError
        If the line is missing or is not a seal.
    """
    line, newline, _ = data[:MAX_SEAL_BYTES].partition(b"\n")
    try:
        seal = json.loads(line)
        if _is_seal(seal) and _line(seal) == line + newline:
            return dict(seal)
    except (ValueError, RecursionError):
        pass
    raise SignatureError(
        f"{uri} is signed by nobody: it was torn, forged, or written by another version of this "
        "project. It is not used."
    )


def _is_seal(value: Any) -> bool:
    names = {"key_id", "kind", "place", "signature"}
    if not isinstance(value, dict) or set(value) != names:
        return False
    return all(isinstance(text, str) for text in value.values()) and bool(
        PUBLIC_KEY.fullmatch(value["key_id"]) and _SIGNATURE.fullmatch(value["signature"])
    )


def _line(seal: dict[str, str]) -> bytes:
    """A seal as it is stored. Its length keeps arrays after it aligned."""
    line = canonical_json(seal).removesuffix(b"\n")
    return line + b" " * (-(len(line) + 1) % _ALIGNMENT) + b"\n"


def _vouched(digest: hashlib._Hash, *, kind: str, place: str) -> bytes:
    """What is signed: the purpose, the kind, the place and the digest of the bytes."""
    return canonical_json(["retraining-loop", kind, place, digest.hexdigest()])
