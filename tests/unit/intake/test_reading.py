"""Published data sets are read by `[columns]` and `[labels]` alone; refusals name what they met."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
import zlib
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipelines.core import config
from pipelines.core.date_forms import gives_a_day
from pipelines.core.errors import ConfigError, UnreadableDeliveryError
from pipelines.core.settings.settings import Settings
from pipelines.intake.files.decoding import Rows, decode
from pipelines.intake.files.reading import reading_of

DEFAULTS = config.load()
DAY = "2026-11-20"


def with_source(**tables: Any) -> Settings:
    return Settings.model_validate(DEFAULTS.model_dump() | {"sources": {"dump": tables}})


def read(body: bytes, file_format: str, **tables: Any) -> Rows:
    name, _, packing = file_format.partition(".")
    return decode(
        body, name, is_gzipped=bool(packing), intake=DEFAULTS.intake,
        reading=reading_of(with_source(**tables), "dump", DAY),
    )  # fmt: skip


def lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(**columns: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


# ── Published data sets: the forms of docs/deliveries.md ──────────────────────────────────────

KAGGLE_IMDB = {
    "columns": {"review_id": [], "text": ["review"], "label": ["sentiment"], "written_on": []}
}
HUGGING_FACE = {
    "columns": {"review_id": [], "written_on": []},
    "labels": {"positive": ["1"], "negative": ["0"], "neutral": ["-1"]},
}
STARS = {"positive_from_stars": 4.0, "negative_to_stars": 2.0}
YELP = {"columns": {"label": ["stars"], "written_on": ["date"]}, "labels": STARS}
AMAZON_2023 = {
    "columns": {
        "review_id": [], "label": ["rating"], "rating": [], "movie_id": ["parent_asin"],
        "written_on": ["timestamp"], "date_formats": ["epoch"],
    },
    "labels": STARS,
}  # fmt: skip
AMAZON_2018 = {
    "columns": {
        "review_id": [], "text": ["reviewText"], "label": ["overall"], "movie_id": ["asin"],
        "written_on": ["unixReviewTime", "reviewTime"], "date_formats": ["epoch", "%m %d, %Y"],
    },
    "labels": STARS,
}  # fmt: skip
AMAZON_FOOD = {
    "columns": {
        "review_id": ["Id"], "text": ["Text"], "label": ["Score"], "movie_id": ["ProductId"],
        "written_on": ["Time"], "date_formats": ["epoch"],
    },
    "labels": STARS,
}  # fmt: skip
ROTTEN_TOMATOES = {
    "columns": {
        "review_id": [], "text": ["review_content"], "label": ["review_type"],
        "movie_id": ["rotten_tomatoes_link"], "written_on": ["review_date"],
    },
    "labels": {"positive": ["Fresh"], "negative": ["Rotten"]},
}  # fmt: skip
CLAPPER = {
    "columns": {
        "review_id": ["reviewId"], "text": ["reviewText"], "label": ["scoreSentiment"],
        "movie_id": ["id"], "written_on": ["creationDate"],
    }
}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "file_format", "tables"),
    [
        pytest.param(
            b'review,sentiment\n"One, two.<br />",positive\nBad.,negative\n', "csv", KAGGLE_IMDB,
            id="kaggle-imdb",
        ),
        pytest.param(
            table(text=["One, two.<br />", "Bad."], label=pa.array([1, 0], pa.int64())),
            "parquet", HUGGING_FACE, id="hugging-face",
        ),
        pytest.param(
            lines(
                {"review_id": "KU_O", "business_id": "XQfw", "stars": 5.0, "useful": 0,
                 "text": "One, two.<br />", "date": f"{DAY} 22:09:11"},
                {"review_id": "BiTu", "business_id": "7ATY", "stars": 1.0, "useful": 1,
                 "text": "Bad.", "date": f"{DAY} 15:28:18"},
            ), "jsonl", YELP, id="yelp",
        ),
        pytest.param(
            lines(
                {"rating": 5.0, "title": "Good", "text": "One, two.<br />", "images": [],
                 "asin": "B00", "parent_asin": "B01", "user_id": "A", "timestamp": 1795161600000},
                {"rating": 2.0, "title": "Bad", "text": "Bad.", "images": [{"a": 1}],
                 "asin": "B00", "parent_asin": "B01", "user_id": "B", "timestamp": 1795161600123},
            ), "jsonl", AMAZON_2023, id="amazon-2023",
        ),
        pytest.param(
            lines(
                {"overall": 5.0, "reviewText": "One, two.<br />", "asin": "B00",
                 "reviewTime": "11 20, 2026", "unixReviewTime": 1795132800},
                {"overall": 1.0, "reviewText": "Bad.", "asin": "B00", "reviewTime": "11 20, 2026"},
            ), "jsonl", {**AMAZON_2018, "columns": {**AMAZON_2018["columns"],
            "written_on": ["reviewTime"]}}, id="amazon-2018",
        ),
        pytest.param(
            b"Id,ProductId,UserId,Score,Time,Summary,Text\n"
            b'1,B001,A3,5,1795161600,Good,"One, two.<br />"\n2,B001,A4,1,1795161600,Bad,Bad.\n',
            "csv", AMAZON_FOOD, id="amazon-fine-foods",
        ),
        pytest.param(
            b"rotten_tomatoes_link,critic_name,review_type,review_score,review_date,review_content\n"
            b'm/0814255,A B,Fresh,3/4,2026-11-20,"One, two.<br />"\n'
            b"m/0814255,C D,Rotten,,2026-11-20,Bad.\n",
            "csv", ROTTEN_TOMATOES, id="rotten-tomatoes",
        ),
        pytest.param(
            b"id,reviewId,creationDate,originalScore,reviewText,scoreSentiment\n"
            b'm1,11,2026-11-20,3.5/4,"One, two.<br />",POSITIVE\nm1,12,2026-11-20,,Bad.,NEGATIVE\n',
            "csv", CLAPPER, id="rotten-tomatoes-clapper",
        ),
    ],
)  # fmt: skip
def test_a_published_data_set_is_read_without_a_script(body, file_format, tables):
    rows = read(body, file_format, **tables)

    assert rows.text == ["One, two.<br />", "Bad."]
    assert rows.label == ["positive", "negative"]
    assert rows.written_on == [date(2026, 11, 20)] * 2
    assert rows.faults == [()] * 2
    assert len({*rows.review_id}) == 2
    assert len({*rows.movie_id}) == 1


def test_stars_between_the_limits_are_neutral_and_other_labels_keep_their_own_words():
    body = b"review_id,text,written_on,stars\n" + b"".join(
        b"r,Text,2026-11-20,%s\n" % stars for stars in (b"4", b"4.0", b"3.5", b"2", b" 1 ", b"good")
    )

    rows = read(body, "csv", columns={"label": ["stars"]}, labels=STARS)

    assert rows.label == ["positive", "positive", "neutral", "negative", "negative", "good"]
    assert rows.found == {"label_unknown": {"good": 1}}


@pytest.mark.parametrize(
    ("written", "label"),
    [("positive", "positive"), (" Positive ", "positive"), ("NEGATIVE", "negative"),
     ("neutral", "neutral"), ("pos", "pos"), ("1", "1"), ("nan", None), ("", None)],
)  # fmt: skip
def test_without_a_table_labels_are_known_by_their_agreed_words_alone(written, label):
    rows = read(f"review_id,text,label,written_on\na,T,{written},{DAY}\n".encode(), "csv")

    assert rows.label == [label]


@pytest.mark.parametrize(
    ("written", "formats"),
    [
        ("2026-11-20 10:00:00.000 UTC", []), ("2026-11-20T10:00:00+02:00", []),
        ("2026-11-20 10:00:00 Europe/Paris", []), (" 2026-11-20", []), ("2026-11-20T23", []),
        ("20/11/2026", ["%d/%m/%Y"]), ("11/20/26", ["%m/%d/%y"]), ("Nov 20, 2026", ["%b %d, %Y"]),
        ("20 November 2026", ["%d %B %Y"]), ("20261120", ["%Y%m%d"]), ("1795161600", ["epoch"]),
        ("1795161600.5", ["epoch"]), ("1795161600123", ["%d/%m/%Y", "epoch"]),
    ],
)  # fmt: skip
def test_a_day_is_read_in_the_forms_that_are_named(written, formats):
    body = f'review_id,text,label,written_on\na,T,positive,"{written}"\n'.encode()

    rows = read(body, "csv", columns={"date_formats": formats})

    assert rows.written_on == [date(2026, 11, 20)]


def test_the_first_distinct_values_of_what_cannot_be_read_are_counted():
    days = ["20/11/2026"] * 3 + ["", "x\u202ey"] + [f"day {number}" for number in range(9)]
    body = "review_id,text,label,written_on\n" + "".join(f"a,T,gut,{day}\n" for day in days)

    rows = read(body.encode(), "csv")

    assert rows.found == {
        "label_unknown": {"gut": 14},
        "date_invalid": {"20/11/2026": 3, "no value": 1, "x\u202ey": 1, "day 0": 1, "day 1": 1},
    }


def test_the_type_of_a_value_that_is_no_value_is_counted():
    row = {"review_id": "a", "text": ["T"], "label": "positive", "written_on": {"day": DAY}}

    rows = read(lines(row), "jsonl")

    assert rows.found == {
        "malformed_row": {"a value of type list as text": 1},
        "date_invalid": {"a value of type dict": 1},
    }


def test_a_value_in_several_columns_counts_for_each_and_a_row_counts_once():
    row = {"review_id": {"$oid": "1"}, "movie_id": {"$oid": "2"}, "text": "T", "label": "positive",
           "written_on": DAY}  # fmt: skip

    rows = read(lines(row, row), "jsonl")

    assert rows.found == {
        "malformed_row": {
            "a value of type dict as review_id": 2,
            "a value of type dict as movie_id": 2,
        }
    }


@pytest.mark.parametrize(
    "labels",
    [
        {"positive": ["1"], "negative": ["1.0"]},
        {"positive": ["pos"], "negative": ["neg"], "neutral": ["\uff50os"]},
        {"positive": ["yes"], "negative": ["&#121;es"]},
    ],
)
def test_labels_that_are_one_text_in_two_forms_are_refused(labels):
    with pytest.raises(ConfigError, match="another way to write it"):
        reading_of(with_source(labels=labels), "dump", DAY)


@pytest.mark.parametrize(
    "form",
    ["%d.%m.%Y", "%m/%d/%y", "%b %d, %Y", "%Y-%m-%dT%H:%M:%SZ", "%a %b %d %H:%M:%S %z %Y", "epoch"],
)
def test_a_date_format_that_gives_a_day_is_taken(form):
    assert gives_a_day(form)


@pytest.mark.parametrize("form", ["dd/mm/yyyy", "EPOCH", "%s", "%Y-%m", "%d.%m.%y %", ""])
def test_a_date_format_that_gives_no_day_is_refused(form):
    with pytest.raises(ValidationError, match=r"date_formats|at least 1 character"):
        Settings.model_validate(
            DEFAULTS.model_dump()
            | {"columns": DEFAULTS.columns.model_dump() | {"date_formats": [form]}}
        )


@pytest.mark.parametrize(
    "written", ["'20.11.2026", "20.11.2026\u200b", '"20.11.2026"', "\uff12\uff10.11.2026"]
)
def test_a_day_is_read_within_the_signs_that_programs_put_around_it(written):
    row = {"review_id": "a", "text": "T", "label": "positive", "written_on": written}

    rows = read(lines(row), "jsonl", columns={"date_formats": ["%d.%m.%Y"]})

    assert rows.written_on == [date(2026, 11, 20)]


def test_columns_that_are_ignored_hold_nothing():
    head = b"review_id,text,label,written_on,,,x,x,"
    body = head + b"\na,T,positive,2026-11-20,,,1,2,\nb,T,positive,2026-11-20,,,3,4\n"

    rows = read(body, "csv")

    assert (rows.extra_columns, rows.faults) == (("x", "x"), [(), ()])


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("review_id,text,label,written_on,,", "a,T,positive,2026-11-20,,"),
        (",review_id,text,label,written_on,", "0,a,T,positive,2026-11-20,"),
        ("review_id,,text,,label,written_on", "a,,T,,positive,2026-11-20"),
        ("review_id,text,label,written_on, ,  ", "a,T,positive,2026-11-20,,  "),
        ('review_id,text,label,written_on,"",""', "a,T,positive,2026-11-20,,"),
        ("Unnamed: 0,Unnamed: 0,review_id,text,label,written_on", "0,0,a,T,positive,2026-11-20"),
        ("review_id,text,label,written_on" + "," * 40, "a,T,positive,2026-11-20" + "," * 40),
    ],
)
def test_columns_of_a_spreadsheet_without_a_name_hold_nothing(head, row):
    rows = read(f"{head}\r\n{row}\r\n".encode(), "csv")

    assert (rows.review_id, rows.text, rows.label) == (["a"], ["T"], ["positive"])
    assert rows.faults == [()]


def test_columns_in_other_letters_are_found_unless_two_are_alike():
    rows = read(b"REVIEW_ID, Text,label,Written_On\na,T,positive,2026-11-20\n", "csv")
    assert rows.text == ["T"]

    with pytest.raises(UnreadableDeliveryError, match=r"doubled columns \['text'\]"):
        read(b"review_id,Text,TEXT,label,written_on\na,T,U,positive,2026-11-20\n", "csv")


def test_a_missing_column_is_told_with_all_its_names_and_another_separator():
    with pytest.raises(UnreadableDeliveryError, match=r"by the configuration one of \['review'\]"):
        read(b"id,body\n1,T\n", "csv", columns={"text": ["review"]})
    with pytest.raises(UnreadableDeliveryError, match="not ';'"):
        read(b"review_id;text;label;written_on\n1;T;positive;2026-11-20\n", "csv")


# ── Files of another kind ────────────────────────────────────────────────────────────────────

CSV = b"review_id,text,label,written_on\na,T,positive,2026-11-20\n"


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, CSV)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("a.csv")
        member.size = len(CSV)
        archive.addfile(member, io.BytesIO(CSV))
    return file.getvalue()


def arrow_file(write: Any) -> bytes:
    file = io.BytesIO()
    write(pa.table({"text": ["T"]}), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (zipped("a.csv"), "a ZIP archive"),
        (zipped("[Content_Types].xml", "xl/workbook.xml"), r"an Excel workbook \(.xlsx\)"),
        (gzip.compress(CSV, mtime=0), "gzip"),
        (bz2.compress(CSV), "bzip2"),
        (lzma.compress(CSV), "xz"),
        (pa.compress(CSV, codec="zstd", asbytes=True), "Zstandard"),
        (pa.compress(CSV, codec="lz4", asbytes=True), "LZ4"),
        (tarred(), "a tar archive"),
        (table(text=["T"]), "Parquet"),
        (arrow_file(pyarrow.orc.write_table), "ORC"),
        (arrow_file(pyarrow.feather.write_feather), "Arrow IPC"),
        (b"Obj\x01\x04\x14avro.codec", "Avro"),
        (b"SQLite format 3\0" + bytes(84), "an SQLite database"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document"),
        (b"\x80\x04\x95\x10\0\0\0", "a Python pickle"),
        (b"\n<!DOCTYPE html>\n<html>", "an HTML page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
        (b'\xef\xbb\xbf{"review_id": "a"}\n', "JSON Lines"),
        (b'[\n{"review_id": "a"},\n', "one JSON array"),
        (b"version https://git-lfs.github.com/spec/v1\n", ".*Git LFS"),
        (b"-----BEGIN PGP MESSAGE-----\n", ".*encrypted"),
        (bytes.fromhex("85020c03") + bytes(range(90, 220)), "OpenPGP, so perhaps encrypted"),
        (bytes(2000), "nothing but zero bytes"),
        (zlib.compress(CSV), "zlib"),
        (bytes(12) + bytes.fromhex("c2ea8160b31411cfbd92080009c7318c181f1011"), "SAS"),
        (bytes.fromhex("037a0b1c28000000e1002d00") + bytes(20) + b"REVIEW_ID\0\0C", "binary data"),
        (b"bplist00\xd4\1\2\3\4\5\6\7\x0aX$version", "a binary property list"),
        (bytes(range(128, 160)) + bytes(range(8)), "binary data instead of text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("packing", ["", ".gz"])
def test_a_file_of_another_kind_is_called_by_its_name(body, kind, packing):
    file = gzip.compress(body, mtime=0) if packing else body

    with pytest.raises(UnreadableDeliveryError, match=f"is named as CSV but is {kind}") as caught:
        read(file, f"csv{packing}")

    assert caught.value.reason == "other_format"


@pytest.mark.parametrize("name", ["ORCID", "RDX_SCORE", "PAR1", "GIF87", "BZh", "LZIP_1"])
def test_a_column_that_begins_like_the_mark_of_another_kind_is_fine(name):
    head, _, rows = CSV.partition(b"\n")
    body = (
        name.encode() + b"," + head + b"\n" + b"".join(b"1," + row for row in rows.splitlines(True))
    )

    assert read(body, "csv").text == read(CSV, "csv").text


@pytest.mark.parametrize(
    ("body", "file_format", "what"),
    [
        (CSV, "jsonl", "but is CSV"),
        (CSV, "parquet", "but is CSV"),
        (b'[{"a": 1}]', "jsonl", "but is one JSON array"),
        (b'\n [ {"a": 1},\n{"a": 2} ]\n', "jsonl", "but is one JSON array"),
        (b'\xef\xbb\xbf[\r\n  {"a": 1}\r\n]', "jsonl", "but is one JSON array"),
        (b'[\n  {\n    "a": 1\n  }\n]\n', "jsonl", "but is one JSON array"),
        (gzip.compress(b'[{"a": 1}]', mtime=0), "jsonl.gz", "but is one JSON array"),
        (b'{\n  "reviews": [\n', "jsonl", "JSON over several lines"),
        (b'{"a": 1},\n{"a": 2},\n', "jsonl", "an object with a comma after it"),
        (b'{"a": 1} ,\r\n{"a": 2} ,\r\n', "jsonl", "an object with a comma after it"),
        (b'\n{"a": "},"},\n', "jsonl", "an object with a comma after it"),
        (b'{"a": []}\t,\n' * 3, "jsonl", "an object with a comma after it"),
        (gzip.compress(b'{"a": {}},\n', mtime=0), "jsonl.gz", "an object with a comma after it"),
        (CSV, "csv.gz", r"is CSV that is not packed. Ask .* rename it without .gz"),
        (b'{"review_id": "a"}\n', "jsonl.gz", "is JSON Lines that is not packed"),
        (bytes(2000), "jsonl", "nothing but zero bytes"),
        (zipped("a"), "csv.gz", r"is named as gzip \(.gz\) but is a ZIP archive"),
        (bz2.compress(CSV), "jsonl.gz", r"is named as gzip \(.gz\) but is bzip2"),
        ("a,b\n".encode("utf-16-le"), "csv", "is UTF-16"),
        ("a,b\n".encode("utf-32"), "csv", "is UTF-32"),
    ],
)
def test_what_a_file_is_instead_is_told_for_every_format(body, file_format, what):
    with pytest.raises(UnreadableDeliveryError, match=what):
        read(body, file_format)
