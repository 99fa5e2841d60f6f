"""A dataset's reviews are found in whichever partition they are, and split once for ever."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from pipelines.core.errors import ObjectMissingError, TrustError
from pipelines.core.record import sha256_of
from pipelines.evaluation.slices import COLUMNS, Described
from pipelines.features.fingerprints import fingerprint
from pipelines.features.packs import Pack
from pipelines.features.views import View
from pipelines.intake.partitions import ACCEPTED_SCHEMA, write_partition
from pipelines.records.data import Snapshot
from pipelines.records.versions import StarClass
from pipelines.training import identities
from pipelines.training.dataset import Loader, ids_digest, load_dataset
from pipelines.training.split import is_holdout
from tests.support.made.made_features import a_partition, a_snapshot, plain

VIEW = View(ngram_max=2)
FOLDER = "accepted/date=2026-01-05"


@pytest.mark.parametrize(
    "rows", [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [1, 7], [0, 6, 11], [8], [11], []]
)
def test_what_is_asked_for_is_found_whatever_the_partitions(stores, rows):
    parts, texts = zip(*(a_partition(stores, first=6 * number) for number in range(2)), strict=True)
    dataset = load_dataset(stores.reviews, a_snapshot(*parts))

    cached = dataset.fingerprints(np.array(rows, np.int64), VIEW)

    every = [text for part in texts for text in part]
    chosen = [every[row] for row in rows]
    assert plain(cached) == plain(fingerprint(chosen, VIEW))
    assert dataset.texts(np.array(rows, np.int64)) == chosen
    described = Described.of_tables(dataset.tables(np.array(rows, np.int64), COLUMNS))
    assert described.lengths.tolist() == [len(text) for text in chosen]
    assert described.sources.tolist() == ["web"] * len(rows)


@pytest.mark.parametrize("rows", [[11, 0, 6], [3, 3, 9]])
def test_rows_out_of_order_are_refused(stores, rows):
    dataset = load_dataset(stores.reviews, a_snapshot(a_partition(stores, first=0)[0]))

    with pytest.raises(ValueError, match="sort the rows"):
        dataset.texts(np.array(rows, np.int64))


def test_ids_are_kept_as_bytes_and_their_digest_is_of_their_hex(stores):
    dataset = load_dataset(stores.reviews, a_snapshot(a_partition(stores, first=0)[0]))
    ids = [text_id.ljust(32, b"\0").hex() for text_id in dataset.text_id.tolist()]

    assert dataset.text_id.itemsize == 32
    assert ids_digest(dataset.text_id) == sha256_of("\n".join(sorted(ids)).encode())
    assert ids_digest(dataset.text_id[::-1]) == ids_digest(dataset.text_id)
    assert ids_digest(dataset.text_id[:0]) == sha256_of(b"")


@pytest.mark.parametrize("text_id", ["ab" * 31, "ab" * 33, "zz" * 32, "AB" * 32, "", " " * 64])
def test_an_id_that_is_no_digest_is_refused(stores, text_id):
    part = write_partition(stores.reviews, FOLDER, rows_of([text_id, "ab" * 32], [None, None]))

    with pytest.raises(TrustError, match="not a sha256"):
        load_dataset(stores.reviews, a_snapshot(part))


@pytest.mark.parametrize(
    ("column", "values", "kind"),
    [
        ("text_id", ["ab" * 32, None], pa.string()),
        ("label", [1, None], pa.int8()),
        ("label", [1, 0], pa.int64()),
        ("movie_id", [None, None], pa.null()),
        ("movie_id", ["tt1", "tt2"], pa.large_string()),
    ],
)
def test_columns_that_this_project_does_not_write_are_refused(stores, column, values, kind):
    table = rows_of(["ab" * 32, "cd" * 32], ["tt1", "tt2"])
    changed = table.set_column(table.column_names.index(column), column, pa.array(values, kind))
    part = write_partition(stores.reviews, FOLDER, changed)

    with pytest.raises(TrustError, match="this project did not write it"):
        load_dataset(stores.reviews, a_snapshot(part))


def test_a_partition_is_known_by_all_that_is_said_of_it(stores):
    part, _ = a_partition(stores, first=0)
    shorter = part.model_copy(update={"rows": 3})
    moved = part.model_copy(update={"key": "accepted/date=2026-01-06/nowhere.parquet"})
    loader = Loader(stores.reviews)
    loader.load(a_snapshot(part))

    with pytest.raises(TrustError, match="not the recorded 3"):
        loader.load(a_snapshot(part, shorter))
    with pytest.raises(ObjectMissingError):
        loader.load(a_snapshot(part, moved))


def test_partitions_that_snapshots_share_are_read_once(stores, monkeypatch):
    first, second = (
        a_partition(stores, first=6 * number, night=f"2026-0{1 + 3 * number}-01")[0]
        for number in range(2)
    )
    read, honest = [], identities.read_pack
    monkeypatch.setattr(
        identities,
        "read_pack",
        lambda *args: read.append(args[1]) or honest(*args),
    )
    loader = Loader(stores.reviews)

    loader.load(a_snapshot(first))
    whole = loader.load(a_snapshot(first, second))

    assert read == [Pack((first,)), Pack((second,))]
    assert (
        whole.text_id.tolist()
        == load_dataset(stores.reviews, a_snapshot(first, second)).text_id.tolist()
    )


def test_rows_are_located_and_dated_beyond_an_empty_partition(stores):
    ids = [f"{number:064x}" for number in range(5)]
    parts = [
        write_partition(
            stores.reviews, f"accepted/date=2026-01-0{night}", rows_of(mine, [None] * len(mine))
        )
        for night, mine in enumerate((ids[:2], [], ids[2:]), start=1)
    ]
    dataset = load_dataset(stores.reviews, a_snapshot(*parts))

    assert [dataset.locate(row) for row in range(5)] == [
        (parts[0].sha256, 0), (parts[0].sha256, 1),
        (parts[2].sha256, 0), (parts[2].sha256, 1), (parts[2].sha256, 2),
    ]  # fmt: skip
    assert dataset.nights(np.arange(5)).tolist() == ["2026-01-01"] * 2 + ["2026-01-03"] * 3
    with pytest.raises(IndexError):
        dataset.locate(5)


def test_a_review_without_a_film_is_split_by_its_text(stores):
    ids = [f"{number:064x}" for number in range(400)]
    films = [None if number % 2 else "" for number in range(400)]
    part = write_partition(stores.reviews, FOLDER, rows_of(ids, films))

    dataset = load_dataset(stores.reviews, a_snapshot(part))

    held = is_holdout(ids, share=0.2, salt=dataset.snapshot.salt)
    assert dataset.is_holdout.tolist() == [held[text_id] for text_id in ids]
    assert 0 < dataset.is_selection.sum() < 400
    assert not (dataset.is_selection & dataset.is_holdout).any()


def test_a_film_that_was_accepted_in_several_spellings_is_on_one_side(stores):
    ids = [f"{number:064x}" for number in range(400)]
    films = [f"{number // 4}{('', '.0', 'e0', '.')[number % 4]}" for number in range(396)]
    rows = rows_of(ids, [*films, "nan", "<NA>", "", None])

    dataset = load_dataset(
        stores.reviews,
        a_snapshot(write_partition(stores.reviews, FOLDER, rows)),
    )

    held = dataset.is_holdout
    alone = is_holdout(ids[396:], share=0.2, salt=dataset.snapshot.salt)
    assert all(len({*held[place : place + 4]}) == 1 for place in range(0, 396, 4))
    assert 0 < held.mean() < 1
    assert held[396:].tolist() == [alone[text_id] for text_id in ids[396:]]


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
        # Its first three rows are the last three of the other; another quarter is another pack.
        a_partition(stores, first=3, night="2026-04-01"),
    )
    dataset = load_dataset(stores.reviews, a_snapshot(first, second))

    parts = list(dataset.fingerprints_by_pack(np.arange(9), VIEW))

    assert [rows.tolist() for rows, _ in parts] == [[0, 1, 2, 3, 4, 5], [6, 7, 8]]
    assert plain(parts[0][1]) == plain(fingerprint(texts, VIEW))
    assert plain(parts[1][1]) == plain(fingerprint(later[3:], VIEW))


THREE = tuple(
    StarClass(name=name, low=low, high=high)
    for name, low, high in (("poor", 1, 2), ("middling", 4, 7), ("great", 9, 10))
)


def rated(stores, ratings, text_ids=None) -> Snapshot:
    ids = text_ids or [f"{number:064x}" for number in range(len(ratings))]
    table = rows_of(ids, [None] * len(ratings))
    column = table.column_names.index("rating")
    table = table.set_column(column, ACCEPTED_SCHEMA.field("rating"), pa.array(ratings, pa.int8()))
    return a_snapshot(write_partition(stores.reviews, FOLDER, table))


def test_stars_are_classes_and_rows_in_none_are_left_out_and_counted(stores, caplog):
    snapshot = rated(stores, [1, 2, 3, 4, None, 7, 8, 9, 10])

    with caplog.at_level("INFO"):
        dataset = load_dataset(stores.reviews, snapshot, THREE)

    assert dataset.label.tolist() == [0, 0, 1, 1, 2, 2]
    assert dataset.position.tolist() == [0, 1, 3, 5, 7, 8]
    assert dataset.texts(np.arange(6)) == [f"text {row}" for row in (0, 1, 3, 5, 7, 8)]
    assert (dataset.classless_rows, dataset.duplicate_rows) == (3, 0)
    assert "classless=3" in caplog.text


def test_a_text_that_first_comes_without_stars_counts_where_it_has_some(stores):
    ids = ["ab" * 32, "cd" * 32, "ab" * 32, "cd" * 32]

    dataset = load_dataset(stores.reviews, rated(stores, [None, 10, 1, 9], ids), THREE)

    assert dataset.position.tolist() == [1, 2]
    assert dataset.label.tolist() == [2, 0]
    assert (dataset.classless_rows, dataset.duplicate_rows) == (1, 1)


def test_without_classes_the_labels_are_those_that_were_delivered(stores):
    dataset = load_dataset(stores.reviews, rated(stores, [None, 10, 1, 9]))

    assert dataset.label.tolist() == [0, 1, 0, 1]
    assert dataset.classless_rows == 0
