"""Which S3 server the tests use, and what they leave on it: nothing."""

from __future__ import annotations

import os
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

S3_FOLDER = (sys.executable, "-m", "ops.services.s3_folder", "--no-sync", "--until-end-of-input")
GIVEN_SERVER = os.environ.get("LOOP_TEST_S3_ENDPOINT", "")
_NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def _credentials() -> tuple[str, str]:
    """Of the server under test, read before what the caller set is forgotten.

    They are kept under names of our own for xdist's processes, which start after that.
    """
    if not GIVEN_SERVER:
        return "testing", "testing"
    for name in _NAMES:
        os.environ.setdefault(f"LOOP_TEST_{name}", os.environ.get(name, ""))
    key, secret = (os.environ[f"LOOP_TEST_{name}"] for name in _NAMES)
    return key, secret


CREDENTIALS = _credentials()
REQUIRED = frozenset(
    # The server on a folder decides races in one step; tests of races must not be skipped.
    filter(
        None,
        os.environ.get("LOOP_TEST_REQUIRE", "" if GIVEN_SERVER else "atomic_create").split(","),
    )
)
THIS_RUN = uuid.uuid4().hex[:8]


def s3_client(
    endpoint: str,
    *,
    secret: str | None = None,
    keys: tuple[str, str] = CREDENTIALS,
    service: str = "s3",
) -> Any:
    """A client that tries once, with the credentials of the server under test or other ones."""
    import boto3
    from botocore.config import Config

    options = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    key, own_secret = keys
    return boto3.session.Session().client(
        service, endpoint_url=endpoint, region_name="us-east-1", config=options,
        aws_access_key_id=key, aws_secret_access_key=secret or own_secret,
    )  # fmt: skip


def delete_buckets_of_this_run() -> None:
    client = s3_client(GIVEN_SERVER)
    for bucket in client.list_buckets()["Buckets"]:
        if THIS_RUN in bucket["Name"]:
            _delete_bucket(client, bucket["Name"])


def _delete_bucket(client: Any, name: str) -> None:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=name)
    keys = [line["Key"] for page in pages for line in page.get("Contents", ())]
    with ThreadPoolExecutor(8) as deleting:  # one by one: a list of them must be fit for XML
        list(deleting.map(lambda key: client.delete_object(Bucket=name, Key=key), keys))
    client.delete_bucket(Bucket=name)
