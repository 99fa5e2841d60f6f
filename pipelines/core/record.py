"""The base of every record: small, frozen, versioned, and the same bytes every time.

A record is canonical JSON (sorted keys, no spaces, no NaN, UTF-8, one final newline), so equal
records have equal digests. Object keys in records are relative to their bucket: the same work in
another bucket writes the same bytes. Times are recorded only where a person or a promotion decided
(the champion log and replays) and where an alert was sent.

A `StoredRecord` lies in a bucket, sealed (`core.store.sealed`), under the key that its own fields
make. So a record in another place is detected, whoever signed it.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.core.errors import TrustError

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
NightDate = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
VersionId = Annotated[str, Field(pattern=r"^[0-9a-f]{20}$")]


def canonical_json(value: Any) -> bytes:
    """Bytes that depend on the value alone.

    Raises
    ------
    ValueError
        If the value holds NaN or an infinity.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8") + b"\n"


def sha256_of(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


NO_BYTES = sha256_of(b"")


class Record(BaseModel):
    """Base of every record: frozen, no unknown fields, canonical bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def to_bytes(self) -> bytes:
        return canonical_json(self.model_dump(mode="json"))

    def digest(self) -> str:
        return sha256_of(self.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes, *, uri: str) -> Self:
        """Read a record back.

        Raises
        ------
        TrustError
            If the bytes are not a record of this kind: torn, foreign, or of another schema version.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise TrustError(
                f"{uri} is not a readable {cls.__name__} record ({where}: {first['msg']}). "
                "It was torn, changed by hand, or written by another version of this project."
            ) from error


class StoredRecord(Record):
    """A record with its own key in a bucket. Its stored form is sealed for that key."""

    BUCKET: ClassVar[Literal["reviews", "models"]] = "reviews"

    @property
    @abstractmethod
    def object_key(self) -> str:
        """The key where the record belongs, made from its own fields alone."""


class ModelRecord(StoredRecord):
    """A record about one model, in the bucket of models."""

    BUCKET = "models"
    model_name: str
