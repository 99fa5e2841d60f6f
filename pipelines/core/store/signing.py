"""Who may vouch for what is stored: Ed25519 seals over records, cache entries and the champion log.

A seal says who vouches for some bytes, as what kind of thing, and for which place. The same bytes
in another place, or taken for another kind, are not vouched for. It is one line of JSON before the
bytes, so that it is checked before anything in them is looked at.

The private key is a PEM file that ``LOOP_SIGNING_KEY_FILE`` names, or 32 random bytes as 64 hex
digits in ``LOOP_SIGNING_KEY``; only processes that write need it.
Public keys are no secret: ``trust.trusted_keys`` in the configuration lists those whose word
counts, or the file that ``LOOP_TRUSTED_KEYS_FILE`` names, for processes that only read. Without
any, a development key is made on first use, and every process that uses it says so loudly: whoever
can run code on this machine can sign with it.

References
----------
.. [1] S. Josefsson, I. Liusvaara, "Edwards-Curve Digital Signature Algorithm (EdDSA)", RFC 8032.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.core import config
from pipelines.core.errors import ConfigError, SignatureError
from pipelines.core.record import canonical_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

logger = logging.getLogger(__name__)

KEY_VARIABLE = "LOOP_SIGNING_KEY_FILE"
SEED_VARIABLE = "LOOP_SIGNING_KEY"
TRUSTED_VARIABLE = "LOOP_TRUSTED_KEYS_FILE"

_PUBLIC_KEY = re.compile(r"[0-9a-f]{64}")
_SIGNATURE = re.compile(r"[0-9a-f]{128}")

_MAX_SEAL_BYTES, _ALIGNMENT = 4096, 64


def seal(payload: bytes, *, kind: str, place: str) -> bytes:
    """The bytes with a seal of this process's key before them; the same every time.

    Parameters
    ----------
    payload : bytes
        What is vouched for.
    kind : str
        As what, e.g. ``"Decision"``.
    place : str
        For where: ``reviews`` or ``models``, and the object key.

    Raises
    ------
    ConfigError
        If there is no usable key, or its public half is not among the trusted ones.
    """
    key = _private_key()
    key_id = _public_hex(key)
    trusted = trusted_keys()
    if key_id not in trusted:
        raise ConfigError(
            f"the signing key {key_id} is not among trust.trusted_keys {sorted(trusted)}: nobody "
            f"would believe it. Add it there, or point {KEY_VARIABLE} to a trusted key."
        )
    signature = key.sign(_vouched(payload, kind=kind, place=place)).hex()
    return _line({"key_id": key_id, "kind": kind, "place": place, "signature": signature}) + payload


def unseal(data: bytes, *, kind: str, place: str, uri: str) -> memoryview:
    """The sealed bytes, if a trusted key vouches for them as this kind of thing, in this place.

    Raises
    ------
    SignatureError
        If nobody trusted does: they are not sealed, were changed, or belong elsewhere.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    found = read_seal(data, uri=uri)
    key_id, signature = found["key_id"], found["signature"]
    if (found["kind"], found["place"]) != (kind, place):
        raise SignatureError(
            f"{uri} was signed as {found['kind'][:40]} for {found['place'][:300]!r}, not as {kind} "
            f"for {place!r}. It is not used: find out who put it there."
        )
    trusted = trusted_keys()
    if key_id not in trusted:
        raise SignatureError(
            f"{uri} is signed by {key_id}, which is not among the trusted keys {sorted(trusted)}. "
            "If it should be, add it to trust.trusted_keys."
        )
    payload = memoryview(data)[len(_line(found)) :]
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key_id))
        key.verify(bytes.fromhex(signature), _vouched(payload, kind=kind, place=place))
    except (InvalidSignature, ValueError) as error:
        raise SignatureError(
            f"{uri} was changed after {key_id[:16]}… signed it. It is not used."
        ) from error
    return payload


def read_seal(data: bytes, *, uri: str) -> dict[str, str]:
    """The line before the sealed bytes, as it is: what it says is not checked here.

    It has one spelling, so no byte of it can be changed.

    Raises
    ------
    SignatureError
        If there is none.
    """
    line, newline, _ = data[:_MAX_SEAL_BYTES].partition(b"\n")
    try:
        found = json.loads(line)
        if _is_seal(found) and _line(found) == line + newline:
            return dict(found)
    except (ValueError, RecursionError):
        pass
    raise SignatureError(
        f"{uri} is signed by nobody: it was torn, forged, or written by another version of this "
        "project. It is not used."
    )


def _is_seal(found: Any) -> bool:
    names = {"key_id", "kind", "place", "signature"}
    if not isinstance(found, dict) or set(found) != names:
        return False
    return all(isinstance(value, str) for value in found.values()) and bool(
        _PUBLIC_KEY.fullmatch(found["key_id"]) and _SIGNATURE.fullmatch(found["signature"])
    )


def _line(seal: dict[str, str]) -> bytes:
    """A seal as it is stored. Its length keeps arrays after it aligned."""
    line = canonical_json(seal).removesuffix(b"\n")
    return line + b" " * (-(len(line) + 1) % _ALIGNMENT) + b"\n"


def _vouched(payload: bytes | memoryview, *, kind: str, place: str) -> bytes:
    """What is signed: the purpose, the kind, the place and the digest of the bytes."""
    digest = hashlib.sha256(payload).hexdigest()
    return canonical_json(["retraining-loop", kind, place, digest])


def trusted_keys() -> frozenset[str]:
    """Public keys whose signature counts, 64 hex digits each."""
    configured = config.load().trust.trusted_keys
    if configured:
        return frozenset(configured)
    if named := os.environ.get(TRUSTED_VARIABLE):
        return _listed_keys(Path(named))
    return frozenset({_public_hex(_private_key())})


def _listed_keys(path: Path) -> frozenset[str]:
    """Public keys from a file, one a line; unreadable or empty is an error, never "nobody"."""
    try:
        lines = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the keys that {TRUSTED_VARIABLE} names: {error}") from error
    if not lines or not all(_PUBLIC_KEY.fullmatch(line) for line in lines):
        raise ConfigError(
            f"{path}, which {TRUSTED_VARIABLE} names, must hold public keys of 64 hex digits, one "
            "a line. Write it anew where the signing key is: python -m pipelines keys export FILE"
        )
    return frozenset(lines)


def export_trusted_keys(path: Path) -> frozenset[str]:
    """Write the trusted keys to a file for processes that have no signing key.

    Raises
    ------
    ConfigError
        If the file cannot be written.
    """
    keys = trusted_keys()
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text("".join(f"{key}\n" for key in sorted(keys)), encoding="ascii")
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write trusted keys to {path}: {error.strerror}") from error
    return keys


def own_key_id() -> str:
    """The public half of this process's signing key, 64 hex digits."""
    return _public_hex(_private_key())


def write_new_key(path: Path) -> str:
    """Make a private key file that only its owner can read; returns the public half.

    Raises
    ------
    ConfigError
        If the file exists or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")  # also of one process' threads
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch(mode=0o600, exist_ok=False)
        part.write_bytes(pem)
        path.hardlink_to(part)  # appears whole, and never replaces a key
    except OSError as error:
        raise ConfigError(f"cannot write a signing key to {path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return _public_hex(key)


def development_key_path() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "retraining-loop" / "development-key.pem"


def _private_key() -> Ed25519PrivateKey:
    if named := os.environ.get(KEY_VARIABLE):
        return _read_key(Path(named))
    if seed := os.environ.get(SEED_VARIABLE):
        return _key_of_seed(seed)
    return _development_key(development_key_path())


def _key_of_seed(seed: str) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    except ValueError:
        # Its text is a secret: neither the message nor the cause may hold it.
        raise ConfigError(f"{SEED_VARIABLE} must be 64 hex digits, of 32 random bytes") from None


@functools.cache
def _development_key(path: Path) -> Ed25519PrivateKey:
    if config.load().trust.trusted_keys:
        raise ConfigError(
            f"trust.trusted_keys is set, so signing needs a real key: point {KEY_VARIABLE} to it"
        )
    if not path.exists():
        try:
            write_new_key(path)
        except ConfigError:
            if not path.exists():  # another process was not faster, either
                raise
    logger.warning(
        "SIGNING WITH A DEVELOPMENT KEY, %s: whoever can run code on this machine can approve "
        "models. For anything real: python -m pipelines keys new FILE, then set %s and "
        "trust.trusted_keys.", path, KEY_VARIABLE,
    )  # fmt: skip
    return _read_key(path)


@functools.cache
def _read_key(path: Path) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{path} is no readable private key ({type(error).__name__}). "
            "Make one: python -m pipelines keys new FILE"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} holds a {type(key).__name__}; an Ed25519 key is needed")
    return key


def _public_hex(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()
