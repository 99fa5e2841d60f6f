import gzip
import io
import json
import random
from datetime import UTC, date, datetime
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.errors import UnreadableDeliveryError
from pipelines.core.settings.data import IntakeSettings
from pipelines.intake.files.decoding import Rows, decode
from pipelines.simulation.plans import Format
from tests.support.made.builders import as_csv, as_file, as_jsonl, as_parquet, some_rows
from tests.support.timing import cpu_seconds

INTAKE = IntakeSettings(
    max_columns=200,
    partition_rows=20,
    max_deliveries=1000,
    max_delivery_bytes=1_000_000,
    max_decoded_bytes=1_000_000,
    max_rows=100,
    max_row_chars=50_000,
    max_value_bytes=2_000_000,
    max_decoder_memory_bytes=1024**3,
    max_decoder_cpu_seconds=30,
    max_decoder_wall_seconds=600,
)
FORMATS: tuple[Format, ...] = get_args(Format)
HEADER = "review_id,text,label,written_on"


def decoded(body: bytes, file_format: str, intake: IntakeSettings = INTAKE) -> Rows:
    name, _, packing = file_format.partition(".")
    return decode(body, name, is_gzipped=bool(packing), intake=intake)


def refused(body: bytes, file_format: str, intake: IntakeSettings = INTAKE) -> str:
    with pytest.raises(UnreadableDeliveryError) as caught:
        decoded(body, file_format, intake)
    return caught.value.reason


def a_table(**columns) -> bytes:
    """Parquet of two rows, some of whose columns are others."""
    two = [{"rating": None} | row for row in some_rows(2)]
    values = {name: pa.array([row[name] for row in two]) for name in two[0]}
    file = io.BytesIO()
    pq.write_table(pa.table(values | columns), file)
    return file.getvalue()


def as_strings(*values: bytes) -> pa.Array:
    """A column that claims to be text, whatever its bytes are."""
    return pa.Array.from_buffers(pa.string(), len(values), pa.array(values, pa.binary()).buffers())


# ── What comes out ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_format_gives_the_same_rows(file_format):
    delivered = [*some_rows(3), some_rows(4)[3] | {"movie_id": None, "rating": None}]

    rows = decoded(as_file(delivered, file_format), file_format)

    assert rows.review_id == [f"review-{number:06d}" for number in range(4)]
    assert rows.text == [row["text"] for row in delivered]
    assert rows.label == ["negative", "positive", "negative", "positive"]
    assert rows.movie_id == ["tt0000000", "tt0000000", "tt0000000", None]
    assert rows.rating == [2, 9, 2, None]
    assert rows.written_on == [date(2026, 1, 5)] * 4
    assert rows.faults == [()] * 4
    assert rows.extra_columns == ()


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet"])
def test_columns_beyond_the_agreed_ones_are_named_and_otherwise_ignored(file_format):
    table = pa.Table.from_pylist([row | {"zip": 1, "age": 2} for row in some_rows(2)])
    body = {
        "csv": f"{HEADER},zip,age\na,Text,positive,2026-01-05,1,2\n".encode(),
        "jsonl": "".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode(),
        "parquet": a_table(zip=pa.array([1, 2]), age=pa.array([1, 2])),
    }[file_format]

    rows = decoded(body, file_format)

    assert rows.extra_columns == ("age", "zip")
    assert set(rows.faults) == {()}


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
def test_the_optional_columns_may_be_missing(file_format):
    body = {
        "csv": f"{HEADER}\na,Text,positive,2026-01-05\n",
        "jsonl": '{"review_id":"a","text":"Text","label":"positive","written_on":"2026-01-05"}\n',
    }[file_format]

    rows = decoded(body.encode(), file_format)

    assert (rows.movie_id, rows.rating, rows.faults) == ([None], [None], [()])


def test_a_csv_keeps_quotes_commas_line_ends_and_nul_in_a_text():
    text = 'So ""good"",\r\nreally\0!'

    rows = decoded(f'{HEADER}\na,"{text}",positive,2026-01-05\n'.encode(), "csv")

    assert rows.text == ['So "good",\r\nreally\0!']
    assert rows.faults == [()]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_blank_lines_are_no_rows(end):
    lines = [HEADER, "", "a,Text,positive,2026-01-05", "", ""]

    assert len(decoded(end.join(lines).encode(), "csv")) == 1
    assert len(decoded(f"{end} {end}".encode() + as_jsonl(some_rows(2)), "jsonl")) == 2


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
def test_a_byte_order_mark_is_not_part_of_the_first_column(file_format):
    body = b"\xef\xbb\xbf" + as_file(some_rows(2), file_format)

    assert decoded(body, file_format).review_id == ["review-000000", "review-000001"]


@pytest.mark.parametrize(
    ("written_on", "day"),
    [
        (pa.array([date(2026, 1, 5)] * 2), date(2026, 1, 5)),
        (pa.array([datetime(2026, 1, 5, 23, tzinfo=UTC)] * 2), date(2026, 1, 5)),
        (pa.array([0, 1], pa.timestamp("ns")), date(1970, 1, 1)),
        (pa.array(["2026-01-05T23:59:59Z"] * 2), date(2026, 1, 5)),
        (pa.array(["2026-01-05"] * 2).dictionary_encode(), date(2026, 1, 5)),
    ],
    ids=["date", "instant", "nanoseconds", "text-with-time", "dictionary"],
)
def test_parquet_may_spell_a_day_in_several_types(written_on, day):
    rows = decoded(a_table(written_on=written_on), "parquet")

    assert rows.written_on == [day, day]
    assert rows.faults == [(), ()]


# ── Faults of one row ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        pytest.param('{"review_id": "a", "text": "cut', "malformed_row", id="cut"),
        pytest.param("[1, 2]", "malformed_row", id="a-list"),
        pytest.param("null", "malformed_row", id="null"),
        pytest.param("[" * 40_000, "malformed_row", id="nested-without-end"),
        pytest.param("9" * 5_000, "malformed_row", id="a-number-of-5000-digits"),
        pytest.param('{"text": "a", "text": "b"}', "malformed_row", id="a-name-given-twice"),
        pytest.param('{"text": "a", "TEXT": "b", "Text": "c"}', "", id="ours-and-others"),
        pytest.param('{"TEXT": "b", "Text": "c"}', "malformed_row", id="two-that-may-be-ours"),
        pytest.param('{"text": {"de": "gut"}}', "malformed_row", id="a-nested-text"),
        pytest.param('{"text": "' + "x" * 50_000 + '"}', "malformed_row", id="longer-than-a-field"),
        pytest.param('{"text": "\\ud800"}', "invalid_utf8", id="a-lone-surrogate"),
    ],
)
def test_a_line_of_json_that_cannot_be_a_review_spoils_only_itself(line, fault):
    body = as_jsonl(some_rows(1)) + line.encode() + b"\n" + as_jsonl(some_rows(1, first=1))

    rows = decoded(body, "jsonl")

    assert len(rows) == 3
    assert not fault or fault in rows.faults[1]
    assert (rows.faults[0], rows.faults[2]) == ((), ())


@pytest.mark.parametrize(
    "ignored",
    ['"meta": {"a": 1, "a": 2}', '"n": 1, "n": 2', '"meta": [{"text": 1, "text": 2}]'],
)
def test_a_name_that_stands_twice_where_nothing_is_read_spoils_no_row(ignored):
    (line,) = as_jsonl(some_rows(1)).splitlines()

    rows = decoded(line[:-1] + b", " + ignored.encode() + b"}\n", "jsonl")

    assert rows.faults == [()]


def test_a_file_whose_every_object_may_mean_two_things_says_which_names():
    with pytest.raises(UnreadableDeliveryError, match=r"doubled columns \['text'\]"):
        decoded(b'{"TEXT": "b", "Text": "c"}\n' * 3, "jsonl")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("9007199254740993.0", "9007199254740993"),
        ("9007199254740992.0", "9007199254740992"),
        ("12345678901234567890.5", "12345678901234567890.5"),
        ("1000.0", "1000"),
        ("1e3", "1000"),
        ("1e400", "1e400"),
        ("1e99999999999999999999", "1e99999999999999999999"),
    ],
)
def test_a_json_number_is_the_id_that_it_is_in_a_csv(written, read):
    line = f'{{"movie_id": {written}}}\n'.encode()

    assert decoded(as_jsonl(some_rows(1)) + line, "jsonl").movie_id[1] == read
    assert decoded(f"review_id,text,label,written_on,movie_id\na,b,c,d,{written}\n".encode(),
                   "csv").movie_id == [read]  # fmt: skip


@pytest.mark.parametrize(
    "line", ["a,Text,positive", "a,Text,positive,2026-01-05,x", "a"], ids=["short", "long", "one"]
)
def test_a_csv_line_with_another_number_of_fields_spoils_only_itself(line):
    good = "b,Text,positive,2026-01-05"

    rows = decoded("\n".join([HEADER, good, line, good]).encode(), "csv")

    assert ["malformed_row" in faults for faults in rows.faults] == [False, True, False]


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet"])
def test_bytes_that_are_not_utf8_are_shown_and_spoil_only_their_row(file_format):
    texts = [b"caf\xe9", "café".encode()]
    bodies = {
        "csv": f"{HEADER}\na,$0,positive,2026-01-05\nb,$1,negative,2026-01-05\n".encode(),
        "jsonl": b'{"review_id":"a","text":"$0","label":"x","written_on":"2026-01-05"}\n'
        b'{"review_id":"b","text":"$1","label":"x","written_on":"2026-01-05"}\n',
        "parquet": a_table(text=as_strings(*texts)),
    }
    body = bodies[file_format].replace(b"$0", texts[0]).replace(b"$1", texts[1])

    rows = decoded(body, file_format)

    assert rows.text == ["caf\\xe9", "café"]
    assert rows.faults == [("invalid_utf8",), ()]


@pytest.mark.parametrize("rating", ["0", "11", "7.5", "-1", "1e400", "good", "0x5", "9/10"])
def test_a_rating_that_is_no_whole_number_from_1_to_10_is_named(rating):
    body = f"{HEADER},rating\na,Text,positive,2026-01-05,{rating}\n".encode()

    rows = decoded(body, "csv")

    assert (rows.rating, rows.faults) == ([None], [("rating_invalid",)])


@pytest.mark.parametrize(
    ("rating", "read"),
    [("7", 7), ("7.0", 7), ("", None), ("nan", None), ("N/A", None), (" 7 ", 7), ("07", 7)],
)
def test_a_rating_may_be_a_whole_number_or_missing(rating, read):
    body = f"{HEADER},rating\na,Text,positive,2026-01-05,{rating}\n".encode()

    rows = decoded(body, "csv")

    assert (rows.rating, rows.faults) == ([read], [()])


def test_true_is_no_rating():
    rows = decoded(a_table(rating=pa.array([True, False])), "parquet")

    assert rows.faults == [("rating_invalid",)] * 2


@pytest.mark.parametrize(
    "day",
    [
        "",
        "yesterday",
        "2026-02-30",
        "05.01.2026",
        "1767571200",
        "20260105",
        "2026-W02-1",
        "2026-01-05 or so",
    ],
)
def test_a_day_that_cannot_be_read_is_named(day):
    rows = decoded(f"{HEADER}\na,Text,positive,{day}\n".encode(), "csv")

    assert (rows.written_on, rows.faults) == ([None], [("date_invalid",)])


# ── Faults of the file ───────────────────────────────────────────────────────────────────────

CSV, JSONL, PARQUET = (write(some_rows(4)) for write in (as_csv, as_jsonl, as_parquet))


@pytest.mark.parametrize(
    ("body", "file_format", "reason"),
    [
        pytest.param(b"", "csv", "empty_file", id="empty"),
        pytest.param(CSV, "unknown", "unknown_format", id="unknown"),
        pytest.param(CSV, "csv.gz", "not_gzip", id="plain-called-gz"),
        pytest.param(gzip.compress(CSV)[:-12], "csv.gz", "truncated", id="cut-gzip"),
        pytest.param(gzip.compress(CSV) + b"more", "csv.gz", "not_gzip", id="more-after-gzip"),
        pytest.param(CSV[: CSV.rindex(b"cinema")], "csv", "malformed_csv", id="cut-csv"),
        pytest.param(PARQUET[:-1], "parquet", "truncated", id="cut-parquet"),
        pytest.param(PARQUET[:5], "parquet", "truncated", id="almost-no-parquet"),
        pytest.param(CSV, "parquet", "other_format", id="csv-called-parquet"),
        pytest.param(CSV, "jsonl", "other_format", id="csv-called-jsonl"),
        pytest.param(JSONL, "csv", "other_format", id="jsonl-called-csv"),
        pytest.param(PARQUET, "csv", "other_format", id="parquet-called-csv"),
        pytest.param(CSV.decode().encode("utf-16"), "csv", "wrong_encoding", id="utf-16-csv"),
        pytest.param(JSONL.decode().encode("utf-16"), "jsonl", "wrong_encoding", id="utf-16-jsonl"),
        pytest.param(gzip.compress(b""), "csv.gz", "wrong_columns", id="nothing-in-gzip"),
    ],
)
def test_a_file_that_is_not_what_it_claims_is_refused_with_a_reason(body, file_format, reason):
    assert refused(body, file_format) == reason


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet"])
def test_a_missing_column_is_named_with_the_rows_it_costs(file_format):
    table = pa.Table.from_pylist(some_rows(4)).rename_columns({"text": "body"})
    file = io.BytesIO()
    pq.write_table(table, file)
    body = {
        "csv": CSV.replace(b'"text"', b'"body"'),
        "jsonl": JSONL.replace(b'"text"', b'"body"'),
        "parquet": file.getvalue(),
    }[file_format]

    with pytest.raises(UnreadableDeliveryError, match=r"missing columns \['text'\]") as caught:
        decoded(body, file_format)

    assert (caught.value.reason, caught.value.rows) == ("wrong_columns", 4)


def test_a_doubled_column_is_named_because_nobody_knows_which_one_counts():
    file = io.BytesIO()
    table = pa.Table.from_pylist(some_rows(4))
    pq.write_table(table.append_column("label", table["label"]), file)

    for body, file_format in (
        (f"{HEADER},label\na,Text,positive,2026-01-05,negative\n".encode(), "csv"),
        (file.getvalue(), "parquet"),
    ):
        with pytest.raises(UnreadableDeliveryError, match=r"doubled columns \['label'\]"):
            decoded(body, file_format)


def test_a_parquet_moment_that_python_has_no_date_for_spoils_only_its_row():
    rows = decoded(a_table(written_on=pa.array([2**62, 0], pa.timestamp("us"))), "parquet")

    assert rows.faults == [("date_invalid",), ()]
    assert rows.written_on == [None, date(1970, 1, 1)]
    assert rows.found == {"date_invalid": {f"{2**62} since 1970": 1}}


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(pa.array([["a"], ["b"]]), id="lists"),
        pytest.param(pa.array([{"a": "b"}] * 2), id="structs"),
        pytest.param(pa.array([[("a", "b")]] * 2, pa.map_("str", "str")), id="maps"),
        pytest.param(pa.array([b"aa"] * 2, pa.binary(2)), id="a-length-that-the-footer-sets"),
        pytest.param(pa.ListArray.from_arrays([0, 1, 2], as_strings(b"\xff", b"b")), id="not-utf8"),
    ],
)
def test_a_parquet_column_that_is_no_text_number_or_date_is_named(column):
    with pytest.raises(UnreadableDeliveryError, match="column 'text' has the type") as caught:
        decoded(a_table(text=column), "parquet")

    assert caught.value.reason == "wrong_columns"


def test_what_arrow_says_of_types_beside_parquet_is_not_read():
    unknown_zone = pa.array([0, 1], pa.timestamp("us", "No/Zone"))

    assert decoded(a_table(written_on=unknown_zone), "parquet").written_on == [date(1970, 1, 1)] * 2


def test_a_parquet_column_name_that_is_not_utf8_makes_the_file_unreadable():
    assert refused(PARQUET.replace(b"movie_id", b"m\xffvie_id"), "parquet") == "not_parquet"


@pytest.mark.parametrize("file_format", FORMATS)
def test_damaged_bytes_end_in_rows_or_in_a_refusal_and_in_nothing_else(file_format):
    whole, chance = as_file(some_rows(8), file_format), random.Random(file_format)

    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 1, 4])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        del damaged[chance.choice([len(whole), chance.randrange(len(whole))]) :]
        try:
            rows = decoded(bytes(damaged), file_format)
        except UnreadableDeliveryError:
            continue
        assert len(rows.text) == len(rows.label) == len(rows.written_on) == len(rows.faults)


@settings(deadline=None, max_examples=150)
@given(body=st.binary(max_size=200), file_format=st.sampled_from(FORMATS))
def test_any_bytes_end_in_rows_or_in_a_refusal(body, file_format):
    try:
        rows = decoded(body, file_format)
    except UnreadableDeliveryError:
        return
    assert len(rows) <= len(body)


# ── Bounds ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet"])
def test_one_row_more_than_allowed_is_refused(file_format):
    most = as_file(some_rows(100), file_format)
    more = as_file(some_rows(101), file_format)

    assert len(decoded(most, file_format)) == 100
    assert refused(more, file_format) == "too_many_rows"


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
def test_one_byte_more_than_allowed_is_refused(file_format):
    body = as_file(some_rows(4), file_format)
    exactly = INTAKE.model_copy(update={"max_decoded_bytes": len(body)})
    one_less = INTAKE.model_copy(update={"max_decoded_bytes": len(body) - 1})

    for packed, name in ((body, file_format), (gzip.compress(body), f"{file_format}.gz")):
        assert len(decoded(packed, name, exactly)) == 4
        assert refused(packed, name, one_less) == "too_large"


def test_a_csv_field_longer_than_allowed_makes_the_file_unreadable():
    body = f"{HEADER}\na,{'x' * 50_001},positive,2026-01-05\n".encode()

    assert refused(body, "csv") == "malformed_csv"


@pytest.mark.parametrize(
    ("text", "is_kept"),
    [
        pytest.param("a" + "\u0301" * 30, True, id="30-marks-in-a-row"),
        pytest.param("a" + "\u0301" * 31, False, id="31-marks-in-a-row"),
        pytest.param("a\u0301" * 5_000, True, id="a-mark-on-every-letter"),
        pytest.param("\ufdfa" * 500, True, id="500-ligatures"),
        pytest.param("\ufdfa " * 501, False, id="501-ligatures"),
        pytest.param("\U00011131" * 501, False, id="501-letters-of-a-script-with-marks-of-its-own"),
        pytest.param("\U0001f3ac" * 5_000, True, id="emoji"),
        pytest.param("\ud55c\uad6d" * 5_000, True, id="korean"),
    ],
)
def test_a_text_that_takes_minutes_to_normalize_is_no_text(text, is_kept):
    rows = decoded(f"{HEADER}\na,{text},positive,2026-01-05\n".encode(), "csv")

    assert (rows.text, rows.faults) == (([text], [()]) if is_kept else ([""], [("malformed_row",)]))


def test_as_many_blank_lines_as_rows_are_allowed_and_no_more():
    for end, file_format in (("\n", "csv"), ("\r\n", "csv"), ("\n", "jsonl"), (" \r\n", "jsonl")):
        body = as_file(some_rows(4), file_format)

        assert len(decoded(body + end.encode() * 100, file_format)) == 4
        assert refused(body + end.encode() * 101, file_format) == "too_many_rows"


def test_fields_are_counted_over_the_whole_file():
    assert (
        refused(HEADER.encode() + b"\n" + (b"," * 9_999 + b"\n") * 3, "csv") == "too_many_columns"
    )
    assert refused((b"[" + b"1," * 9_999 + b"1]\n") * 3, "jsonl") == "too_many_columns"


def test_a_gzip_file_of_very_many_members_is_refused():
    member = gzip.compress(b"")

    assert len(decoded(member * 9_000 + gzip.compress(CSV), "csv.gz")) == 4
    assert refused(member * 10_000 + gzip.compress(CSV), "csv.gz") == "too_many_parts"


def test_the_memory_of_all_values_is_bounded_whatever_their_characters_take():
    narrow = as_file([row | {"text": "x" * 19_000} for row in some_rows(50)], "jsonl")
    wide = as_file([row | {"text": "x" * 19_000 + "\U0001f3ac"} for row in some_rows(50)], "jsonl")

    assert len(decoded(narrow, "jsonl")) == 50
    assert refused(wide, "jsonl") == "too_large"


def test_a_gzip_bomb_is_stopped_early():
    bomb = gzip.compress(b"x" * 200_000_000, compresslevel=1)

    stopped = cpu_seconds(lambda: refused(bomb, "jsonl.gz"))
    unpacked = cpu_seconds(lambda: gzip.decompress(bomb), repeats=1)

    assert refused(bomb, "jsonl.gz") == "too_large"
    assert stopped < unpacked / 10


def test_a_parquet_bomb_is_stopped_before_it_fills_the_memory():
    # One text of 200,000 bytes, stored once and standing in 100 rows: 20 MB out of a few KB.
    columns = {name: ["x"] * 100 for name in ("review_id", "label", "written_on")}
    file = io.BytesIO()
    pq.write_table(pa.table(columns | {"text": ["x" * 200_000] * 100}), file)
    measured, usual = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
    pa.set_memory_pool(measured)

    try:
        reason = refused(file.getvalue(), "parquet")
    finally:
        pa.set_memory_pool(usual)

    assert len(file.getvalue()) < 20_000
    assert reason == "too_large"
    assert measured.max_memory() < 5_000_000
