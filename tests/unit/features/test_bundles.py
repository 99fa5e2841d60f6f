"""Bundles carry bytes in fewer requests, and change nothing of what is read."""

from __future__ import annotations

import pytest

from pipelines.core.errors import ObjectMissingError, StoreRefusedError, StoreUnavailableError
from pipelines.core.store import rollups
from pipelines.features import bundles
from pipelines.features.bundles import Bundles
from tests.support.in_memory import InMemory


class Counting(InMemory):
    """A bucket that notes which objects were read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def get(self, key, **more):
        self.read.append(key)
        return super().get(key, **more)

    def keys(self, prefix: str) -> list[str]:
        return [info.key for info in self.list(prefix)]


@pytest.fixture(autouse=True)
def keeps_every_entry(monkeypatch):
    monkeypatch.setattr(rollups, "FEWEST_NEW", 1)


@pytest.fixture
def bucket(monkeypatch) -> Counting:
    monkeypatch.setattr(bundles, "FULL_BYTES", 1000)
    return Counting()


def put(bucket: Counting, *numbers: int) -> dict[str, bytes]:
    """Objects of 100 bytes each."""
    objects = {f"accepted/{number}": b"%099d\n" % number for number in numbers}
    bucket.objects |= objects
    return objects


def add(bucket: Counting, objects: dict[str, bytes]) -> None:
    Bundles(bucket).add({key: (lambda _data: True) for key in objects})


def read(bucket: Counting, objects: dict[str, bytes]) -> dict[str, bytes]:
    bucket.read.clear()
    bundled = Bundles(bucket).bucket
    return {key: bundled.get(key) for key in objects}


def test_many_objects_take_one_request(bucket):
    objects = put(bucket, *range(10))
    add(bucket, objects)

    assert read(bucket, objects) == objects
    assert [key for key in bucket.read if key.startswith("accepted/")] == []
    assert len(bucket.keys("features/bundles/")) == 1


def test_objects_added_one_by_one_end_in_few_bundles(bucket):
    objects: dict[str, bytes] = {}
    for number in range(35):
        objects |= put(bucket, number)
        add(bucket, objects)

    assert read(bucket, objects) == objects
    assert len(bucket.keys("features/bundles/")) == 4
    assert len(bucket.read) <= 6  # the bundles, and two objects that say what is where


def test_a_full_bundle_is_not_written_again(bucket):
    objects = put(bucket, *range(10))
    add(bucket, objects)
    (full,) = bucket.keys("features/bundles/")
    objects |= put(bucket, 10)
    add(bucket, objects)

    assert full in bucket.keys("features/bundles/")


def test_what_is_in_no_bundle_is_read_by_itself(bucket):
    objects = put(bucket, 1)
    add(bucket, objects)
    objects |= put(bucket, 2)

    assert read(bucket, objects) == objects
    with pytest.raises(ObjectMissingError):
        Bundles(bucket).bucket.get("accepted/3")


def test_what_is_wrong_missing_or_large_is_not_bundled(bucket, monkeypatch):
    monkeypatch.setattr(bundles, "LARGEST_BYTES", 150)
    objects = put(bucket, 1, 2) | {"accepted/large": b"x" * 200}
    bucket.objects["accepted/large"] = objects["accepted/large"]
    whole = dict.fromkeys([*objects, "accepted/missing"], lambda data: b"2" not in data)
    Bundles(bucket).add(whole)

    assert read(bucket, objects) == objects
    assert "accepted/1" not in bucket.read
    assert {"accepted/2", "accepted/large"} <= set(bucket.read)


@pytest.mark.attack
@pytest.mark.parametrize("prefix", ["features/bundles/", "rollups/", ""])
@pytest.mark.parametrize("spoil", [lambda _: b"", lambda data: data[:-1], lambda data: data + b"x"])
def test_a_spoiled_or_deleted_bundle_changes_nothing_that_is_read(bucket, prefix, spoil):
    objects = put(bucket, *range(15))
    add(bucket, objects)
    for key in bucket.keys(prefix):
        if not key.startswith("accepted/"):
            bucket.objects[key] = spoil(bucket.objects[key])

    assert read(bucket, objects) == objects
    add(bucket, objects)
    assert read(bucket, objects) == objects


def test_a_bundle_that_was_deleted_is_made_again(bucket):
    objects = put(bucket, *range(15))
    add(bucket, objects)
    for key in bucket.keys("features/bundles/"):
        bucket.delete(key)
    add(bucket, objects)

    assert read(bucket, objects) == objects
    assert [key for key in bucket.read if key.startswith("accepted/")] == []


@pytest.mark.attack
def test_a_bundle_in_the_place_of_another_is_not_used(bucket):
    objects = put(bucket, *range(20))
    add(bucket, objects)
    one, other = bucket.keys("features/bundles/")
    bucket.objects[one], bucket.objects[other] = bucket.objects[other], bucket.objects[one]

    assert read(bucket, objects) == objects


@pytest.mark.parametrize("error", [StoreRefusedError("no"), StoreUnavailableError("not now")])
def test_a_store_that_refuses_bundles_stops_nobody(bucket, monkeypatch, error):
    def refuse(*_arguments, **_more):
        raise error

    monkeypatch.setattr(bucket, "put", refuse)
    objects = put(bucket, 1)
    add(bucket, objects)

    assert read(bucket, objects) == objects


def test_two_writers_at_once_lose_nothing(bucket):
    objects = put(bucket, *range(4))
    add(bucket, objects)
    one, other = Bundles(bucket), Bundles(bucket)
    mine, theirs = put(bucket, 4), put(bucket, 5)
    one.add({key: (lambda _data: True) for key in mine})
    other.add({key: (lambda _data: True) for key in theirs})

    assert read(bucket, objects | mine | theirs) == objects | mine | theirs


def test_a_limit_of_bytes_holds_for_bundled_objects_too(bucket):
    objects = put(bucket, 1)
    add(bucket, objects)

    with pytest.raises(Exception, match="accepted/1"):
        Bundles(bucket).bucket.get("accepted/1", max_bytes=10)
