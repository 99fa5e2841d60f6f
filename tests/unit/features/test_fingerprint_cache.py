import io
import threading

import numpy as np
import pytest

from pipelines.core.errors import DigestMismatchError, ObjectMissingError
from pipelines.features import fingerprint_cache, packs
from pipelines.features.fingerprint_cache import (
    CacheUse,
    cache_key,
    decode,
    encode,
    fill_cache,
    pack_fingerprints,
)
from pipelines.features.fingerprints import fingerprint
from pipelines.features.packs import Pack
from pipelines.features.views import View
from pipelines.records.data import Partition
from tests.support import sealing
from tests.support.made.made_features import a_partition, a_snapshot, plain

VIEW = View(ngram_max=2)


def signed(payload: bytes, partition: Partition) -> bytes:
    """An entry whose seal is right, whatever is in it."""
    place = f"reviews/{cache_key(partition, VIEW)}"
    return sealing.seal(payload, kind="Features", place=place)


def pickled() -> bytes:
    file = io.BytesIO()
    np.savez(file, made_of=np.array([{"a": 1}], dtype=object))
    return file.getvalue()


def lone_array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(3))
    return file.getvalue()


def of_three_nights(stores) -> list[Partition]:
    return [a_partition(stores, first=6 * day, night=f"2026-01-0{day + 1}")[0] for day in range(3)]


def test_an_entry_whose_ids_do_not_fit_its_lengths_is_not_taken(stores):
    partition, texts = a_partition(stores, first=0)
    file = io.BytesIO()
    with np.load(io.BytesIO(encode(fingerprint(texts, VIEW), partition))) as arrays:
        np.savez(file, **{**arrays, "low": arrays["low"][1:], "high": arrays["high"][1:]})

    stores.reviews.put(cache_key(partition, VIEW), signed(file.getvalue(), partition))

    fingerprints = pack_fingerprints(stores.reviews, Pack((partition,)), VIEW)
    assert plain(fingerprints) == plain(fingerprint(texts, VIEW))


def test_fingerprints_are_computed_once_per_partition(stores):
    first, second, third = of_three_nights(stores)

    uses = [
        fill_cache(stores.reviews, a_snapshot(first), VIEW),
        fill_cache(stores.reviews, a_snapshot(first, second), VIEW),
        fill_cache(stores.reviews, a_snapshot(first, second, third), VIEW),
        fill_cache(stores.reviews, a_snapshot(first, second, third), VIEW),
    ]

    assert uses == [
        CacheUse(cached=0, computed=1),
        CacheUse(cached=1, computed=1),
        CacheUse(cached=2, computed=1),
        CacheUse(cached=3, computed=0),
    ]


@pytest.mark.parametrize("bits", [32, 40, 44])
def test_the_cached_fingerprints_are_the_computed_ones(stores, bits):
    partition, texts = a_partition(stores, first=0)

    view = View(ngram_max=2, bits=bits)

    computed = pack_fingerprints(stores.reviews, Pack((partition,)), view)
    cached = pack_fingerprints(stores.reviews, Pack((partition,)), view)

    assert plain(computed) == plain(cached) == plain(fingerprint(texts, view))


def test_progress_is_told_per_partition(stores):
    (first, _), (second, _) = a_partition(stores, first=0), a_partition(stores, first=6)
    seen: list[Partition] = []

    fill_cache(stores.reviews, a_snapshot(first, second), VIEW, on_partition=seen.append)

    assert seen == [first, second]


def test_partitions_are_worked_on_at_once_and_counted_each(stores, monkeypatch):
    parts = [a_partition(stores, first=6 * number)[0] for number in range(4)]
    monkeypatch.setattr(packs, "LARGEST_BYTES", 0)  # each is a pack of its own
    fill_cache(stores.reviews, a_snapshot(*parts[:2]), VIEW)
    both_here = threading.Barrier(2, timeout=120)
    compute = fingerprint_cache.fingerprint

    def meet(*arguments, **options):
        both_here.wait()  # breaks, and fails the test, if one is computed after the other
        return compute(*arguments, **options)

    monkeypatch.setattr(fingerprint_cache, "fingerprint", meet)
    monkeypatch.setattr(fingerprint_cache.os, "sched_getaffinity", lambda _pid: {0, 1})
    use = fill_cache(stores.reviews, a_snapshot(*parts), VIEW)

    assert use == CacheUse(cached=2, computed=2)


def test_an_error_in_one_partition_is_not_lost_among_the_others(stores):
    parts = [a_partition(stores, first=6 * number)[0] for number in range(3)]
    stores.reviews.delete(parts[1].key)

    with pytest.raises(ObjectMissingError, match=parts[1].sha256[:12]):
        fill_cache(stores.reviews, a_snapshot(*parts), VIEW)


def test_a_cached_entry_may_be_deleted_at_any_time(stores):
    partition, texts = a_partition(stores, first=0)
    fill_cache(stores.reviews, a_snapshot(partition), VIEW)

    stores.reviews.delete(cache_key(partition, VIEW))

    fingerprints = pack_fingerprints(stores.reviews, Pack((partition,)), VIEW)
    assert plain(fingerprints) == plain(fingerprint(texts, VIEW))


def changed_at(share: float):
    def change(entry: bytes, *_: bytes) -> bytes:
        place = int(share * (len(entry) - 1))
        return entry[:place] + bytes([entry[place] ^ 1]) + entry[place + 1 :]

    return change


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(changed_at(0.0), id="first-byte-changed"),
        pytest.param(changed_at(0.5), id="middle-byte-changed"),
        pytest.param(changed_at(1.0), id="last-byte-changed"),
        pytest.param(lambda entry, *_: entry[:-1], id="cut-by-one-byte"),
        pytest.param(lambda entry, *_: entry[:64], id="cut-to-the-digest"),
        pytest.param(lambda entry, *_: entry[:10], id="cut-in-the-digest"),
        pytest.param(lambda *_: b"", id="emptied"),
        pytest.param(lambda entry, *_: entry + b"x", id="longer-by-one-byte"),
        pytest.param(lambda _entry, foreign, _other: foreign, id="of-another-partition"),
        pytest.param(lambda _entry, _foreign, other: other, id="of-another-featurizer"),
    ],
)
def test_an_entry_that_is_not_right_is_computed_again(stores, spoil):
    partition, texts = a_partition(stores, first=0)
    foreign, _ = a_partition(stores, first=6, night="2026-04-01")  # in another pack
    fill_cache(stores.reviews, a_snapshot(partition, foreign), VIEW)
    fill_cache(stores.reviews, a_snapshot(partition), View(ngram_max=1))
    entries = [
        stores.reviews.get(cache_key(partition, VIEW)),
        stores.reviews.get(cache_key(foreign, VIEW)),
        stores.reviews.get(cache_key(partition, View(ngram_max=1))),
    ]
    stores.reviews.put(cache_key(partition, VIEW), spoil(*entries))

    fingerprints = pack_fingerprints(stores.reviews, Pack((partition,)), VIEW)

    assert plain(fingerprints) == plain(fingerprint(texts, VIEW))
    assert stores.reviews.get(cache_key(partition, VIEW)) == entries[0]


@pytest.mark.parametrize("payload", [b"", b"PK\3\4 no zip file", pickled(), lone_array()])
def test_a_signed_entry_that_holds_no_fingerprints_is_computed_again(stores, payload):
    partition, texts = a_partition(stores, first=0)
    stores.reviews.put(cache_key(partition, VIEW), signed(payload, partition))

    fingerprints = pack_fingerprints(stores.reviews, Pack((partition,)), VIEW)

    assert plain(fingerprints) == plain(fingerprint(texts, VIEW))


@pytest.mark.attack
def test_fingerprints_that_somebody_without_the_key_put_there_are_not_learned(stores):
    (partition, texts), (_, others) = a_partition(stores, first=0), a_partition(stores, first=6)
    forged = encode(fingerprint(others, VIEW), partition)
    line = b'{"key_id":"","kind":"Features","place":"","signature":""}\n'
    stores.reviews.put(cache_key(partition, VIEW), line + forged)

    fingerprints = pack_fingerprints(stores.reviews, Pack((partition,)), VIEW)

    assert plain(fingerprints) == plain(fingerprint(texts, VIEW))


def test_an_entry_with_another_number_of_rows_is_not_taken(stores):
    partition, texts = a_partition(stores, first=0)
    short = encode(fingerprint(texts[:-1], VIEW), partition)

    assert decode(short, partition, VIEW) is None


def test_fingerprints_of_a_partition_that_was_changed_are_refused(stores):
    (partition, _), (other, _) = a_partition(stores, first=0), a_partition(stores, first=6)
    stores.reviews.put(partition.key, stores.reviews.get(other.key)[: partition.size_bytes])

    with pytest.raises(DigestMismatchError, match="was changed after it was recorded"):
        pack_fingerprints(stores.reviews, Pack((partition,)), VIEW)
