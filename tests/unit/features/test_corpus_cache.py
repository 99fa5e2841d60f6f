"""A kept corpus saves work and never changes an answer."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from pipelines.core.errors import ObjectMissingError, StoreRefusedError, StoreUnavailableError
from pipelines.features import corpus_cache
from pipelines.features.corpus import Corpus
from pipelines.features.corpus_cache import decode, encode, grown
from pipelines.features.fingerprint_cache import cache_folder, partition_fingerprints
from pipelines.features.occurrences import Rare
from tests.support.made.made_corpora import plain
from tests.support.made.made_features import a_partition

SIZE = {"ngram_max": 2, "bits": 40}
COUNTED = {"min_df": 2, **SIZE}
FOLDER = f"{cache_folder(**SIZE)}/corpora-{corpus_cache.CORPUS_VERSION}-df2/"


@pytest.fixture
def nights(stores):
    """Five partitions of six reviews; of each all rows but the first are selected."""
    parts = [a_partition(stores, first=6 * number)[0] for number in range(5)]
    return [(partition, np.arange(1, 6)) for partition in parts]


def rebuilt(stores, parts) -> Corpus:
    """What is made without any cache of corpora."""
    fingerprints = [
        partition_fingerprints(stores.reviews, partition, **SIZE).take(rows)
        for partition, rows in parts
    ]
    return Corpus.empty(**COUNTED).extended(fingerprints)


def kept(stores) -> list[str]:
    return [info.key for info in stores.reviews.list(FOLDER)]


@pytest.fixture
def looked_at(monkeypatch) -> list[str]:
    """The partitions whose fingerprints were read."""
    seen: list[str] = []
    read = corpus_cache.partition_fingerprints

    def note(reviews, partition, **size):
        seen.append(partition.sha256)
        return read(reviews, partition, **size)

    monkeypatch.setattr(corpus_cache, "partition_fingerprints", note)
    return seen


def test_only_the_new_night_is_looked_at(stores, nights, looked_at):
    grown(stores.reviews, nights[:4], **COUNTED)
    looked_at.clear()

    corpus = grown(stores.reviews, nights, **COUNTED)

    assert looked_at == [nights[4][0].sha256]
    assert plain(corpus) == plain(rebuilt(stores, nights))


def test_the_longest_kept_corpus_is_extended(stores, nights, looked_at):
    grown(stores.reviews, nights[:2], **COUNTED)
    grown(stores.reviews, nights[:3], **COUNTED)
    looked_at.clear()

    grown(stores.reviews, nights, **COUNTED)

    assert looked_at == [partition.sha256 for partition, _ in nights[3:]]


def test_a_late_delivery_in_the_middle_is_no_reason_to_trust_what_came_after(
    stores, nights, looked_at
):
    in_time = [*nights[:2], *nights[3:]]
    grown(stores.reviews, nights[:2], **COUNTED)
    grown(stores.reviews, in_time, **COUNTED)
    looked_at.clear()

    corpus = grown(stores.reviews, nights, **COUNTED)

    assert looked_at == [partition.sha256 for partition, _ in nights[2:]]
    assert plain(corpus) == plain(rebuilt(stores, nights))


def test_other_rows_of_the_same_partitions_are_another_corpus(stores, nights):
    grown(stores.reviews, nights, **COUNTED)
    others = [(partition, np.arange(5)) for partition, _ in nights]

    assert plain(grown(stores.reviews, others, **COUNTED)) == plain(rebuilt(stores, others))


def test_a_corpus_that_hardly_grew_is_not_written_again(stores, nights):
    all_but_one_row = [*nights[:4], (nights[4][0], np.arange(1, 5))]
    grown(stores.reviews, nights[:4], **COUNTED)
    first = kept(stores)
    grown(stores.reviews, [*nights[:4], (nights[4][0], np.array([1]))], **COUNTED)
    assert kept(stores) == first  # 21 rows after 20

    grown(stores.reviews, all_but_one_row, **COUNTED)
    assert len(kept(stores)) == 2  # 24 rows: more than an eighth


def test_only_the_newest_and_the_one_it_began_with_are_kept(stores, nights):
    for count in range(1, 6):
        grown(stores.reviews, nights[:count], **COUNTED)

    assert len(kept(stores)) == 2


@pytest.mark.parametrize("refused", ["put", "delete"])
@pytest.mark.parametrize("error", [StoreRefusedError, StoreUnavailableError])
def test_a_store_that_keeps_or_deletes_no_corpus_costs_no_night(
    stores, nights, monkeypatch, caplog, refused, error
):
    for count in (1, 2):
        grown(stores.reviews, nights[:count], **COUNTED)

    does = getattr(stores.reviews, refused)

    def refuse(key, *data):
        if key.startswith(FOLDER):
            raise error(f"{key}: not yours")
        return does(key, *data)

    monkeypatch.setattr(stores.reviews, refused, refuse)

    corpus = grown(stores.reviews, nights, **COUNTED)

    assert plain(corpus) == plain(rebuilt(stores, nights))
    assert "not yours" in caplog.text


def test_kept_corpora_may_be_deleted_at_any_time(stores, nights, monkeypatch):
    grown(stores.reviews, nights[:4], **COUNTED)
    get = stores.reviews.get

    def gone(key, **options):
        if key.startswith(FOLDER):
            raise ObjectMissingError(key)
        return get(key, **options)

    monkeypatch.setattr(stores.reviews, "get", gone)

    assert plain(grown(stores.reviews, nights, **COUNTED)) == plain(rebuilt(stores, nights))


def with_first_count(count: bytes):
    return lambda payload: re.sub(rb'"counts": \[\d+', b'"counts": [' + count, payload)


@pytest.mark.attack
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda data: data[:-1], id="cut"),
        pytest.param(lambda data: b"", id="emptied"),
        pytest.param(lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:], id="changed"),
        pytest.param(lambda data: data.partition(b"\n")[2], id="unsigned"),
        pytest.param(lambda data: data[-1:] + data[1:], id="another-seal"),
    ],
)
def test_a_kept_corpus_that_nobody_vouches_for_is_made_again(stores, nights, spoil, caplog):
    grown(stores.reviews, nights[:4], **COUNTED)
    (key,) = kept(stores)
    stores.reviews.put(key, spoil(stores.reviews.get(key)))

    corpus = grown(stores.reviews, nights, **COUNTED)

    assert plain(corpus) == plain(rebuilt(stores, nights))
    assert "is not used" in caplog.text


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda _: b"no json\n", id="no-json"),
        pytest.param(lambda _: b"[]\n", id="a-list"),
        pytest.param(lambda _: b"{}\n", id="nothing-named"),
        pytest.param(lambda _: b"[" * 60_000 + b"\n", id="deep"),
        pytest.param(with_first_count(b"-1"), id="less-than-nothing"),
        pytest.param(with_first_count(b"9" * 30), id="more-than-fits"),
        pytest.param(lambda _: b"no line at all", id="one-line"),
        pytest.param(lambda payload: payload[:-64], id="too-short"),
        pytest.param(lambda payload: payload.replace(b'"min_df": 2', b'"min_df": 3'),
                     id="of-another-count"),
        pytest.param(lambda payload: payload.replace(b'"made_of": "', b'"made_of": "0'),
                     id="of-other-rows"),
    ],
)  # fmt: skip
def test_a_signed_corpus_that_is_not_right_is_made_again(stores, nights, spoil, caplog):
    grown(stores.reviews, nights[:4], **COUNTED)
    (key,) = kept(stores)
    payload = bytes(stores.reviews.find_cached(key, kind="Corpus"))
    stores.reviews.put_cached(key, spoil(payload), kind="Corpus")

    corpus = grown(stores.reviews, nights, **COUNTED)

    assert plain(corpus) == plain(rebuilt(stores, nights))
    assert "corrupt or foreign" in caplog.text


@pytest.mark.parametrize(
    ("array", "change"),
    [
        pytest.param("columns", lambda columns: columns + 10_000, id="a-column-too-high"),
        pytest.param("columns", lambda columns: columns - 10_000, id="a-column-below-none"),
        pytest.param("lengths", lambda lengths: lengths + 1, id="rows-longer-than-the-columns"),
        pytest.param("lengths", lambda lengths: lengths * 0 - 1, id="rows-of-less-than-nothing"),
        pytest.param("vocabulary", lambda ids: ids[:1], id="columns-of-no-ngram"),
        pytest.param("vocabulary", lambda ids: ids + np.uint64(2**40), id="of-too-many-bits"),
        pytest.param("rare", lambda rare: Rare(rare.in_order()[::-1]), id="rare-out-of-order"),
        pytest.param("rare", lambda rare: Rare(rare.in_order() | np.uint64(2**24 - 1)),
                     id="rare-in-no-review"),
    ],
)  # fmt: skip
def test_arrays_that_cannot_be_one_corpus_are_not_taken_although_they_are_signed(
    stores, nights, array, change
):
    corpus = rebuilt(stores, nights)
    spoiled = replace(corpus, **{array: change(getattr(corpus, array))})

    assert decode(encode(spoiled, "a" * 64), "a" * 64, corpus.parameters) is None


def test_what_is_kept_is_read_back_without_copies(stores, nights):
    corpus = rebuilt(stores, nights)

    back = decode(encode(corpus, "a" * 64), "a" * 64, corpus.parameters)

    assert back is not None
    assert plain(back) == plain(corpus)
    assert not back.columns.flags.owndata
