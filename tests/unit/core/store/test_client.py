"""The client reads listings quickly, and moments as botocore does."""

from __future__ import annotations

import botocore.session
import pytest
from botocore.utils import parse_timestamp
from hypothesis import given
from hypothesis import strategies as st

from pipelines.core.store import answers, client

LISTING = b"""<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>reviews</Name>
<Prefix>landing/</Prefix><KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>
<Contents><Key>landing/a.csv</Key><LastModified>2026-01-05T02:03:04.567Z</LastModified>
<ETag>"0123456789abcdef0123456789abcdef"</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm>
<Size>7</Size><StorageClass>STANDARD</StorageClass>
<Owner><ID>1</ID><DisplayName>one</DisplayName></Owner></Contents></ListBucketResult>"""


@pytest.mark.parametrize(
    "written",
    [
        "2026-01-05T02:03:04.567Z", "2026-01-05T02:03:04Z", "2026-01-05T02:03:04.567891Z",
        "2026-01-05T02:03:04+02:00", "Mon, 05 Jan 2026 02:03:04 GMT", "20260105T020304Z",
        "1767578584", 1767578584, "2024-02-29T23:59:59.999Z",
    ],
)  # fmt: skip
def test_a_moment_is_read_as_botocore_reads_it(written):
    assert client._moment(written) == parse_timestamp(written)
    assert client._moment(written).tzinfo is not None


@given(st.datetimes())
def test_every_moment_of_a_listing_is_read_as_botocore_reads_it(moment):
    written = f"{moment.isoformat(timespec='milliseconds')}Z"

    assert client._moment(written) == parse_timestamp(written)


@pytest.mark.parametrize(
    "written", ["2026-02-30T02:03:04.000Z", "2026-01-05T25:00:00Z", "never", ""]
)
def test_what_is_no_moment_is_refused_as_by_botocore(written):
    with pytest.raises(ValueError):  # noqa: PT011 - botocore's
        client._moment(written)


def test_of_a_line_of_a_listing_all_that_is_used_is_read():
    core = botocore.session.Session()
    core.register_component("data_loader", client._service_descriptions())
    shape = core.get_service_model("s3").operation_model("ListObjectsV2").output_shape
    parser = core.get_component("response_parser_factory").create_parser("rest-xml")

    reply = parser.parse({"status_code": 200, "headers": {}, "body": LISTING}, shape)

    assert reply["Contents"][0].keys() == client._LISTED_MEMBERS
    (line,) = answers.checked_page(reply, bucket="reviews", prefix="landing/", after="").lines
    assert (line.key, line.size_bytes, line.stored_at) == (
        "landing/a.csv", 7, "2026-01-05T02:03:04+00:00",
    )  # fmt: skip
