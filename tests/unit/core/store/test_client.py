"""The client reads the lines of a listing itself, to the same result as botocore."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

import botocore.session
import pytest
from botocore.parsers import RestXMLParser
from hypothesis import given
from hypothesis import strategies as st

from pipelines.core.store import answers, client

USED = {"Key", "Size", "ETag", "LastModified"}
MOMENT, TAG = "2026-01-05T02:03:04.567Z", '"0123456789abcdef0123456789abcdef"'
SHAPE = (
    botocore.session.Session()
    .get_service_model("s3")
    .operation_model("ListObjectsV2")
    .output_shape
)  # fmt: skip


def a_line(key: str = "landing/a.csv", moment: str = MOMENT, size: str = "7") -> str:
    return (
        f"<Contents><Key>{escape(key)}</Key><LastModified>{moment}</LastModified>"
        f"<ETag>{TAG}</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm><Size>{size}</Size>"
        "<StorageClass>STANDARD</StorageClass><Owner><ID>1</ID></Owner></Contents>"
    )


def a_listing(*lines: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>reviews</Name>'
        f"<Prefix>landing/</Prefix><KeyCount>{len(lines)}</KeyCount>"
        f"<IsTruncated>false</IsTruncated>{''.join(lines)}</ListBucketResult>"
    ).encode()


def parsed(parser: Any, listing: bytes) -> Any:
    """The reply; of each line only what is used."""
    reply = parser.parse({"status_code": 200, "headers": {}, "body": listing}, SHAPE)
    lines = [{name: line[name] for name in USED & line.keys()} for line in reply["Contents"]]
    return reply | {"Contents": lines}


def ours() -> Any:
    return client._parsers().create_parser("rest-xml")


def test_of_a_line_of_a_listing_all_that_is_used_is_read():
    reply = parsed(ours(), a_listing(a_line()))

    assert reply["Contents"][0].keys() == USED
    (line,) = answers.checked_page(reply, bucket="reviews", prefix="landing/", after="").lines
    assert (line.key, line.size_bytes, line.version_tag, line.stored_at) == (
        "landing/a.csv", 7, TAG.strip('"'), "2026-01-05T02:03:04+00:00",
    )  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(a_line(moment="2026-01-05T02:03:04Z"), id="no-milliseconds"),
        pytest.param(a_line(moment="2026-01-05T02:03:04.567891Z"), id="microseconds"),
        pytest.param(a_line(moment="2026-01-05T02:03:04+02:00"), id="another-zone"),
        pytest.param(a_line(moment="Mon, 05 Jan 2026 02:03:04 GMT"), id="as-in-a-header"),
        pytest.param(a_line(moment="1767578584"), id="seconds"),
        pytest.param(a_line(size=" 7 "), id="spaces"),
        pytest.param(a_line(size="-7"), id="negative"),
        pytest.param(a_line(key=""), id="no-key"),
        pytest.param(a_line(key="é & <b>"), id="escaped"),
        pytest.param("<Contents><Key>landing/a.csv</Key></Contents>", id="key-alone"),
        pytest.param("<Contents/>", id="nothing"),
    ],
)
def test_a_line_in_an_unusual_form_is_read_as_by_botocore(line):
    listing = a_listing(a_line("landing/0.csv"), line)

    assert parsed(ours(), listing) == parsed(RestXMLParser(), listing)


@given(st.datetimes(), st.integers(0), st.from_regex("[a-zé%&+/ .]{1,20}", fullmatch=True))
def test_every_usual_line_is_read_as_by_botocore(moment, size, key):
    written = f"{moment.isoformat(timespec='milliseconds')}Z"
    listing = a_listing(a_line(key, written, str(size)))

    assert parsed(ours(), listing) == parsed(RestXMLParser(), listing)
    assert parsed(ours(), listing)["Contents"][0]["LastModified"].tzinfo is UTC


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(a_line(moment="2026-02-30T02:03:04.000Z"), id="no-such-day"),
        pytest.param(a_line(moment="2026-01-05T25:00:00Z"), id="no-such-hour"),
        pytest.param(a_line(moment="never"), id="no-moment"),
        pytest.param(a_line(size="seven"), id="no-size"),
    ],
)
def test_a_line_that_botocore_refuses_is_refused(line):
    for parser in (ours(), RestXMLParser()):
        with pytest.raises((ValueError, AttributeError, TypeError)):
            parsed(parser, a_listing(line))


@pytest.mark.parametrize("twice", ["Key", "Size", "ETag", "LastModified"])
def test_a_line_that_says_something_twice_is_no_answer(twice):
    line = a_line().replace(f"<{twice}>", f"<{twice}>other</{twice}><{twice}>")

    with pytest.raises((answers.NoAnswerError, ValueError, TypeError, AttributeError)):
        answers.checked_page(
            parsed(ours(), a_listing(line)), bucket="reviews", prefix="landing/", after=""
        )


def test_no_usual_line_is_left_to_the_slow_reader(monkeypatch):
    slow, handle = [], RestXMLParser._handle_structure
    monkeypatch.setattr(
        RestXMLParser,
        "_handle_structure",
        lambda self, shape, node: slow.append(shape.name) or handle(self, shape, node),
    )

    reply = parsed(ours(), a_listing(*(a_line(f"landing/{number}") for number in range(50))))

    assert len(reply["Contents"]) == 50
    assert slow == ["ListObjectsV2Output"]
    assert reply["Contents"][0]["LastModified"] == datetime(2026, 1, 5, 2, 3, 4, 567000, UTC)
