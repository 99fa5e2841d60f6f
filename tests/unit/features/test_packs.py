"""Packs hold the rows of small partitions in fewer objects, and change nothing of what is read."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipelines.core.errors import DigestMismatchError, TrustError
from pipelines.core.store.stores import Stores
from pipelines.features import packs
from pipelines.features.fingerprint_cache import fill_cache, pack_fingerprints
from pipelines.features.fingerprints import fingerprint
from pipelines.features.packs import Pack, packed, read_pack
from pipelines.features.views import View
from pipelines.intake.partitions import read_partition, write_partition
from pipelines.records.data import Partition
from pipelines.training.dataset import Loader
from tests.support import sealing
from tests.support.in_memory import InMemory
from tests.support.made.made_features import a_partition, a_snapshot, plain

VIEW = View(ngram_max=2)
NIGHTS = ("2026-01-05", "2026-01-06", "2026-01-06", "2026-03-31", "2026-04-01", "2027-01-01")


@pytest.fixture
def parts(stores) -> list[Partition]:
    return [
        a_partition(stores, first=6 * place, night=night)[0] for place, night in enumerate(NIGHTS)
    ]


class Counting(InMemory):
    """A bucket that notes which objects were read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def get(self, key, **more):
        self.read.append(key)
        return super().get(key, **more)


@pytest.fixture
def in_memory() -> Stores:
    return Stores(Counting(), Counting())


def a_small_partition(night: str, size_bytes: int, name: str) -> Partition:
    key = f"accepted/date={night}/{name * 64}.parquet"
    return Partition(key=key, sha256=name * 64, rows=1, size_bytes=size_bytes)


def test_the_small_partitions_of_a_quarter_are_one_pack(parts):
    assert [pack.partitions for pack in packed(parts)] == [
        tuple(parts[:4]), (parts[4],), (parts[5],),
    ]  # fmt: skip


def test_a_large_partition_is_a_pack_of_its_own_and_keeps_its_name(monkeypatch):
    monkeypatch.setattr(packs, "LARGEST_BYTES", 10)
    monkeypatch.setattr(packs, "MOST_BYTES", 25)
    sizes = [10, 10, 10, 11, 5, 5]
    parts = [
        a_small_partition("2026-01-05", size, "abcdef"[place]) for place, size in enumerate(sizes)
    ]

    found = list(packed(parts))

    assert [len(pack.partitions) for pack in found] == [2, 1, 1, 2]
    assert found[2].sha256 == parts[3].sha256
    assert found[2].key == parts[3].key


def test_packing_looks_a_few_times_at_each_partition_however_many_there_are():
    class Looked:
        night, looks = "2026-01-05", 0

        @property
        def size_bytes(self):
            Looked.looks += 1
            return 1

    (pack,) = packed([Looked() for _ in range(300)])

    assert len(pack.partitions) == 300
    assert Looked.looks <= 300 * 4


def test_a_pack_has_the_rows_of_its_partitions_in_their_order(stores, parts):
    (pack, *_) = packed(parts)
    expected = pa.concat_tables([read_partition(stores.reviews, part) for part in parts[:4]])

    made, stored = read_pack(stores.reviews, pack), read_pack(stores.reviews, pack)

    assert made.equals(expected)
    assert stored.equals(expected)
    assert read_pack(stores.reviews, pack, ["text"]).equals(expected.select(["text"]))


def test_a_night_reads_the_pack_of_the_night_before_and_what_it_brought(in_memory):
    reviews = in_memory.reviews
    parts = [
        a_partition(in_memory, first=6 * day, night=f"2026-01-{day + 1:02d}")[0]
        for day in range(9)
    ]  # fmt: skip
    fill_cache(reviews, a_snapshot(*parts[:8]), VIEW)
    reviews.read.clear()

    use = fill_cache(reviews, a_snapshot(*parts), VIEW)

    read = [key for key in reviews.read if key.startswith("accepted/")]
    assert read == [parts[8].key]
    assert (use.cached, use.computed) == (8, 1)


def test_the_fingerprints_of_a_pack_that_grew_are_those_of_its_texts(stores, parts):
    texts = [
        text
        for part in parts[:4]
        for text in read_partition(stores.reviews, part)["text"].to_pylist()
    ]

    for count in (1, 3, 4):
        pack = Pack(tuple(parts[:count]))
        found = pack_fingerprints(stores.reviews, pack, VIEW)
        assert plain(found) == plain(fingerprint(texts[: 6 * count], VIEW))


def forged(pack: Pack, other: bytes) -> bytes:
    return b'{"key_id":"","kind":"Pack","place":"","signature":""}\n' + other


def sealed_rows_of_another(pack: Pack, _other: bytes) -> bytes:
    return sealing.seal(b"PAR1 and nothing more", kind="Pack", place=f"reviews/{pack.key}")


@pytest.mark.attack
@pytest.mark.parametrize(
    "spoil",
    [
        forged, sealed_rows_of_another, lambda _pack, other: other,
        lambda _pack, other: other[:-9], lambda _pack, _other: b"",
    ],
)  # fmt: skip
def test_a_spoiled_or_deleted_pack_changes_nothing_that_is_read(stores, parts, spoil):
    reviews, (pack, *_) = stores.reviews, packed(parts)
    expected, other = read_pack(reviews, pack), Pack(tuple(parts[4:]))
    read_pack(reviews, other)
    reviews.put(pack.key, spoil(pack, reviews.get(other.key)))

    found = read_pack(reviews, pack)
    reviews.delete(pack.key)

    assert found.equals(expected)
    assert read_pack(reviews, pack).equals(expected)


def test_a_partition_that_was_changed_does_not_get_into_a_pack(stores, parts):
    stores.reviews.put(parts[2].key, stores.reviews.get(parts[1].key)[: parts[2].size_bytes])

    with pytest.raises(DigestMismatchError, match=parts[2].sha256):
        read_pack(stores.reviews, next(packed(parts)))


def test_a_partition_of_another_form_is_named_though_it_is_one_of_many(stores, parts):
    table = read_partition(stores.reviews, parts[0])
    strange = table.set_column(0, "text_id", pa.array(["no digest"] * table.num_rows))
    fields = [*table.schema][1:]
    schema = pa.schema([pa.field("text_id", pa.string(), nullable=False), *fields])
    part = write_partition(stores.reviews, "accepted/date=2026-02-01", strange.cast(schema))

    with pytest.raises(TrustError, match=rf"{part.sha256}.*not a sha256"):
        Loader(stores.reviews).load(a_snapshot(*parts[:3], part))


def test_a_snapshot_that_lacks_the_newest_night_reads_nothing_again(in_memory):
    parts = [
        a_partition(in_memory, first=6 * day, night=f"2026-01-{day + 1:02d}")[0]
        for day in range(3)
    ]  # fmt: skip
    loader = Loader(in_memory.reviews)
    loader.load(a_snapshot(*parts))
    in_memory.reviews.read.clear()

    earlier = loader.load(a_snapshot(*parts[:2]))

    assert len(earlier.text_id) == 12
    assert in_memory.reviews.read == []
