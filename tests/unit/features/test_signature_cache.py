"""Signatures are kept per pack, and are those of its texts whatever happens to the kept ones."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.core.store.stores import Stores
from pipelines.features import signature_cache
from pipelines.features.fingerprints import fingerprint
from pipelines.features.packs import Pack
from pipelines.features.signature_cache import KIND, VIEW, cache_key, encode, pack_signatures
from pipelines.features.signatures import signatures
from pipelines.intake.partitions import read_partition
from pipelines.records.data import Partition
from tests.support.in_memory import InMemory
from tests.support.made.made_features import a_partition


@pytest.fixture(autouse=True)
def every_text_is_long_enough(monkeypatch):
    monkeypatch.setattr("pipelines.features.signatures.FEWEST_NGRAMS", 5)


@pytest.fixture
def in_memory() -> Stores:
    return Stores(InMemory(), InMemory())


@pytest.fixture
def parts(in_memory) -> tuple[Partition, ...]:
    return tuple(
        a_partition(in_memory, first=6 * day, night=f"2026-01-{day + 1:02d}")[0]
        for day in range(3)
    )  # fmt: skip


def computed(stores, *parts: Partition):
    texts = [t for part in parts for t in read_partition(stores.reviews, part)["text"].to_pylist()]
    return signatures(fingerprint(texts, VIEW))


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """How many texts each computation was given."""
    given: list[int] = []
    plain = signature_cache.fingerprint_parts
    monkeypatch.setattr(
        signature_cache, "fingerprint_parts",
        lambda texts, view: given.append(len(texts)) or plain(texts, view),
    )  # fmt: skip
    return given


def test_a_pack_that_grew_needs_the_texts_of_its_newest_night_alone(in_memory, parts, counted):
    for count in (1, 2, 3, 3):
        found = pack_signatures(in_memory.reviews, Pack(parts[:count]))
        assert found.any(axis=1).all()
        assert np.array_equal(found, computed(in_memory, *parts[:count]))

    assert counted == [6, 6, 6]


@pytest.mark.parametrize(
    "spoiled",
    [b"", b"x" * 384, "sealed for other rows", "of another kind", "made in another way"],
)
def test_signatures_that_are_not_right_are_computed_again(in_memory, parts, spoiled, counted):
    pack, reviews = Pack(parts), in_memory.reviews
    right = pack_signatures(reviews, pack)
    if spoiled == "sealed for other rows":
        reviews.put_cached(cache_key(pack), encode(right[1:]), kind=KIND)
    elif spoiled == "made in another way":
        other = encode(right + 1).replace(b"s1", b"s0", 1)
        reviews.put_cached(cache_key(pack), other, kind=KIND)
    elif spoiled == "of another kind":
        reviews.put_cached(cache_key(pack), encode(right), kind="Pack")
    else:
        reviews.put(cache_key(pack), spoiled)
    counted.clear()

    assert np.array_equal(pack_signatures(reviews, pack), right)
    assert np.array_equal(pack_signatures(reviews, pack), right)
    assert len(counted) == 1
