"""The bucket of task logs: everything in it expires, so it must hold nothing else."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from pipelines.core.errors import ConfigError, StoreRefusedError
from pipelines.core.store import stores
from pipelines.core.store.bucket import Bucket

OURS = {"ID": "old-task-logs", "Expiration": {"Days": 30}}
FOREIGN = {"ID": "keep-a-year", "Expiration": {"Days": 365}}


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "GetBucketLifecycle")


class Client:
    """A store with one bucket, as far as its rules go."""

    def __init__(self, rules, refuses=None):
        self.rules, self.refuses, self.sent = rules, refuses, []
        self.meta = type("Meta", (), {"endpoint_url": "http://store"})

    def get_bucket_lifecycle_configuration(self, Bucket):  # noqa: N803 - boto3's name
        if self.refuses:
            raise refusal(self.refuses)
        if not self.rules:
            raise refusal("NoSuchLifecycleConfiguration")
        return {"Rules": self.rules}

    def put_bucket_lifecycle_configuration(self, Bucket, LifecycleConfiguration):  # noqa: N803
        if self.refuses:
            raise refusal(self.refuses)
        self.sent = LifecycleConfiguration["Rules"]


@pytest.fixture
def made(monkeypatch):
    """Make the bucket on a store with such rules and objects; returns the client."""

    def make(rules=(), *, is_new=False, objects=(), refuses=None):
        client = Client(list(rules), refuses)
        monkeypatch.setattr(stores, "make_client", lambda *_: client)
        monkeypatch.setattr(Bucket, "create_if_missing", lambda _: is_new)
        monkeypatch.setattr(Bucket, "list", lambda *_: iter(objects))
        try:
            assert stores.make_task_logs_bucket("task-logs") == is_new
        finally:
            make.client = client
        return client

    return make


@pytest.mark.parametrize(
    "there",
    [{"is_new": True}, {"rules": [OURS], "objects": ["a log"]}, {"rules": []}],
    ids=["new", "made by us before", "empty, as a kill leaves it"],
)
def test_everything_in_a_bucket_of_its_own_expires_after_two_weeks(made, there):
    (rule,) = made(**there).sent

    assert (rule["Expiration"], rule["Filter"]) == ({"Days": 14}, {"Prefix": ""})


@pytest.mark.parametrize(
    ("there", "why"),
    [
        ({"objects": ["a report"]}, "is not empty"),
        ({"rules": [FOREIGN]}, "has rules of its own"),
        ({"rules": [OURS, FOREIGN]}, "has rules of its own"),
    ],
)
def test_a_bucket_that_holds_something_else_is_refused_and_left_as_it_is(made, there, why):
    with pytest.raises(ConfigError, match=why):
        made(**there)

    assert made.client.sent == []


@pytest.mark.parametrize("is_new", [True, False])
def test_a_store_without_expiry_is_named_as_one(made, is_new):
    with pytest.raises(StoreRefusedError, match="cannot let objects expire"):
        made(is_new=is_new, refuses="NotImplemented")
