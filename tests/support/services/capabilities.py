"""What the S3 server under test can do, found out by trying. Its name is never asked."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError

from tests.support.services import iam
from tests.support.timing import HANG_SECONDS

RACERS, RACES = 8, 25

WHY_SKIPPED = {
    "atomic_create": "this server does not decide races of create-if-absent in one step",
    "checks_credentials": "this server accepts any credentials",
    "enforces_policies": "this server has no users whose policies it enforces",
    "expires_objects": "this server deletes no objects by their age",
}


def probe(client_for: Callable[..., Any], bucket: str) -> frozenset[str]:
    """The capabilities of the server; ``client_for(secret=...)`` gives a client of it."""
    client = client_for()
    client.create_bucket(Bucket=bucket)
    tries = {
        "atomic_create": lambda: _creates_atomically(client, bucket),
        "checks_credentials": lambda: _refuses(client_for(secret="wrong" * 8), bucket),
        "enforces_policies": lambda: _enforces_policies(client_for, bucket),
        "expires_objects": lambda: _knows_expiry(client, bucket),
    }
    return frozenset(name for name, has in tries.items() if has())


def _creates_atomically(client: Any, bucket: str) -> bool:
    with ThreadPoolExecutor(RACERS) as racers:
        return all(_one_winner(client, bucket, racers) for _ in range(RACES))


def _one_winner(client: Any, bucket: str, racers: ThreadPoolExecutor) -> bool:
    """Race to create one key, each racer with other bytes; one must win, and its bytes stay."""
    key, start = f"races/{uuid.uuid4().hex}", threading.Barrier(RACERS)
    bodies = [f"racer {number}".encode() * 50 for number in range(RACERS)]

    def race(body: bytes) -> bytes | None:
        start.wait(timeout=HANG_SECONDS)
        try:
            client.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")
        except ClientError:
            return None
        return body

    winners = [body for body in racers.map(race, bodies) if body is not None]
    return winners == [client.get_object(Bucket=bucket, Key=key)["Body"].read()]


def _enforces_policies(client_for: Callable[..., Any], bucket: str) -> bool:
    """Whether a user may read nothing, then what a policy says and no more, then nothing again."""
    if not iam.USERS:
        return False
    owner, (name, keys) = client_for(), next(iter(iam.USERS.items()))
    for key in ("granted/one", "other/one"):
        owner.put_object(Bucket=bucket, Key=key, Body=b"1")
    resource = [f"arn:aws:s3:::{bucket}/granted/*"]
    allowed = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": resource}

    def readable() -> list[str]:
        user = client_for(keys=keys)
        return [key for key in ("granted/one", "other/one") if _can_read(user, bucket, key)]

    before = readable()
    try:
        policy = {"Version": "2012-10-17", "Statement": [allowed]}
        with iam.given(owner.meta.endpoint_url, {name: policy}):
            during = readable()
    except ClientError:
        return False
    return [before, during, readable()] == [[], ["granted/one"], []]


def _can_read(client: Any, bucket: str, key: str) -> bool:
    try:
        client.get_object(Bucket=bucket, Key=key)
    except ClientError:
        return False
    return True


def _knows_expiry(client: Any, bucket: str) -> bool:
    """Whether it knows rules of expiry: that there are none is an answer of its own."""
    try:
        client.get_bucket_lifecycle_configuration(Bucket=bucket)
    except ClientError as error:
        return error.response["Error"]["Code"] == "NoSuchLifecycleConfiguration"
    return True


def _refuses(client: Any, bucket: str) -> bool:
    try:
        client.list_objects_v2(Bucket=bucket)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    return False
