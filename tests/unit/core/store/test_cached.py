"""Entries of a cache: nobody without the key chooses one, or how much memory reading one takes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipelines.core.errors import AlreadyExistsError, TrustError
from pipelines.core.store import sealed
from tests.support import sealing
from tests.support.in_memory import InMemory

KEY, KIND, USUAL = "features/packs/one.pack", "Pack", 4096
CHUNK = 1000


class Watched(InMemory):
    """A bucket that notes how many bytes were held at once, and how many were read in pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[int] = []
        self.passed = 0

    def get(self, key, *, max_bytes=None):
        data = super().get(key, max_bytes=max_bytes)
        self.held.append(len(data))
        return data

    def stream(self, key) -> tuple[str, Iterator[bytes]]:
        return "tag", self._pieces(self.objects[key])

    def _pieces(self, data):
        for start in range(0, len(data), CHUNK):
            self.passed += len(data[start : start + CHUNK])
            yield data[start : start + CHUNK]


def found(bucket: Watched) -> bytes | None:
    entry = bucket.find_cached(KEY, kind=KIND, usual_bytes=USUAL)
    return None if entry is None else bytes(entry)


@pytest.fixture
def bucket() -> Watched:
    return Watched()


@pytest.mark.parametrize("size", [0, 10, USUAL - 500, USUAL, 10 * USUAL])
def test_an_entry_is_read_whatever_its_size(bucket, size):
    bucket.put_cached(KEY, b"x" * size, kind=KIND)

    assert found(bucket) == b"x" * size


def honest() -> bytes:
    return sealing.seal(b"x" * 10 * USUAL, kind=KIND, place=f"reviews/{KEY}")


@pytest.mark.attack
@pytest.mark.parametrize(
    ("data", "most_passed"),
    [
        pytest.param(b"\0" * 100 * USUAL, CHUNK, id="foreign"),
        pytest.param(honest() + b"x", 11 * USUAL, id="one byte more"),
        pytest.param(honest()[:-1] + b"y", 11 * USUAL, id="another byte"),
        pytest.param(
            sealing.seal(b"x" * 10 * USUAL, kind=KIND, place="reviews/elsewhere"), CHUNK,
            id="of another place",
        ),
        pytest.param(
            sealing.seal(b"x" * 10 * USUAL, kind="Features", place=f"reviews/{KEY}"), CHUNK,
            id="of another kind",
        ),
    ],
)  # fmt: skip
def test_a_large_entry_is_proven_piece_by_piece_before_it_is_held(bucket, data, most_passed):
    bucket.objects[KEY] = data

    assert found(bucket) is None
    assert bucket.held == []
    assert 0 < bucket.passed <= most_passed


@pytest.mark.attack
def test_an_entry_that_grows_after_it_was_proven_is_not_held(bucket, monkeypatch):
    bucket.objects[KEY] = honest()
    stream = bucket.stream

    def then_replaced(key):
        tag, chunks = stream(key)
        chunks = iter(list(chunks))
        bucket.objects[key] = b"\0" * 100 * USUAL
        return tag, chunks

    monkeypatch.setattr(bucket, "stream", then_replaced)

    assert found(bucket) is None
    assert bucket.held == []


@pytest.mark.attack
def test_a_record_as_it_is_stored_is_bounded_too(bucket, monkeypatch):
    monkeypatch.setattr(sealed, "MAX_RECORD_BYTES", USUAL)
    bucket.objects[KEY] = b"\0" * 100 * USUAL

    with pytest.raises(TrustError):
        bucket.stored(KEY)
    assert bucket.held == []


@pytest.mark.attack
def test_what_lies_in_the_place_of_a_new_object_is_not_held_if_it_is_larger(stores, monkeypatch):
    reviews, limits = stores.reviews, []
    read = reviews._read
    monkeypatch.setattr(reviews, "_read", lambda key, most: limits.append(most) or read(key, most))
    reviews.put(KEY, b"\0" * 100)

    for size in (99, 101):
        with pytest.raises(AlreadyExistsError):
            reviews.put_once(KEY, b"\0" * size)
    assert reviews.put_once(KEY, b"\0" * 100) == "identical"
    assert limits == [99, 101, 100]
