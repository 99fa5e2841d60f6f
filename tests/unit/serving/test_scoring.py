"""A file to score is read in bounded batches, and what is wrong with it is said."""

from __future__ import annotations

import gzip
import io
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core import config
from pipelines.core.errors import SourceError
from pipelines.core.settings.settings import Settings
from pipelines.serving import scoring
from pipelines.serving.scoring import read_texts


def a_file(tmp_path, texts):
    path = tmp_path / "reviews.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_a_batch_is_bounded_in_rows_and_in_characters(tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "BATCH_ROWS", 3)
    monkeypatch.setattr(scoring, "BATCH_CHARACTERS", 10)
    texts = ["a", "b", "c", "d" * 9, "e" * 9, "f", None, "g"]

    batches = list(read_texts(a_file(tmp_path, texts)))

    assert batches == [["a", "b", "c"], ["d" * 9, "e" * 9], ["f", "", "g"]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("block.jsonl.gz", gzip.compress(b"", mtime=0)[:10] + b"\x07" + b"\0" * 20),
        ("cut.csv.gz", gzip.compress(b"text\ngood\n" * 99, mtime=0)[:-9]),
        ("deep.jsonl", b'{"text": ' + b"[" * 200_000),
        ("no-text.jsonl", b'{"body": "good"}\n'),
        ("list.jsonl", b"[]\n"),
        ("nested.jsonl", b'{"text": {"en": "good"}}\n'),
        ("other.csv", b"body\ngood\n"),
        ("none.parquet", b"PAR1"),
        ("reviews.txt", b"good"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_is_said_with_the_files_name(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(SourceError, match=name):
        list(read_texts(path))


TEXTS = ["A good film, truly.", "Bad.", "", "So-so"]


def parquet_of(texts, **how) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), file, **how)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a.csv", b'text,n\n"A good film, truly.",1\nBad.,2\n,3\nSo-so,4\n'),
        ("a.jsonl", b"".join(json.dumps({"text": text}).encode() + b"\n" for text in TEXTS)),
        ("category.parquet", parquet_of(pa.array(TEXTS).dictionary_encode())),
        (
            "large-category.parquet",
            parquet_of(pa.array(TEXTS, pa.large_string()).dictionary_encode()),
        ),
        (
            "small-category.parquet",
            parquet_of(pa.array(TEXTS).cast(pa.dictionary(pa.int8(), pa.string()))),
        ),
        ("pandas.parquet", parquet_of(pa.array(pd.Categorical(TEXTS, ordered=True)))),
        ("groups.parquet", parquet_of(pa.array(TEXTS).dictionary_encode(), row_group_size=1)),
        ("byte-view.parquet", parquet_of(pa.array([t.encode() for t in TEXTS], pa.binary_view()))),
        ("plain.parquet", parquet_of(pa.array(TEXTS), use_dictionary=False, compression="zstd")),
        ("view.parquet", parquet_of(pa.array(TEXTS, pa.string_view()))),
        ("large.parquet", parquet_of(pa.array(TEXTS, pa.large_string()))),
        ("bytes.parquet", parquet_of(pa.array([text.encode() for text in TEXTS]))),
        ("packed.parquet.gz", gzip.compress(parquet_of(pa.array(TEXTS)), mtime=0)),
        (
            "category.parquet.gz",
            gzip.compress(parquet_of(pa.array(TEXTS).dictionary_encode()), mtime=0),
        ),
        ("view.parquet.gz", gzip.compress(parquet_of(pa.array(TEXTS, pa.string_view())), mtime=0)),
        (
            "members.csv.gz",
            gzip.compress(b'text\n"A good film, ', mtime=0)
            + gzip.compress(b'truly."\n', mtime=0)
            + gzip.compress(b'Bad.\n""\nSo-so\n', mtime=0),
        ),
        (
            "packed.jsonl.gz",
            gzip.compress(
                b"".join(json.dumps({"text": text}).encode() + b"\r\n" for text in TEXTS), mtime=0
            ),
        ),
        (
            "packed.csv.gz",
            gzip.compress(b'text\n"A good film, truly."\nBad.\n""\nSo-so\n', mtime=0),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_form_that_is_ingested_is_scored_with_one_text_per_row(tmp_path, name, body):
    path = tmp_path / name
    path.write_bytes(body)

    assert [text for batch in read_texts(path) for text in batch] == TEXTS


@pytest.mark.parametrize(
    ("name", "lines", "line"),
    [
        ("comma.csv", ["review_id,text", "a,Good", "b,Good, but long", "c,Bad"], 3),
        ("commas.csv", ["review_id,text", "a,Good, but, long, indeed"], 2),
        ("after-lines.csv", ["review_id,text", 'a,"Good', "and more", 'so"', "b,Bad, it was"], 5),
        ("quoted-after.csv", ["text,n", "Good,1", '"Good", but,2'], 3),
        ("last.csv", ["text,review_id", "Good, but,a"], 2),
        ("short.csv", ["review_id,text", "a,Good", "b", "c,Bad"], 3),
        ("unnamed.csv", ["text,", "Good,", "Good, but long"], 3),
        ("twice.jsonl", ['{"text": "Good"}', "", '{"text": "Good", "text": "Bad"}'], 3),
        ("bytes.csv", ["text", "Good", "caf\udce9"], 3),
        ("alike-twice.jsonl", ['{"text": "Good"}', '{"text": "Good", "text": "Good"}'], 2),
        ("escaped-twice.jsonl", ['{"text": "Good", "t\\u0065xt": "Bad"}'], 1),
        ("null-twice.jsonl", ['{"text": null, "text": "Bad"}'], 1),
        ("last-comma.jsonl", ['{"text": "Good"}', '{"text": "Bad"} ,'], 2),
        ("two-objects.jsonl", ['{"text": "Good"}{"text": "Bad"}'], 1),
        ("first-comma.jsonl", ['{"text": "Good"}', ',{"text": "Bad"}'], 2),
        ("inner-comma.jsonl", ['{"text": "Good",}'], 1),
        ("comma.jsonl", ['{"text": "Good"}', '{"text": "Good"},', '{"text": "Bad"}'], 2),
        ("cut.jsonl", ['{"text": "Good"}', '{"text": "Go'], 2),
        ("missing.jsonl", ['{"text": "Good"}', '{"review_id": "b"}'], 2),
        ("list.jsonl", ['{"text": "Good"}', '{"text": ["Bad"]}'], 2),
    ],
)
def test_a_row_that_cannot_be_read_for_certain_is_refused_by_its_line(tmp_path, name, lines, line):
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n", errors="surrogateescape")

    with pytest.raises(SourceError, match=f"{name}, line {line} cannot be read"):
        list(read_texts(path))


def test_a_file_of_any_source_that_ingest_reads_is_scored():
    sources = {"dump": {"columns": {"text": ["review"]}}, "app": {}}
    settings = Settings.model_validate(config.load().model_dump() | {"sources": sources})

    assert settings.text_columns == ("text", "review")


def test_a_column_of_texts_may_have_the_name_that_the_configuration_says(tmp_path):
    path = tmp_path / "kaggle.csv"
    path.write_text("review,sentiment\nGood,positive\n")

    assert list(read_texts(path, names=("text", "review"))) == [["Good"]]
