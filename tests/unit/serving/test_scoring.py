"""A file to score is read in bounded batches, and what is wrong with it is said."""

from __future__ import annotations

import gzip
import json

import pytest

from pipelines.core.errors import SourceError
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
        ("number.jsonl", b'{"text": 5}\n'),
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
