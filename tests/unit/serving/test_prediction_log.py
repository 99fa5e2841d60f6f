"""Answers are kept in whole files, and nobody waits for that."""

from __future__ import annotations

import hashlib
import io
import threading

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.core import config
from pipelines.core.errors import StoreUnavailableError
from pipelines.core.record import sha256_of
from pipelines.serving import prediction_log
from pipelines.serving.prediction_log import PredictionLog
from tests.support.in_memory import InMemory
from tests.support.services.scoring_service import wait_until


class Store(InMemory):
    """A bucket that may be down."""

    def __init__(self):
        super().__init__()
        self.is_up = threading.Event()
        self.is_up.set()
        self.tries = 0

    def try_create(self, key, data):
        self.tries += 1
        if not self.is_up.is_set():
            raise StoreUnavailableError("down")
        self.put_once(key, data)
        return "created"


def a_log(store, **changes):
    settings = config.load().serving.prediction_log.model_copy(
        update={"batch_rows": 2, "batch_seconds": 0.01, **changes}
    )
    log = PredictionLog(store, settings)
    log.start()
    return log


def add(log, *texts, row_ids=None):
    log.add(
        "request", texts, np.full(len(texts), 0.25), class_names=("negative", "positive"),
        version="v" * 20, generation=7, row_ids=row_ids,
    )  # fmt: skip


def rows_of(store):
    return [
        row
        for data in store.objects.values()
        for row in pq.read_table(io.BytesIO(data)).to_pylist()
    ]


def test_every_answer_is_kept_in_files_named_by_their_bytes():
    store = Store()
    log = a_log(store)

    add(log, "one", "two", "three", row_ids=["a", "b", "c"])
    log.close(60)

    rows = {row["row_id"]: row for row in rows_of(store)}
    assert set(rows) == {"a", "b", "c"}
    assert (rows["b"]["version"], rows["b"]["generation"]) == ("v" * 20, 7)
    assert (rows["b"]["probability"], rows["b"]["request_id"]) == (0.25, "request")
    assert rows["b"]["text"] is None
    assert rows["b"]["text_sha256"] == hashlib.sha256(b"two").hexdigest()
    for key, data in store.objects.items():
        day = rows["a"]["at"].date().isoformat()
        assert key == f"predictions/date={day}/{sha256_of(data)}.parquet"
    assert (log.written, log.lost, log.waiting) == (3, 0, 0)


def test_texts_are_kept_only_if_that_is_asked_for():
    store = Store()
    log = a_log(store, keeps_texts=True)

    add(log, "größer")
    log.close(60)

    assert [row["text"] for row in rows_of(store)] == ["größer"]


def test_what_cannot_be_written_waits_and_what_is_too_much_is_counted_as_lost():
    store = Store()
    store.is_up.clear()
    log = a_log(store, max_waiting_rows=3)
    add(log, "one", "two")
    wait_until(lambda: store.tries)

    add(log, "three", "four")
    add(log, "five")
    assert (log.waiting, log.lost, log.trouble) == (3, 2, "down")
    store.is_up.set()
    log.close(60)

    digests = {row["text_sha256"] for row in rows_of(store)}
    assert digests == {hashlib.sha256(text).hexdigest() for text in (b"one", b"two", b"three")}
    assert (log.written, log.lost) == (3, 2)


@pytest.mark.parametrize("batch_seconds", [0.01, 3600.0])
def test_nothing_is_lost_at_a_graceful_stop(batch_seconds):
    store = Store()
    log = a_log(store, batch_seconds=batch_seconds, batch_rows=1000)

    add(log, *map(str, range(50)))
    log.close(60)

    assert len(rows_of(store)) == 50


def test_a_stop_waits_no_longer_than_it_may():
    store = Store()
    store.is_up.clear()
    log = a_log(store)

    add(log, "one")
    log.close(0.05)

    assert log.lost == 1
    store.is_up.set()


def test_kept_texts_that_wait_are_bounded_and_what_is_too_much_is_counted(monkeypatch):
    monkeypatch.setattr(prediction_log, "MOST_WAITING_CHARACTERS", 100)
    store = Store()
    store.is_up.clear()
    log = a_log(store, keeps_texts=True)

    add(log, "x" * 60, "y" * 30, "z" * 20)
    add(log, "x" * 11)
    assert (log.waiting, log.lost) == (2, 2)
    add(log, "x" * 10)
    store.is_up.set()
    wait_until(lambda: log.written == 3)
    add(log, "x" * 100)  # there is room again
    log.close(5)

    assert (log.written, log.lost) == (4, 2)
    assert [len(row["text"]) for row in rows_of(store)].count(100) == 1


def test_texts_that_nobody_keeps_take_no_room(monkeypatch):
    monkeypatch.setattr(prediction_log, "MOST_WAITING_CHARACTERS", 100)
    log = a_log(Store())

    add(log, "x" * 60, "y" * 60)
    log.close(5)

    assert (log.written, log.lost) == (2, 0)


def test_a_file_of_kept_texts_stays_as_small_as_the_monitor_reads(monkeypatch):
    monkeypatch.setattr(prediction_log, "MOST_FILE_CHARACTERS", 100)
    store = Store()
    store.is_up.clear()
    log = a_log(store, keeps_texts=True, batch_rows=10)
    add(log, *(letter * 40 for letter in "abcd"), "y" * 150)
    store.is_up.set()
    log.close(5)

    files = [pq.read_table(io.BytesIO(data)).num_rows for data in store.objects.values()]
    assert sorted(files) == [1, 2, 2]


def test_of_more_than_two_classes_the_probability_of_each_is_kept():
    store = Store()
    log = a_log(store)

    log.add(
        "request", ["a", "b"], np.array([[0.2, 0.3, 0.5], [0.7, 0.2, 0.1]]),
        class_names=("poor", "middling", "great"), version="v" * 20, generation=7,
    )  # fmt: skip
    log.close(10)

    rows = rows_of(store)
    names = ("probability", "probability_poor", "probability_middling", "probability_great")
    assert [[row[name] for name in names] for row in rows] == [
        [0.5, 0.2, 0.3, 0.5], [0.7, 0.7, 0.2, 0.1],
    ]  # fmt: skip


def test_files_of_two_classes_have_the_columns_that_they_always_had():
    store = Store()
    log = a_log(store)
    add(log, "a")
    log.close(10)

    assert list(rows_of(store)[0]) == [
        "request_id", "row_id", "text", "text_sha256", "version", "generation", "probability", "at",
    ]  # fmt: skip
