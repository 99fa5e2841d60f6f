"""The key that signs, and the keys whose signatures count."""

from __future__ import annotations

import functools
import logging
import os
import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.core.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

logger = logging.getLogger(__name__)

KEY_VARIABLE = "LOOP_SIGNING_KEY_FILE"
SEED_VARIABLE = "LOOP_SIGNING_KEY"
TRUSTED_VARIABLE = "LOOP_TRUSTED_KEYS_FILE"

PUBLIC_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Keyring:
    """The keys of a process. The signing key comes from the environment and is read when needed.

    Attributes
    ----------
    configured : tuple of str
        ``trust.trusted_keys`` of the settings, 64 hex digits each. Empty: those in the file that
        ``LOOP_TRUSTED_KEYS_FILE`` names, else the signing key's own public half.
    """

    configured: tuple[str, ...] = ()

    def trusted_keys(self) -> frozenset[str]:
        """Public keys whose signature counts, 64 hex digits each."""
        configured = self.configured
        if configured:
            return frozenset(configured)
        if path := os.environ.get(TRUSTED_VARIABLE):
            return _listed_keys(Path(path))
        return frozenset({public_hex(self.private_key())})

    def export(self, path: Path) -> frozenset[str]:
        """Write the trusted keys to a file for processes that have no signing key.

        Raises
        ------
        ConfigError
            If the file cannot be written.
        """
        keys = self.trusted_keys()
        check_names_a_file(path)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            part.write_text("".join(f"{key}\n" for key in sorted(keys)), encoding="ascii")
            part.replace(path)
        except OSError as error:
            raise ConfigError(f"cannot write trusted keys to {path}: {error.strerror}") from error
        return keys

    def signing_key(self) -> Ed25519PrivateKey:
        """The private key, for a record; one made for this machine signs with a warning."""
        key = self.private_key()
        if not os.environ.get(KEY_VARIABLE) and not os.environ.get(SEED_VARIABLE):
            _warn_of_development_key(development_key_path())
        return key

    def private_key(self) -> Ed25519PrivateKey:
        """The key that signs: from the environment, else one made for this machine."""
        if path := os.environ.get(KEY_VARIABLE):
            return _read_key(Path(path))
        if seed := os.environ.get(SEED_VARIABLE):
            return _key_of_seed(seed)
        if self.configured:
            raise ConfigError(
                f"trust.trusted_keys is set, so signing needs a real key: point {KEY_VARIABLE} "
                "to it"
            )
        return _development_key(development_key_path())


def _listed_keys(path: Path) -> frozenset[str]:
    """Public keys from a file, one per line; an unreadable or empty file is an error."""
    try:
        lines = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the keys that {TRUSTED_VARIABLE} names: {error}") from error
    if not lines or not all(PUBLIC_KEY.fullmatch(line) for line in lines):
        raise ConfigError(
            f"{path}, which {TRUSTED_VARIABLE} names, must hold public keys of 64 hex digits, one "
            "a line. Export it again where the signing key is: python -m pipelines keys export FILE"
        )
    return frozenset(lines)


def check_names_a_file(path: Path) -> None:
    """Raise a ConfigError where a path is empty or names a folder."""
    if not path.name or path.is_dir():
        raise ConfigError(f"{str(path)!r} names no file. Give the path of a file, not of a folder")


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
    check_names_a_file(path)
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
    return public_hex(key)


def development_key_path() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "retraining-loop" / "development-key.pem"


def _key_of_seed(seed: str) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    except ValueError:
        # Its text is a secret: neither the message nor the cause may hold it.
        raise ConfigError(f"{SEED_VARIABLE} must be 64 hex digits, of 32 random bytes") from None


@functools.cache
def _development_key(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        try:
            write_new_key(path)
        except ConfigError:
            if not path.exists():  # another process was not faster, either
                raise
    return _read_key(path)


@functools.cache
def _warn_of_development_key(path: Path) -> None:
    logger.warning(
        "SIGNING WITH A DEVELOPMENT KEY, %s: anybody who can run code on this machine can approve "
        "models. For production, run: python -m pipelines keys new FILE, then set %s and "
        "trust.trusted_keys.", path, KEY_VARIABLE,
    )  # fmt: skip


@functools.cache
def _read_key(path: Path) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{path} is not a readable private key ({type(error).__name__}). "
            "Make one: python -m pipelines keys new FILE"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} holds a {type(key).__name__}; an Ed25519 key is needed")
    return key


def public_hex(key: Ed25519PrivateKey) -> str:
    """The public half of a key, 64 hex digits."""
    return key.public_key().public_bytes_raw().hex()
