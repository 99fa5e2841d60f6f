"""What an answer of the store must hold, one missing thing at a time."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from pipelines.core import config
from pipelines.core.errors import StoreUnavailableError
from pipelines.core.store import answers
from pipelines.core.store.answers import NoAnswerError
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.keyring import Keyring

pytestmark = pytest.mark.attack

MOMENT = dt.datetime(2026, 1, 5, 3, tzinfo=dt.UTC)
TAG = '"9dd4e461268c8034f5c8564e155c67a6"'  # the MD5 of b"x"


def a_reply(status: int = 200, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    return {"ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers or {}}, **fields}


def a_line(key: str, **changes: Any) -> dict[str, Any]:
    line = {"Key": key, "Size": 1, "ETag": TAG, "LastModified": MOMENT} | changes
    return {name: value for name, value in line.items() if value is not None}


def a_page(*keys: str, **changes: Any) -> Any:
    fields = {
        "Name": "bucket", "Prefix": "", "IsTruncated": False, "KeyCount": len(keys),
        "Contents": [a_line(key) for key in keys],
    } | changes  # fmt: skip
    return a_reply(**{name: value for name, value in fields.items() if value is not None})


def checked(page: Any, prefix: str = "", after: str = "") -> answers.Page:
    return answers.checked_page(page, bucket="bucket", prefix=prefix, after=after)


def test_a_whole_page_is_believed():
    page = checked(a_page("a", "b", "é", IsTruncated=True, NextContinuationToken="more"))

    assert [line.key for line in page.lines] == ["a", "b", "é"]
    assert page.lines[0].stored_at == "2026-01-05T03:00:00+00:00"
    assert page.following == "more"
    assert checked(a_page()) == answers.Page([], None, None)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(a_page("a", Name=None), id="no-name"),
        pytest.param(a_page("a", Name="other"), id="another-bucket"),
        pytest.param(a_page("a", Prefix="x/"), id="another-prefix"),
        pytest.param(a_page("a", IsTruncated=None), id="no-is-truncated"),
        pytest.param(a_page("a", IsTruncated="false"), id="is-truncated-no-boolean"),
        pytest.param(a_page("a", IsTruncated=True), id="goes-on-nowhere"),
        pytest.param(a_page("a", KeyCount=2), id="a-line-lost"),
        pytest.param(a_page("a", "a"), id="a-line-twice"),
        pytest.param(a_page("b", "a"), id="out-of-order"),
        pytest.param(a_page(Contents=[a_line("a", Key=None)], KeyCount=1), id="no-key"),
        pytest.param(a_page(Contents=[a_line("a", Size=None)], KeyCount=1), id="no-size"),
        pytest.param(a_page(Contents=[a_line("a", Size=-1)], KeyCount=1), id="negative-size"),
        pytest.param(a_page(Contents=[a_line("a", ETag=None)], KeyCount=1), id="no-tag"),
        pytest.param(a_page(Contents=[a_line("a", ETag='W/"1"')], KeyCount=1), id="weak-tag"),
        pytest.param(a_page(Contents=[a_line("a", LastModified=None)], KeyCount=1), id="no-time"),
        pytest.param({**a_page("a"), **a_reply(206)}, id="another-status"),
        pytest.param(a_reply(), id="nothing"),
    ],
)
def test_a_page_that_lacks_anything_is_no_answer(page):
    with pytest.raises(NoAnswerError):
        checked(page)


def test_a_page_goes_on_where_the_one_before_ended():
    assert checked(a_page("b"), after="a").lines[0].key == "b"
    with pytest.raises(NoAnswerError, match="twice, or out of order"):
        checked(a_page("a"), after="a")


def test_a_line_of_another_prefix_is_no_answer():
    with pytest.raises(NoAnswerError, match="another prefix"):
        checked(a_page("b", Prefix="a/"), prefix="a/")


def an_object(headers: dict[str, str] | None = None, **changes: Any) -> Any:
    fields = {"ContentLength": 1, "ETag": TAG, "LastModified": MOMENT} | changes
    return a_reply(
        headers=headers, **{name: value for name, value in fields.items() if value is not None}
    )


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(an_object(ContentLength=None), id="no-length"),
        pytest.param(an_object(ContentLength=-1), id="negative-length"),
        pytest.param(an_object(ETag=None), id="no-tag"),
        pytest.param(an_object(ETag='"5e8c-1f3a2b"'), id="the-tag-of-a-web-server"),
        pytest.param(an_object(LastModified=None), id="no-time"),
        pytest.param(an_object({"transfer-encoding": "chunked"}), id="two-lengths"),
        pytest.param({**an_object(), **a_reply(206)}, id="a-part"),
    ],
)
def test_an_object_that_lacks_anything_is_no_answer(reply):
    with pytest.raises(NoAnswerError):
        answers.checked_head(reply)


@pytest.mark.parametrize(
    ("headers", "tag", "digest"),
    [
        ({}, TAG, TAG.strip('"')),
        ({"x-amz-server-side-encryption": "AES256"}, TAG.upper(), TAG.strip('"')),
        ({"x-amz-server-side-encryption": "aws:kms"}, TAG, None),
        ({"x-amz-server-side-encryption": "aws:kms:dsse"}, TAG, None),
        ({"x-amz-server-side-encryption-customer-algorithm": "AES256"}, TAG, None),
        ({}, TAG[:-1] + '-3"', None),
    ],
)
def test_a_tag_is_compared_where_it_is_a_digest(headers, tag, digest):
    assert answers.checked_head(an_object(headers, ETag=tag)).md5 == digest


def test_bytes_are_compared_with_length_and_digest():
    head = answers.checked_head(an_object())

    answers.check_bytes(head, 1, answers.digest_of(b"x"))
    with pytest.raises(NoAnswerError, match="MD5"):
        answers.check_bytes(head, 1, answers.digest_of(b"y"))
    with pytest.raises(NoAnswerError, match="2 bytes of an object of 1 bytes"):
        answers.check_bytes(head, 2, answers.digest_of(b"x"))


def test_a_write_has_a_receipt_of_the_same_bytes():
    answers.check_written(a_reply(ETag=TAG), answers.digest_of(b"x"))
    for reply in (a_reply(), a_reply(201, ETag=TAG), a_reply(ETag=TAG.replace("9", "8"))):
        with pytest.raises(NoAnswerError):
            answers.check_written(reply, answers.digest_of(b"x"))


class Pages:
    """A client whose listings are made by a function of the number of the page."""

    def __init__(self, page: Any) -> None:
        self.page, self.asked, self.meta = page, 0, self
        self.endpoint_url = "http://user:secret@store.example:9000"

    def list_objects_v2(self, **_: Any) -> Any:
        self.asked += 1
        return self.page(self.asked)


@pytest.mark.parametrize(
    ("page", "most_asked"),
    [
        (lambda n: a_page(f"{n:08d}", IsTruncated=True, NextContinuationToken=str(n)), 10),
        (lambda n: a_page(IsTruncated=True, NextContinuationToken=str(n)), 102),
        (lambda n: a_page("a", IsTruncated=True, NextContinuationToken="same"), 2),
    ],
    ids=["ever-more-lines", "ever-more-pages", "the-same-page"],
)
def test_a_listing_without_an_end_is_given_up(page, most_asked):
    limits = {"max_listed_objects": 10, "max_attempts": 1}
    client = Pages(page)
    bucket = Bucket("bucket", client, config.load().store.model_copy(update=limits), Keyring())

    with pytest.raises(StoreUnavailableError, match=r"at|from http://store\.example:9000") as told:
        bucket.list("")

    assert client.asked <= most_asked
    assert "secret" not in str(told.value)


def test_a_listing_of_several_pages_is_one_list():
    pages = {1: a_page("a", "b", IsTruncated=True, NextContinuationToken="b"), 2: a_page("c")}
    bucket = Bucket("bucket", Pages(pages.__getitem__), config.load().store, Keyring())

    assert [info.key for info in bucket.list("")] == ["a", "b", "c"]
