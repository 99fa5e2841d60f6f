"""The only access to S3-compatible storage.

Credentials and endpoint come from boto3's own chain (``AWS_*``, ``AWS_ENDPOINT_URL_S3``, profile,
role), so a shell and a worker behave alike. An object that a record names is written once, by
create-if-absent (``If-None-Match: *``); if the answer to a write is lost, the object is read back.
Every answer is checked (`pipelines.core.store.answers`), and each call has one deadline.
"""

from __future__ import annotations

import itertools
import logging
import re
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import md5
from typing import IO, Any, Literal, TypeVar

from pipelines.core.errors import (
    AlreadyExistsError,
    BucketMissingError,
    ObjectMissingError,
    StoreUnavailableError,
    TrustError,
)
from pipelines.core.store import answers, proof
from pipelines.core.store.answers import NoAnswerError, ObjectInfo
from pipelines.core.store.calls import Calls
from pipelines.core.store.client import DEFAULT_REGION
from pipelines.core.store.deadline import MOST_ANSWER_BYTES, Deadline, active
from pipelines.core.store.sealed import SealedRecords

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

_SAFE_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9!_.*'()=/-]{0,899}")
_CHUNK_BYTES = 1024 * 1024
_AMBIGUOUS_TRIES = 4
_MOST_EMPTY_PAGES = 100
_NO_SUCH_REGION = {
    "IllegalLocationConstraintException", "InvalidLocationConstraint", "InvalidRegion",
    "MalformedXML", "InvalidArgument", "InvalidRequest", "NotImplemented",
}  # fmt: skip


class Bucket(Calls, SealedRecords):
    """One bucket. All keys are relative to it. Methods for records are in `core.store.sealed`.

    Every method raises `StoreUnavailableError` when the store gives no conclusive answer,
    `BucketMissingError` when the bucket does not exist, and `StoreRefusedError` when
    credentials are missing, wrong or not allowed to do this.
    """

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """The object's bytes.

        Raises
        ------
        ObjectMissingError
            If it does not exist.
        TrustError
            If it is larger than ``max_bytes``.
        """
        return self.call("read", key, lambda: self._read(key, max_bytes))

    def stream(self, key: str) -> tuple[str, Iterator[bytes]]:
        """The object's version tag, and its bytes in chunks of 1 MiB.

        The last chunk comes only after all bytes were verified; the time that the reader takes
        does not count towards the deadline.
        """
        with self.deadline() as deadline:
            head, body = self.call("read", key, lambda: self._open(key))
        return head.version_tag, self._chunks(key, head, body, deadline)

    def find(self, key: str) -> ObjectInfo | None:
        """The object's line in a listing; None when it does not exist.

        It is the first one below its own name. The reply to a HEAD has no body, so it cannot be
        verified.
        """
        page = self.call("look up", key, lambda: self._page(key, MaxKeys=1))
        return next((info for info in page.lines if info.key == key), None)

    def list(self, prefix: str) -> list[ObjectInfo]:
        """All objects below a prefix, sorted by key."""
        return self.call("list", prefix, lambda: [*itertools.chain(*self._pages(prefix))])

    def first(self, prefix: str, count: int) -> Sequence[ObjectInfo]:
        """So many objects below a prefix at most, the first by key; no more pages are asked for."""
        lines = itertools.chain.from_iterable
        return self.call(
            "list", prefix, lambda: [*itertools.islice(lines(self._pages(prefix)), count)]
        )

    def put(self, key: str, data: bytes) -> None:
        """Write or replace an object that no record names: a hint, a cache entry, a new file."""
        checked_key(key)
        self.call("write", key, lambda: self._write(key, data, answers.digest_of(data)))

    def put_file(self, key: str, file: IO[bytes]) -> None:
        """Write or replace an object from an open file, from its current position to its end."""
        checked_key(key)
        start, digest = file.tell(), md5(usedforsecurity=False)
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)

        def write() -> None:
            file.seek(start)
            self._write(key, file, digest.hexdigest())

        self.call("write", key, write)

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
        with self.deadline():
            return self._create(key, data)

    def _create(self, key: str, data: bytes) -> Literal["created", "identical"]:
        for attempt in range(_AMBIGUOUS_TRIES):
            if self.try_create(key, data) == "created":
                return "created"
            if self._holds(key, data):
                return "identical"
            time.sleep(0.05 * 2**attempt)
        raise StoreUnavailableError(
            f"creating {self.uri(key)} gave no conclusive answer in {_AMBIGUOUS_TRIES} tries; "
            "the object does not exist. Run the task again."
        )

    def _holds(self, key: str, data: bytes) -> bool:
        """Whether an object has these bytes; False where it does not exist."""
        other = f"{self.uri(key)} already exists with other bytes and is never overwritten"
        try:
            existing = self.get(key, max_bytes=len(data))
        except ObjectMissingError:
            return False
        except TrustError as error:
            raise AlreadyExistsError(other) from error
        if existing != data:
            raise AlreadyExistsError(other)
        return True

    def delete(self, key: str) -> None:
        def delete() -> None:
            answers.check_deleted(self._client.delete_object(Bucket=self.name, Key=key))

        self.call("delete", key, delete)

    def check_exists(self) -> None:
        """Raise `BucketMissingError` or `StoreRefusedError` unless the bucket can be used."""
        self.call("open", "", lambda: self._page("", MaxKeys=1))

    def create_if_missing(self) -> bool:
        """Create the bucket; False when it is already there."""
        try:
            self.check_exists()
        except BucketMissingError:
            self.call("create", "", self._create_bucket)
            self.check_exists()  # the reply to its creation holds no proof of it
            return True
        return False

    def prove_create_if_absent(self) -> None:
        """Refuse a store that does not honour create-if-absent (`store.proof`)."""
        proof.prove_create_if_absent(self)

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
        """Compare the size with the listing's, because the object is not read to its end."""
        listed = next((info for info in self._page(key, MaxKeys=1).lines if info.key == key), None)
        if listed is None or listed.size_bytes != head.size_bytes:
            raise NoAnswerError("an object whose size differs from its listing")

    def _page(self, prefix: str, *, after: str = "", **more: Any) -> answers.Page:
        reply = self._client.list_objects_v2(Bucket=self.name, Prefix=prefix, **more)
        return answers.checked_page(reply, bucket=self.name, prefix=prefix, after=after)

    def _pages(self, prefix: str) -> Iterator[Sequence[ObjectInfo]]:
        """The lines of each page of a listing; a listing that does not end is an error."""
        page, count, empty = self._page(prefix), 0, 0
        while True:
            yield page.lines
            count, empty = count + len(page.lines), 0 if page.lines else empty + 1
            if page.following is None:
                return
            self._check_end(count, empty)
            after = page.lines[-1].key if page.lines else ""
            page = self._page_after(page.following, prefix, after)

    def _page_after(self, token: str, prefix: str, after: str) -> answers.Page:
        from botocore.exceptions import ClientError

        try:
            return self._page(prefix, after=after, ContinuationToken=token)
        except ClientError as error:
            if answers.own_code(error) == "InvalidArgument":
                raise NoAnswerError("a listing whose next page the store does not know") from error
            raise

    def _check_end(self, count: int, empty_pages: int) -> None:
        limit = self._settings.max_listed_objects
        if count >= limit or empty_pages > _MOST_EMPTY_PAGES:
            raise NoAnswerError(
                f"a listing without an end: {count:,} objects so far, {limit:,} are the limit "
                "(store.max_listed_objects)"
            )

    def _write(self, key: str, body: bytes | IO[bytes], digest: str, **more: Any) -> None:
        reply = self._client.put_object(Bucket=self.name, Key=key, Body=body, **more)
        answers.check_written(reply, digest)

    def _create_bucket(self) -> None:
        from botocore.exceptions import ClientError

        region = self._client.meta.region_name
        placed = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        tries = [{}] if region in {None, DEFAULT_REGION, "aws-global"} else [placed, {}]
        for number, where in enumerate(tries, start=1):
            try:
                self._client.create_bucket(Bucket=self.name, **where)
            except ClientError as error:
                code = answers.own_code(error)
                if code == "BucketAlreadyOwnedByYou":  # a try before did it
                    return
                # A store of one's own may have no regions, or others than boto3 knows.
                if code not in _NO_SUCH_REGION or number == len(tries):
                    raise
            else:
                return

    def get_or_none(self, key: str) -> bytes | None:
        try:
            return self.get(key)
        except ObjectMissingError:
            return None

    def try_create(self, key: str, data: bytes) -> Literal["created", "exists", "unsettled"]:
        """One try to create an object; "unsettled" when the outcome is not known."""
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
            return self.call("write", key, create, tries=1)
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
                    following = self.call("read", key, lambda: body.read(_CHUNK_BYTES), tries=1)
                digest.update(following)
                size += len(following)
                if not following:
                    break
                if chunk:
                    yield chunk
                chunk = following
        self.call("read", key, lambda: answers.check_bytes(head, size, digest.hexdigest()), tries=1)
        if chunk:
            yield chunk

    def clock(self) -> datetime:
        """The store's own time in UTC, to the second, from the headers of a small listing.

        Raises
        ------
        StoreUnavailableError
            If the reply is not a listing of this bucket, or holds no time.
        """
        page = self.call("ask the time of", "", lambda: self._page("probes/", MaxKeys=1))
        if page.said_at is None:
            raise StoreUnavailableError(
                f"the store at {self.endpoint} does not say what time it is, so nothing can be "
                "dated. Something else may answer instead of it: check AWS_ENDPOINT_URL_S3, then "
                "run this again."
            )
        return page.said_at


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
