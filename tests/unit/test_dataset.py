"""A dataset's reviews are found in whichever partition they are, and split once for ever."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from test_features import a_partition, a_snapshot, plain

from pipelines.dataset import ids_digest, load_dataset
from pipelines.errors import TrustError
from pipelines.fingerprints import fingerprint
from pipelines.identity import is_holdout
from pipelines.partitions import ACCEPTED_SCHEMA, write_partition
from pipelines.records import sha256_of

SIZE = {"ngram_max": 2, "bits": 40}


@pytest.mark.parametrize(
    "rows", [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [1, 7], [0, 6, 11], [8], [11], []]
)
def test_what_is_asked_for_is_found_whatever_the_partitions(stores, rows):
    parts, texts = zip(*(a_partition(stores, first=6 * number) for number in range(2)), strict=True)
    dataset = load_dataset(stores.reviews, a_snapshot(*parts))

    found = dataset.fingerprints(np.array(rows, np.int64), **SIZE)

    every = [text for part in texts for text in part]
    wanted = [every[row] for row in rows]
    assert plain(found) == plain(fingerprint(wanted, **SIZE))
    assert dataset.texts(np.array(rows, np.int64)) == wanted
    described = dataset.described(np.array(rows, np.int64))
    assert described.lengths.tolist() == [len(text) for text in wanted]
    assert described.sources.tolist() == ["web"] * len(rows)


@pytest.mark.parametrize("rows", [[11, 0, 6], [3, 3, 9]])
def test_rows_out_of_order_are_refused(stores, rows):
    dataset = load_dataset(stores.reviews, a_snapshot(a_partition(stores, first=0)[0]))

    with pytest.raises(ValueError, match="sort the rows"):
        dataset.texts(np.array(rows, np.int64))


def test_ids_are_kept_as_bytes_and_their_digest_is_of_their_hex(stores):
    dataset = load_dataset(stores.reviews, a_snapshot(a_partition(stores, first=0)[0]))
    ids = [one.ljust(32, b"\0").hex() for one in dataset.text_id.tolist()]

    assert dataset.text_id.itemsize == 32
    assert ids_digest(dataset.text_id) == sha256_of("\n".join(sorted(ids)).encode())
    assert ids_digest(dataset.text_id[::-1]) == ids_digest(dataset.text_id)
    assert ids_digest(dataset.text_id[:0]) == sha256_of(b"")


@pytest.mark.parametrize("text_id", ["ab" * 31, "ab" * 33, "zz" * 32, "AB" * 32, "", " " * 64])
def test_an_id_that_is_no_digest_is_refused(stores, text_id):
    part = write_partition(stores.reviews, "accepted", rows_of([text_id, "ab" * 32], [None, None]))

    with pytest.raises(TrustError, match="no sha256"):
        load_dataset(stores.reviews, a_snapshot(part))


def test_a_review_without_a_film_is_split_by_its_text(stores):
    ids = [f"{number:064x}" for number in range(400)]
    films = [None if number % 2 else "" for number in range(400)]
    part = write_partition(stores.reviews, "accepted", rows_of(ids, films))

    dataset = load_dataset(stores.reviews, a_snapshot(part))

    held = is_holdout(ids, share=0.2, salt=dataset.snapshot.salt)
    assert dataset.is_holdout.tolist() == [held[one] for one in ids]
    assert 0 < dataset.is_selection.sum() < 400
    assert not (dataset.is_selection & dataset.is_holdout).any()


def test_no_partition_at_all_is_an_empty_dataset(stores):
    dataset = load_dataset(stores.reviews, a_snapshot())

    assert len(dataset.text_id) == len(dataset.training_rows) == dataset.duplicate_rows == 0


def rows_of(text_ids, films) -> pa.Table:
    rows = [
        {"text_id": text_id, "review_id": None, "movie_id": film, "text": f"text {number}",
         "label": number % 2, "rating": None, "written_on": date(2026, 1, 5), "source": "web"}
        for number, (text_id, film) in enumerate(zip(text_ids, films, strict=True))
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=ACCEPTED_SCHEMA)


def test_a_text_seen_before_is_left_out_of_the_later_partition(stores):
    (first, texts), (second, later) = (
        a_partition(stores, first=0),
        a_partition(stores, first=3),  # its first three rows are the last three of the other
    )
    dataset = load_dataset(stores.reviews, a_snapshot(first, second))

    found = list(dataset.fingerprints_by_partition(np.arange(9), **SIZE))

    assert [rows.tolist() for rows, _ in found] == [[0, 1, 2, 3, 4, 5], [6, 7, 8]]
    assert plain(found[0][1]) == plain(fingerprint(texts, **SIZE))
    assert plain(found[1][1]) == plain(fingerprint(later[3:], **SIZE))
