"""Policies in tests: a small judge of them, and users of the server under test who get them.

``LOOP_TEST_S3_USERS`` holds the users: ``{"ingest": ["ACCESS KEY", "SECRET KEY"], ...}``, one for
each role, who may do nothing by themselves. Their policies are set through IAM's interface.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.services.s3_under_test import s3_client

USERS: dict[str, tuple[str, str]] = {
    role: tuple(keys)
    for role, keys in json.loads(os.environ.get("LOOP_TEST_S3_USERS", "{}")).items()
}

# What S3 asks for before it does what boto3 calls so.
ACTIONS = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CompleteMultipartUpload": "s3:PutObject",
    "CreateBucket": "s3:CreateBucket",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "GetObject": "s3:GetObject",
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "PutObject": "s3:PutObject",
    "UploadPart": "s3:PutObject",
}


def allows(policy: Mapping[str, Any], action: str, bucket: str, key: str = "") -> bool:
    """Whether a policy allows an action on a bucket, or on an object of it."""
    resource = f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"
    fitting = [
        statement["Effect"]
        for statement in policy["Statement"]
        if action in statement["Action"]
        and any(matches(pattern, resource) for pattern in statement["Resource"])
    ]
    return "Allow" in fitting and "Deny" not in fitting


def matches(pattern: str, resource: str) -> bool:
    """IAM's wildcard: ``*`` is any text, also with slashes."""
    parts = (re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(".*".join(parts), resource, re.DOTALL) is not None


@contextlib.contextmanager
def given(endpoint: str, policies: Mapping[str, Mapping[str, Any]]) -> Iterator[None]:
    """Give the users policies, beside those they have, for as long as the context lasts."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    iam = s3_client(endpoint, service="iam")
    try:
        for user, policy in policies.items():
            with _alone():
                iam.put_user_policy(
                    UserName=user, PolicyName=name, PolicyDocument=json.dumps(policy)
                )
        yield
    finally:
        for user in policies:
            with _alone(), contextlib.suppress(iam.exceptions.NoSuchEntityException):
                iam.delete_user_policy(UserName=user, PolicyName=name)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """A server may lose one of two policies that are set for one user at once."""
    path = Path(tempfile.gettempdir()) / f"loop-test-users-{os.getuid()}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
