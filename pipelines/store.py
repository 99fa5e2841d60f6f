"""The only door to S3-compatible storage.

Credentials and endpoint come from boto3's own chain (``AWS_*``, ``AWS_ENDPOINT_URL_S3``, profile,
role), so a shell and a worker act alike. What a record names is written once, by create-if-absent
(``If-None-Match: *``); a write whose answer was lost is read back instead of guessed at.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC
from typing import IO, Any, Literal, TypeVar

from pipelines import config
from pipelines.config import StoreSettings
from pipelines.errors import (
    AlreadyExistsError,
    BucketMissingError,
    ConfigError,
    ObjectMissingError,
    StoreRefusedError,
    StoreUnavailableError,
    TrustError,
    UnsafeStoreError,
)
from pipelines.grants import Role, profile
from pipelines.records import MAX_RECORD_BYTES, Record

logger = logging.getLogger(__name__)

AnyRecord = TypeVar("AnyRecord", bound=Record)
Answer = TypeVar("Answer")

_SAFE_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9!_.*'()=/-]{0,899}")
_CHUNK_BYTES = 1024 * 1024
_AMBIGUOUS_TRIES = 4
_MISSING_CODES = {"404", "NoSuchKey", "NotFound"}
_DENIED_CODES = {
    "401", "403", "AccessDenied", "AllAccessDisabled", "ExpiredToken", "InvalidAccessKeyId",
    "InvalidToken", "SignatureDoesNotMatch",
}  # fmt: skip
_WRITE_RACE_CODES = {"409", "ConditionalRequestConflict", "OperationAborted"}


@dataclass(frozen=True)
class ObjectInfo:
    """One line of a listing. ``version_tag`` changes whenever the bytes do."""

    key: str
    size_bytes: int
    version_tag: str
    stored_at: str = field(
        default="", compare=False
    )  # by the store's clock, ISO 8601 in UTC; only listings say


class Bucket:
    """One bucket. All keys are relative to it.

    Every method raises `StoreUnavailableError` when the store gives no settling answer,
    `BucketMissingError` when the bucket does not exist, and `StoreRefusedError` when
    credentials are missing, wrong or not allowed to do this.
    """

    def __init__(self, name: str, client: Any) -> None:
        self.name = name
        self._client = client

    def uri(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """The object's bytes.

        Raises
        ------
        ObjectMissingError
            If it does not exist.
        TrustError
            If it is larger than ``max_bytes``.
        """
        reply = self._call("read", key, lambda: self._get_object(key))
        body = reply["Body"]
        with body:  # not "as": that gives the raw stream, without botocore's checks and errors
            size = int(reply["ContentLength"])
            if max_bytes is not None and size > max_bytes:
                raise TrustError(
                    f"{self.uri(key)} has {size:,} bytes; at most {max_bytes:,} are expected there"
                )
            data: bytes = self._call("read", key, body.read)
        return data

    def get_record(self, key: str, kind: type[AnyRecord]) -> AnyRecord:
        """A record of the given kind. Raises what `get` and ``Record.from_bytes`` raise."""
        return kind.from_bytes(self.get(key, max_bytes=MAX_RECORD_BYTES), uri=self.uri(key))

    def find_record(self, key: str, kind: type[AnyRecord]) -> AnyRecord | None:
        """The record, or None when the store says that it does not exist."""
        try:
            return self.get_record(key, kind)
        except ObjectMissingError:
            return None

    def stream(self, key: str) -> tuple[str, Iterator[bytes]]:
        """The object's version tag, and its bytes in chunks of 1 MiB."""
        reply = self._call("read", key, lambda: self._get_object(key))
        return _tag(reply), self._chunks(key, reply["Body"])

    def find(self, key: str) -> ObjectInfo | None:
        """What is known of the object without reading it; None when it does not exist."""
        try:
            reply = self._call(
                "look up", key, lambda: self._client.head_object(Bucket=self.name, Key=key)
            )
        except ObjectMissingError:
            self.check_exists()  # a HEAD answers 404 for a missing bucket, too
            return None
        return ObjectInfo(key, int(reply["ContentLength"]), _tag(reply))

    def list(self, prefix: str) -> list[ObjectInfo]:
        """All objects below a prefix, sorted by key."""
        pages = self._client.get_paginator("list_objects_v2")
        found: list[ObjectInfo] = []

        def read_all() -> None:
            found.clear()
            for page in pages.paginate(Bucket=self.name, Prefix=prefix):
                found.extend(
                    ObjectInfo(line["Key"], int(line["Size"]), _tag(line), _stored_at(line))
                    for line in page.get("Contents", ())
                )

        self._call("list", prefix, read_all)
        return sorted(found, key=lambda info: info.key)

    def put(self, key: str, data: bytes) -> None:
        """Write or replace an object that no record names: a hint, a cache entry, a new file."""
        self._call(
            "write",
            key,
            lambda: self._client.put_object(Bucket=self.name, Key=checked_key(key), Body=data),
        )

    def put_file(self, key: str, file: IO[bytes]) -> None:
        """Write or replace an object from an open file, in parts when it is large."""
        self._call(
            "write", key, lambda: self._client.upload_fileobj(file, self.name, checked_key(key))
        )

    def put_once(self, key: str, data: bytes) -> Literal["created", "identical"]:
        """Create the object unless it exists: the commit of every record.

        Returns
        -------
        outcome : {"created", "identical"}
            "identical" when it already held these very bytes, as after a repeated task or an
            answer that was lost.

        Raises
        ------
        AlreadyExistsError
            If it already holds other bytes.
        """
        checked_key(key)
        for attempt in range(_AMBIGUOUS_TRIES):
            outcome = self._try_create(key, data)
            if outcome == "created":
                return "created"
            existing = self._get_or_none(key)
            if existing == data:
                return "identical"
            if existing is not None:
                raise AlreadyExistsError(
                    f"{self.uri(key)} already exists with other bytes and is never overwritten"
                )
            time.sleep(0.05 * 2**attempt)
        raise StoreUnavailableError(
            f"creating {self.uri(key)} was not settled after {_AMBIGUOUS_TRIES} tries; "
            "the object does not exist. Run the task again."
        )

    def put_record(self, key: str, record: Record) -> Literal["created", "identical"]:
        """`put_once` of a record's canonical bytes."""
        return self.put_once(key, record.to_bytes())

    def delete(self, key: str) -> None:
        self._call("delete", key, lambda: self._client.delete_object(Bucket=self.name, Key=key))

    def check_exists(self) -> None:
        """Raise `BucketMissingError` or `StoreRefusedError` unless the bucket can be used."""
        self._call("open", "", lambda: self._client.head_bucket(Bucket=self.name))

    def create_if_missing(self) -> bool:
        """Create the bucket; False when it is already there."""
        try:
            self.check_exists()
        except (BucketMissingError, ObjectMissingError):
            self._call("create", "", lambda: self._client.create_bucket(Bucket=self.name))
            return True
        return False

    def prove_create_if_absent(self) -> None:
        """Refuse a store that accepts create-if-absent writes and ignores the condition.

        On such a store every racer "wins" and the champion log means nothing.

        Raises
        ------
        UnsafeStoreError
            If a second create of the same key succeeds or the first one's bytes are lost.
        """
        key = f"probes/{uuid.uuid4().hex}"
        self.put_once(key, b"first")
        second = self._settled_create(key, b"second")
        kept = self._get_or_none(key)
        self.delete(key)
        if (second, kept) != ("exists", b"first"):
            raise UnsafeStoreError(
                f"the store behind bucket {self.name!r} does not honour create-if-absent "
                f"(If-None-Match: *): a second write of one key answered {second!r}, and it then "
                f"held {kept!r} instead of b'first'. Two runs could both promote. "
                "Use AWS S3, MinIO from 2025-09-07 on, or Ceph."
            )

    def _settled_create(self, key: str, data: bytes) -> Literal["created", "exists"]:
        for attempt in range(_AMBIGUOUS_TRIES):
            outcome = self._try_create(key, data)
            if outcome != "unsettled":
                return outcome
            time.sleep(0.05 * 2**attempt)
        raise StoreUnavailableError(
            f"creating {self.uri(key)} was not settled after {_AMBIGUOUS_TRIES} tries. "
            "Run this again when the store is well."
        )

    def _get_object(self, key: str) -> Any:
        return self._client.get_object(Bucket=self.name, Key=key)

    def _get_or_none(self, key: str) -> bytes | None:
        try:
            return self.get(key)
        except ObjectMissingError:
            return None

    def _try_create(self, key: str, data: bytes) -> Literal["created", "exists", "unsettled"]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client.put_object(Bucket=self.name, Key=key, Body=data, IfNoneMatch="*")
        except ClientError as error:
            code, status = _code(error), _status(error)
            if status == 412:
                return "exists"
            if code in _WRITE_RACE_CODES or status >= 500:
                logger.warning("store=%s key=%s create=unsettled code=%s", self.name, key, code)
                return "unsettled"
            raise self._translated("write", key, error) from error
        except BotoCoreError as error:
            translated = self._translated("write", key, error)
            if isinstance(translated, StoreUnavailableError):
                logger.warning("store=%s key=%s create=unsettled cause=%s", self.name, key, error)
                return "unsettled"
            raise translated from error
        return "created"

    def _chunks(self, key: str, body: Any) -> Iterator[bytes]:
        with body:
            while chunk := self._call("read", key, lambda: body.read(_CHUNK_BYTES)):
                yield chunk

    def _call(self, verb: str, key: str, request: Callable[[], Answer]) -> Answer:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return request()
        except (ClientError, BotoCoreError, Boto3Error, OSError) as error:
            raise self._translated(verb, key, error) from error

    def _translated(self, verb: str, key: str, error: Exception) -> Exception:
        from botocore.exceptions import (
            ClientError,
            CredentialRetrievalError,
            NoCredentialsError,
            PartialCredentialsError,
            ProfileNotFound,
        )

        target = self.uri(key)
        if isinstance(error, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
            return StoreRefusedError(
                f"cannot {verb} {target}: no usable S3 credentials ({error}). Set "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile or role that boto3 finds"
            )
        if isinstance(error, ClientError) and not isinstance(error, CredentialRetrievalError):
            return self._translated_answer(verb, target, error)
        return StoreUnavailableError(
            f"cannot {verb} {target}: the store at {self.endpoint} did not answer ({error}). "
            "Check AWS_ENDPOINT_URL_S3 and that the store is running; then run this again."
        )

    def _translated_answer(self, verb: str, target: str, error: Any) -> Exception:
        code, status = _code(error), _status(error)
        if code == "NoSuchBucket" or (status == 404 and target == self.uri("")):
            return BucketMissingError(
                f"bucket {self.name!r} does not exist at {self.endpoint}. "
                "Create it: python -m pipelines init"
            )
        if code in _MISSING_CODES:
            return ObjectMissingError(f"{target} does not exist")
        if code in _DENIED_CODES:
            return StoreRefusedError(
                f"cannot {verb} {target}: the store at {self.endpoint} refused it ({code}). "
                "Check the S3 credentials and that they may do this on this bucket."
            )
        if status >= 500 or status == 429 or code in {"SlowDown", "RequestTimeout"}:
            return StoreUnavailableError(
                f"cannot {verb} {target}: the store at {self.endpoint} answered {status} {code}. "
                "Run this again when it is well."
            )
        return StoreRefusedError(
            f"cannot {verb} {target}: the store at {self.endpoint} answered {status} {code}: "
            f"{error.response.get('Error', {}).get('Message', '')}"
        )

    @property
    def endpoint(self) -> str:
        return str(self._client.meta.endpoint_url)


@dataclass(frozen=True)
class Stores:
    """The two buckets: ingest writes ``reviews``, retrain writes ``models``."""

    reviews: Bucket
    models: Bucket

    def resolve(self, uri: str) -> tuple[Bucket, str]:
        """The bucket and key behind an URI that one of the two buckets gave out.

        Raises
        ------
        ConfigError
            If it names neither bucket.
        """
        for bucket in (self.reviews, self.models):
            prefix = bucket.uri("")
            if uri.startswith(prefix) and len(uri) > len(prefix):
                return bucket, uri.removeprefix(prefix)
        raise ConfigError(
            f"{uri!r} lies in neither configured bucket "
            f"({self.reviews.name!r}, {self.models.name!r})"
        )


def open_stores(settings: StoreSettings | None = None, role: Role | None = None) -> Stores:
    """Connect to the configured buckets. Nothing is sent until a method is called.

    With a role, boto3's profile ``loop-<role>`` is used if there is one. Without a role or such a
    profile, boto3 finds the credentials as ever: one for everything.
    """
    settings = settings or config.load().store
    client = _client(settings, role)
    return Stores(Bucket(settings.reviews_bucket, client), Bucket(settings.models_bucket, client))


def checked_key(key: str) -> str:
    """A key that we may write: no ``..``, no empty segment, no character that needs quoting.

    Raises
    ------
    ValueError
        If it is anything else. Keys built from foreign names must be hashed first.
    """
    segments = key.split("/")
    if not _SAFE_KEY.fullmatch(key) or any(part in {"", ".", ".."} for part in segments):
        raise ValueError(f"{key!r} is not a key this project writes")
    return key


def _client(settings: StoreSettings, role: Role | None) -> Any:
    import boto3
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    options = Config(
        connect_timeout=settings.connect_timeout_seconds,
        read_timeout=settings.read_timeout_seconds,
        retries={"mode": "standard", "total_max_attempts": settings.max_attempts},
        s3={"addressing_style": _addressing_style()},
        user_agent_extra="retraining-loop",
    )
    try:
        core = botocore.session.Session()
        core.register_component("data_loader", _service_descriptions())
        own = profile(role) if role and profile(role) in core.available_profiles else None
        session = boto3.session.Session(botocore_session=core, profile_name=own)
        region = session.region_name or "us-east-1"
        return session.client("s3", region_name=region, config=options)
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"cannot set up the S3 client: {error}") from error


@functools.cache
def _service_descriptions() -> Any:
    """What botocore reads to learn the S3 API: a tenth of a second, once per process."""
    from botocore.loaders import create_loader

    return create_loader()


def _addressing_style() -> str:
    """Path style for any own endpoint: ``bucket.localhost`` resolves nowhere."""
    has_own_endpoint = "AWS_ENDPOINT_URL_S3" in os.environ or "AWS_ENDPOINT_URL" in os.environ
    return "path" if has_own_endpoint else "auto"


def _tag(reply: Any) -> str:
    return str(reply["ETag"]).strip('"')


def _stored_at(line: Any) -> str:
    moment = line.get("LastModified")
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else ""


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
