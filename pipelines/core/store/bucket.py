"""The only door to S3-compatible storage.

Credentials and endpoint come from boto3's own chain (``AWS_*``, ``AWS_ENDPOINT_URL_S3``, profile,
role), so a shell and a worker act alike. What a record names is written once, by create-if-absent
(``If-None-Match: *``); a write whose answer was lost is read back instead of guessed at. An answer
counts when it proves to be one (`pipelines.core.store.answers`), and each call has one deadline.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import md5
from typing import IO, Any, Literal, TypeVar
from urllib.parse import urlsplit, urlunsplit

from pipelines.core import config
from pipelines.core.errors import (
    AlreadyExistsError,
    BucketMissingError,
    ConfigError,
    LoopError,
    ObjectMissingError,
    StoreUnavailableError,
    TrustError,
    UnsafeStoreError,
)
from pipelines.core.grants import Role
from pipelines.core.settings import StoreSettings
from pipelines.core.store import answers
from pipelines.core.store.answers import NoAnswerError, ObjectInfo
from pipelines.core.store.client import make_client
from pipelines.core.store.deadline import MOST_ANSWER_BYTES, Deadline, active
from pipelines.core.store.failures import Call, translated
from pipelines.core.store.sealed import SealedRecords

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

_SAFE_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9!_.*'()=/-]{0,899}")
_CHUNK_BYTES = 1024 * 1024
_AMBIGUOUS_TRIES = 4
_MOST_EMPTY_PAGES = 100
_PROBES = "probes/"
_PROBE_LIVES = timedelta(hours=1)


class Bucket(SealedRecords):
    """One bucket. All keys are relative to it. What it does with records is in `core.store.sealed`.

    Every method raises `StoreUnavailableError` when the store gives no settling answer,
    `BucketMissingError` when the bucket does not exist, and `StoreRefusedError` when
    credentials are missing, wrong or not allowed to do this.
    """

    def __init__(self, name: str, client: Any, settings: StoreSettings) -> None:
        self.name = name
        self._client = client
        self._settings = settings

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
        return self._call("read", key, lambda: self._read(key, max_bytes))

    def stream(self, key: str) -> tuple[str, Iterator[bytes]]:
        """The object's version tag, and its bytes in chunks of 1 MiB.

        The last chunk comes when all of them proved to be the object's; the time that their
        reader takes is not the store's.
        """
        with self._deadline() as deadline:
            head, body = self._call("read", key, lambda: self._open(key))
        return head.version_tag, self._chunks(key, head, body, deadline)

    def find(self, key: str) -> ObjectInfo | None:
        """What is known of the object without reading it; None when it does not exist.

        It is the first one below its own name. The reply to a HEAD has no body, so it proves
        nothing.
        """
        page = self._call("look up", key, lambda: self._page(key, MaxKeys=1))
        return next((info for info in page.lines if info.key == key), None)

    def list(self, prefix: str) -> list[ObjectInfo]:
        """All objects below a prefix, sorted by key."""
        return self._call("list", prefix, lambda: [*itertools.chain(*self._pages(prefix))])

    def put(self, key: str, data: bytes) -> None:
        """Write or replace an object that no record names: a hint, a cache entry, a new file."""
        checked_key(key)
        self._call("write", key, lambda: self._write(key, data, answers.digest_of(data)))

    def put_file(self, key: str, file: IO[bytes]) -> None:
        """Write or replace an object from an open file, from where that stands to its end."""
        checked_key(key)
        start, digest = file.tell(), md5(usedforsecurity=False)
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)

        def write() -> None:
            file.seek(start)
            self._write(key, file, digest.hexdigest())

        self._call("write", key, write)

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
        with self._deadline():
            return self._create(key, data)

    def _create(self, key: str, data: bytes) -> Literal["created", "identical"]:
        for attempt in range(_AMBIGUOUS_TRIES):
            if self._try_create(key, data) == "created":
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

    def delete(self, key: str) -> None:
        def delete() -> None:
            answers.check_deleted(self._client.delete_object(Bucket=self.name, Key=key))

        self._call("delete", key, delete)

    def check_exists(self) -> None:
        """Raise `BucketMissingError` or `StoreRefusedError` unless the bucket can be used."""
        self._call("open", "", lambda: self._page("", MaxKeys=1))

    def create_if_missing(self) -> bool:
        """Create the bucket; False when it is already there."""
        try:
            self.check_exists()
        except BucketMissingError:
            self._call("create", "", self._create_bucket)
            self.check_exists()  # the reply to its creation has nothing that proves it
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
        key = f"{_PROBES}{uuid.uuid4().hex}"
        self.put_once(key, b"first")
        second = self._settled_create(key, b"second")
        kept = self._get_or_none(key)
        self._sweep_probes(key)
        if (second, kept) != ("exists", b"first"):
            raise UnsafeStoreError(
                f"the store behind bucket {self.name!r} does not honour create-if-absent "
                f"(If-None-Match: *): a second write of one key answered {second!r}, and it then "
                f"held {kept!r} instead of b'first'. Two runs could both promote. "
                "Use AWS S3, MinIO from 2025-09-07 on, or Ceph."
            )

    def _sweep_probes(self, own: str) -> None:
        """Delete one's own probe, and what stopped processes left of theirs.

        A probe that stays does no harm, and the next proof deletes it.
        """
        try:
            probes = {info.key: datetime.fromisoformat(info.stored_at)
                      for info in self.list(_PROBES)}  # fmt: skip
            now = probes.get(own)  # by the clock that all of them have
            outdated = [key for key, at in probes.items() if now and at < now - _PROBE_LIVES]
            for key in (own, *outdated):
                self.delete(key)
        except StoreUnavailableError as error:
            logger.warning("bucket=%s a probe was not deleted: %s", self.name, error)

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

    def _open(self, key: str) -> tuple[answers.Head, Any]:
        reply = self._client.get_object(Bucket=self.name, Key=key, ChecksumMode="ENABLED")
        try:
            head = answers.checked_head(reply)
        except NoAnswerError:
            reply["Body"].close()
            raise
        if (deadline := active()) is not None:
            deadline.bytes_left = MOST_ANSWER_BYTES + head.size_bytes
        return head, reply["Body"]

    def _read(self, key: str, max_bytes: int | None) -> bytes:
        head, body = self._open(key)
        with body:  # not "as": that gives the raw stream, without botocore's checks and errors
            if max_bytes is not None and head.size_bytes > max_bytes:
                self._check_size(key, head)
                raise TrustError(
                    f"{self.uri(key)} has {head.size_bytes:,} bytes; at most {max_bytes:,} are "
                    "expected there"
                )
            data: bytes = body.read()
        answers.check_bytes(head, len(data), answers.digest_of(data))
        return data

    def _check_size(self, key: str, head: answers.Head) -> None:
        """A size that nobody reads so far as to prove it must be that of the listing."""
        listed = next((info for info in self._page(key, MaxKeys=1).lines if info.key == key), None)
        if listed is None or listed.size_bytes != head.size_bytes:
            raise NoAnswerError("an object of another size than it is listed with")

    def _page(self, prefix: str, *, after: str = "", **more: Any) -> answers.Page:
        reply = self._client.list_objects_v2(Bucket=self.name, Prefix=prefix, **more)
        return answers.checked_page(reply, bucket=self.name, prefix=prefix, after=after)

    def _pages(self, prefix: str) -> Iterator[Sequence[ObjectInfo]]:
        """The lines of each page of a listing; one that does not end is no answer."""
        page, count, empty = self._page(prefix), 0, 0
        while True:
            yield page.lines
            count, empty = count + len(page.lines), 0 if page.lines else empty + 1
            if page.following is None:
                return
            self._check_end(count, empty)
            after = page.lines[-1].key if page.lines else ""
            page = self._page(prefix, after=after, ContinuationToken=page.following)

    def _check_end(self, count: int, empty_pages: int) -> None:
        most = self._settings.max_listed_objects
        if count >= most or empty_pages > _MOST_EMPTY_PAGES:
            raise NoAnswerError(
                f"a listing without an end: {count:,} objects so far, {most:,} are the limit "
                "(store.max_listed_objects)"
            )

    def _write(self, key: str, body: bytes | IO[bytes], digest: str, **more: Any) -> None:
        reply = self._client.put_object(Bucket=self.name, Key=key, Body=body, **more)
        answers.check_written(reply, digest)

    def _create_bucket(self) -> None:
        from botocore.exceptions import ClientError

        try:
            self._client.create_bucket(Bucket=self.name)
        except ClientError as error:
            if answers.own_code(error) != "BucketAlreadyOwnedByYou":  # a try before did it
                raise

    def _get_or_none(self, key: str) -> bytes | None:
        try:
            return self.get(key)
        except ObjectMissingError:
            return None

    def _try_create(self, key: str, data: bytes) -> Literal["created", "exists", "unsettled"]:
        from botocore.exceptions import ClientError

        def create() -> Literal["created", "exists"]:
            try:
                self._write(key, data, answers.digest_of(data), IfNoneMatch="*")
            except ClientError as error:
                if answers.own_code(error) != "PreconditionFailed":
                    raise
                return "exists"
            return "created"

        try:
            return self._call("write", key, create, tries=1)
        except StoreUnavailableError as error:
            if (deadline := active()) is not None and deadline.seconds_left <= 0:
                raise
            logger.warning("store=%s key=%s create=unsettled cause=%s", self.name, key, error)
            return "unsettled"

    def _chunks(
        self, key: str, head: answers.Head, body: Any, deadline: Deadline
    ) -> Iterator[bytes]:
        digest, size, chunk = md5(usedforsecurity=False), 0, b""
        with body:
            while True:
                with deadline:
                    following = self._call("read", key, lambda: body.read(_CHUNK_BYTES), tries=1)
                digest.update(following)
                size += len(following)
                if not following:
                    break
                if chunk:
                    yield chunk
                chunk = following
        self._call(
            "read", key, lambda: answers.check_bytes(head, size, digest.hexdigest()), tries=1
        )
        if chunk:
            yield chunk

    def _call(
        self, verb: str, key: str, request: Callable[[], Answer], *, tries: int | None = None
    ) -> Answer:
        """One call to the store, with all of its tries, before one deadline."""
        tries = tries or self._settings.max_attempts
        call = Call(verb, self.uri(key), self.name, self.endpoint, self._settings)
        with self._deadline() as deadline:
            for attempt in itertools.count(1):
                deadline.bytes_left = MOST_ANSWER_BYTES
                try:
                    return request()
                except LoopError:
                    raise
                except Exception as error:  # noqa: BLE001  botocore raises anything on a bad reply
                    failure, cause = translated(call, error), error
                is_final = attempt >= tries or deadline.seconds_left <= 0
                if is_final or not isinstance(failure, StoreUnavailableError):
                    raise failure from cause
                deadline.sleep(_pause_seconds(attempt))
        raise AssertionError("unreachable")

    @contextlib.contextmanager
    def _deadline(self) -> Iterator[Deadline]:
        """The deadline of the call that is in progress, else that of a new one."""
        outer = active()
        if outer is not None:
            yield outer
            return
        limits = self._settings
        with Deadline(
            limits.deadline_seconds, bytes_per_second=limits.min_bytes_per_second
        ) as deadline:
            yield deadline

    def clock(self) -> datetime:
        """The store's own time in UTC, to the second, as the headers of a small listing say it.

        Raises
        ------
        StoreUnavailableError
            If the reply is no listing of this bucket, or says no time.
        """
        page = self._call("ask the time of", _PROBES, lambda: self._page(_PROBES, MaxKeys=1))
        if page.said_at is None:
            raise StoreUnavailableError(
                f"the store at {self.endpoint} does not say what time it is, so nothing can be "
                "dated. Something else may answer in its place: check AWS_ENDPOINT_URL_S3, then "
                "run this again."
            )
        return page.said_at

    @property
    def endpoint(self) -> str:
        """The store's address, without the user and the password that it may hold."""
        address = urlsplit(str(self._client.meta.endpoint_url))
        return urlunsplit(address._replace(netloc=address.netloc.rpartition("@")[2]))


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
    client = make_client(settings, role)
    return Stores(
        Bucket(settings.reviews_bucket, client, settings),
        Bucket(settings.models_bucket, client, settings),
    )


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


def _pause_seconds(attempt: int) -> float:
    """How long to wait after a try: 0.1 s, 0.4 s, 1.6 s, up to twice that, so that many spread."""
    return float(0.1 * 4 ** min(attempt - 1, 3) * (1 + random.random()))  # noqa: S311
