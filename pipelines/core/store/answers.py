"""Check that an answer comes from an S3 store and is complete; anything less is an error.

A login page, a proxy's error or half of a message also arrives with a status and headers. Reading
one as "there is nothing" would mean an empty champion log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import md5
from typing import Any
from urllib.parse import urlsplit

from pipelines.core.store.deadline import active

_ETAG = re.compile(r'"?([0-9a-fA-F]{32}(-[0-9]{1,5})?)"?')
_OWN_CODE = re.compile(r"[A-Za-z][A-Za-z0-9.]*")
_MOVED_CODE = re.compile(rb"<Code>(PermanentRedirect|TemporaryRedirect)</Code>")
_ELEMENT = re.compile(rb"<(Endpoint|Region|Message)>([^<>]{1,200})</")
_CUSTOMER_KEY = "x-amz-server-side-encryption-customer-algorithm"


class NoAnswerError(Exception):
    """The reply is not a complete answer of an S3 store; the message says what is wrong with it."""


class MovedError(Exception):
    """The store says itself that the bucket is elsewhere; ``error`` are the elements of its XML."""

    def __init__(self, error: dict[str, str], status: int) -> None:
        self.error, self.status = error, status
        super().__init__(f"{status} {error['Code']}")


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One line of a listing. ``version_tag`` changes whenever the bytes do."""

    key: str
    size_bytes: int
    version_tag: str
    moment: datetime | None = field(default=None, compare=False)  # only listings say it

    @property
    def stored_at(self) -> str:
        """By the store's clock, ISO 8601 in UTC; empty if not known."""
        return self.moment.astimezone(UTC).isoformat(timespec="seconds") if self.moment else ""


@dataclass(frozen=True)
class Page:
    """A part of a listing; ``following`` is the token of the next part, None at the end.

    ``said_at`` is the store's own time in UTC; None where the reply does not hold it.
    """

    lines: list[ObjectInfo]
    following: str | None
    said_at: datetime | None


@dataclass(frozen=True)
class Head:
    """What a reply's headers say about the object; ``md5`` only where the tag is one."""

    size_bytes: int
    version_tag: str
    md5: str | None


def inspect(response_dict: dict[str, Any], **_: Any) -> None:
    """Look at a reply before botocore does: for its ``before-parse`` event.

    botocore follows a redirect by asking the same server for the region, without end.
    """
    status, headers = response_dict["status_code"], response_dict["headers"]
    if (deadline := active()) is not None:
        deadline.came_with = (status, headers)
    if 300 <= status < 400 and "x-amz-bucket-region" not in headers:
        body = response_dict.get("body")
        if isinstance(body, bytes) and (moved := _MOVED_CODE.search(body)):
            parts = {
                name.decode(): text.decode("utf-8", "replace")
                for name, text in _ELEMENT.findall(body)
            }
            raise MovedError({"Code": moved[1].decode(), **parts}, status)
        raise NoAnswerError(f"a redirect ({status})")


def checked_head(reply: Any) -> Head:
    """What the reply to a GET says about the object that follows."""
    _must_have_status(reply, 200)
    headers = reply["ResponseMetadata"]["HTTPHeaders"]
    _must("transfer-encoding" not in headers, "an object in pieces, so without a proven end")
    size = reply.get("ContentLength")
    _must(isinstance(size, int) and size >= 0, "an object without Content-Length")
    _must(isinstance(reply.get("LastModified"), datetime), "an object without Last-Modified")
    tag = _tag(reply, "an object")
    return Head(size, tag, tag.lower() if _is_md5(tag, headers) else None)


def check_bytes(head: Head, size_bytes: int, digest: str) -> None:
    """Compare what was read, its length and its MD5, with what the reply said."""
    _must(
        size_bytes == head.size_bytes,
        f"{size_bytes:,} bytes of an object of {head.size_bytes:,} bytes",
    )
    _must(
        head.md5 in {None, digest},
        f"an object whose bytes have the MD5 {digest} and not that of its ETag, {head.md5}",
    )


def check_written(reply: Any, digest: str) -> None:
    """Whether the reply to a PUT says that these very bytes were stored."""
    _must_have_status(reply, 200)
    tag = _tag(reply, "the receipt of a write")
    is_md5 = _is_md5(tag, reply["ResponseMetadata"]["HTTPHeaders"])
    _must(
        not is_md5 or tag.lower() == digest,
        f"the receipt of other bytes: their MD5 is {tag}, that of those sent is {digest}",
    )


def check_deleted(reply: Any) -> None:
    _must_have_status(reply, 204)


def checked_page(reply: Any, *, bucket: str, prefix: str, after: str) -> Page:
    """The lines of a part of a listing whose part before ended with the key ``after``."""
    _must_have_status(reply, 200)
    name, below = reply.get("Name"), reply.get("Prefix") or ""
    _must(name == bucket, f"a listing of a bucket {name!r}")
    _must(below == prefix, f"a listing of what is below {below!r} instead of {prefix!r}")
    _must(isinstance(reply.get("IsTruncated"), bool), "a listing that does not say if it goes on")
    contents = reply.get("Contents", [])
    count = reply.get("KeyCount", len(contents))
    _must(count == len(contents), f"a listing of {count} lines with {len(contents)} lines")
    lines = []
    for line in contents:
        lines.append(_checked_line(line, prefix, after))
        after = lines[-1].key
    following = reply.get("NextContinuationToken") if reply["IsTruncated"] else None
    _must(bool(following) == reply["IsTruncated"], "a listing that goes on and does not say where")
    return Page(lines, following, _said_at(reply))


def _said_at(reply: Any) -> datetime | None:
    """When the reply was sent, by the server's clock."""
    date = reply.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _checked_line(line: Any, prefix: str, after: str) -> ObjectInfo:
    key, size, moment = line.get("Key"), line.get("Size"), line.get("LastModified")
    _must(isinstance(key, str) and key != "", "a listing with a line without Key")
    _must(key.startswith(prefix), "a listing with a line of another prefix")
    _must(key > after, "a listing with a line twice, or out of order")
    _must(isinstance(size, int) and size >= 0, "a listing with a line without Size")
    _must(isinstance(moment, datetime), "a listing with a line without LastModified")
    return ObjectInfo(key, size, _tag(line, "a listing with a line"), moment)


def own_code(error: Any) -> str:
    """The store's own code in an error; empty when something else answered.

    botocore gives the status instead when there was no XML.
    """
    code = error.response.get("Error", {}).get("Code")
    return code if isinstance(code, str) and _OWN_CODE.fullmatch(code) else ""


def status_of(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def digest_of(data: bytes) -> str:
    """The MD5, as in an ETag. It detects damage; what must be trusted has a SHA-256."""
    return md5(data, usedforsecurity=False).hexdigest()


def likely_cause(came_with: tuple[int, Mapping[str, str]] | None, endpoint: str) -> str:
    """One sentence on why something else may have answered instead of the store."""
    if came_with is None:
        return "Something other than an S3 store may listen there."
    status, headers = came_with
    if 300 <= status < 400:
        return _cause_of_redirect(headers.get("location", ""), endpoint)
    if status == 400 and endpoint.startswith("http:"):
        return "The address may have to begin with https."
    if "html" in headers.get("content-type", ""):
        return "It sent a web page, as a proxy or a login page does."
    return "A proxy, or a server that is not an S3 store, may have sent it."


def _cause_of_redirect(location: str, endpoint: str) -> str:
    target = urlsplit(location)
    place = f"{target.scheme}://{target.hostname}"
    if target.scheme == "https" and endpoint.startswith("http:"):
        return f"It redirects to {place}: the address may have to begin with https."
    if not target.hostname or target.hostname == urlsplit(endpoint).hostname:
        return "It redirects to itself, as a login page does."
    return f"It redirects to {place}, as a login page does, or a store that moved."


def _is_md5(tag: str, headers: Mapping[str, str]) -> bool:
    encryption = headers.get("x-amz-server-side-encryption", "AES256")
    return "-" not in tag and encryption == "AES256" and _CUSTOMER_KEY not in headers


def _tag(part: Any, what: str) -> str:
    match = _ETAG.fullmatch(str(part.get("ETag", "")))
    _must(match is not None, f"{what} without an ETag of S3")
    return str(match[1]) if match else ""


def _must_have_status(reply: Any, expected: int) -> None:
    status = reply["ResponseMetadata"]["HTTPStatusCode"]
    _must(status == expected, f"status {status} instead of {expected}")


def _must(is_so: bool, fault: str) -> None:
    if not is_so:
        raise NoAnswerError(fault)
