"""An id has one form, whatever format and type it came in; what means missing is missing."""

from __future__ import annotations

import io
import json
import math
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core import config
from pipelines.intake.files.decoding import decode
from pipelines.intake.files.ids import as_written, film_id, review_id

INTAKE = config.load().intake

THOUSAND = [
    1000, 1000.0, Decimal(1000), Decimal("1000.000"), Decimal("1E+3"), b"1000", "1000", "1000.0",
    "1000.", " 1000 ", "1e3", "1E+03", "1.0e3", "01000", "+1000", "1,000", "1,000.00",
    "&#49;000", "1000&nbsp;", "&amp;#49;000", "\u200b1000", "\ufeff1000", "1000\u00ad", "\x001000",
    "\uff11\uff10\uff10\uff10", "\u0661\u0660\u0660\u0660", "1000\u3164", "1000\u00a0", '="1000"',
    "'1000", '"1000"', "b'1000'", "\t1000\r", "1 000", "1000,00",
    "np.float64(1000.0)", "Decimal('1000')",
    "1 000,00", "1.000,00", "1 000.0", "1\u2019000", "1'000.00", "1\u202f000,0", "\u201c1000\u201d",
    "\u00ab1000\u00bb", "\u201e1000\u201c", "\u20181000\u2019",
    "&amp;amp;#49;000", "&#38;amp;#38;#49;000",
    "&" + "amp;" * 90 + "#49;000", "\uff06#49;000",
]  # fmt: skip
MISSING = [
    None, math.nan, math.inf, Decimal("NaN"), "", "  ", "nan", "NaN", "NAN", "-nan", "None", "NONE",
    "<NA>", "NA", "n/a", "N/A", "#N/A", "#N/A N/A", "N.A.", "NULL", "null", "(null)", "<null>",
    "[NULL]", '"null"', "\\N", "nil", "NaT", "undefined", "-", "--", "?", "...", "-1.#IND",
    "1.#QNAN", "#REF!", "#DIV/0!", "\u200b", "\ufeff", "\u3164", "&nbsp;", "\ufeffnan",
    "\uff2e\uff21", " Null ", "pd.NA", "Unknown",
    "-1.#IND00", "1.#INF", "1.#INF00", "-1.#inf", "1.#QNAN0", "numpy.nan", "np.inf", "math.nan",
    "__HIVE_DEFAULT_PARTITION__", "(blank)", "<empty>", "#NV", "\\\\N",
]  # fmt: skip
OTHERS = [
    ("TT0111161", "tt0111161"),
    ("tt0111161 ", "tt0111161"),
    (True, "true"),
    ("True", "true"),
    (0, "0"),
    (-0.0, "0"),
    ("0.00", "0"),
    ("-5.0", "-5"),
    ("\u22125", "-5"),
    ("\u22121,000", "-1000"),
    ("1.000", "1"),
    ("1.000.000", "1.000.000"),
    ("1,00,000", "1,00,000"),
    ("1 000,000", "1 000,000"),
    ("\u0130", "i\u0307"),
    ("0123456789ABCDEF0123456789ABCDEF", "0123456789abcdef0123456789abcdef"),
    ("&" * 200 + "lt;" * 40, "&" * 199 + "<" + "lt;" * 39),
    (0.5, "0.5"),
    (".50", "0.5"),
    (1e22, "10000000000000000000000"),
    ("1e22", "10000000000000000000000"),
    (2**53 + 1, "9007199254740993"),
    ("1e999", "1e999"),
    (date(2026, 11, 20), "2026-11-20"),
    (datetime(2026, 11, 20, tzinfo=UTC), "2026-11-20"),
    ("2026-11-20T00:00:00Z", "2026-11-20"),
    ("2026-11-20 00:00:00.000 UTC", "2026-11-20"),
    ("2026-11-20T12:00:00+02:00", "2026-11-20 10:00:00"),
    (uuid.UUID(int=10), "00000000-0000-0000-0000-00000000000a"),
    ("{00000000-0000-0000-0000-00000000000A}", "00000000-0000-0000-0000-00000000000a"),
    ("The\u00a0 Matrix\u200b", "the matrix"),
    ("Nana", "nana"),
    ("Blank", "blank"),
    ("N", "n"),
]


@pytest.mark.parametrize("value", THOUSAND, ids=repr)
def test_a_number_is_one_id_in_every_type_and_spelling(value):
    assert film_id(as_written(value)) == "1000"
    assert review_id(as_written(value)) == "1000"


@pytest.mark.parametrize("value", MISSING, ids=repr)
def test_what_means_missing_is_no_id(value):
    assert film_id(as_written(value)) is None
    assert review_id(as_written(value)) is None


@pytest.mark.parametrize(("value", "form"), OTHERS, ids=repr)
def test_every_other_value_has_one_form(value, form):
    assert film_id(as_written(value)) == form
    assert film_id(film_id(as_written(value))) == form


def test_the_case_of_a_review_id_counts_because_short_ids_differ_by_it():
    assert (review_id("aB3x"), review_id("Ab3x")) == ("aB3x", "Ab3x")
    assert film_id("aB3x") == film_id("Ab3x") == "ab3x"


def test_an_id_that_is_made_to_be_costly_stays_as_it_is():
    costly = "'" * 1_000_000

    assert film_id(costly) == costly
    assert film_id("1e999999999") == "1e999999999"


COLUMNS = {"text": "A text", "label": "positive", "written_on": "2026-01-05"}
AS_CSV = ["1000.0", "1000.", "1e3", " 1000", "\u200b1000"]
AS_JSON = [1000, 1000.0, "1000", "1000.0", "&#49;000"]
AS_PARQUET = [
    pa.array([1000] * 5),
    pa.array([1000.0] * 5),
    pa.array([Decimal(1000)] * 5, pa.decimal128(38, 0)),
    pa.array([Decimal("1000.00")] * 5, pa.decimal256(60, 2)),
    pa.array([Decimal(1000)] * 5, pa.decimal128(4, 0)),
    pa.array([Decimal("1000.0")] * 5, pa.decimal128(38, 10)),
    pa.array([Decimal(1000)] * 5, pa.decimal128(18, 0)).dictionary_encode(),
    pa.array([1000] * 5, pa.uint16()),
    pa.array([1000.0] * 5, pa.float16()),
    pa.array([b"1000"] * 5),
    pa.array(["1000"] * 5, pa.large_string()),
    pa.array(["1000"] * 5).dictionary_encode(),
    pa.array(["1000"] * 5, pa.string_view()),
]


def test_a_csv_of_pandas_and_json_have_the_same_films():
    csv = "".join(
        f"{place},A text,positive,2026-01-05,{film}\n" for place, film in enumerate(AS_CSV)
    )
    lines = [COLUMNS | {"review_id": film, "movie_id": film} for film in AS_JSON]
    jsonl = "".join(json.dumps(line) + "\n" for line in lines)

    head = "review_id,text,label,written_on,movie_id\n"
    of_csv = decode((head + csv).encode(), "csv", is_gzipped=False, intake=INTAKE)
    of_json = decode(jsonl.encode(), "jsonl", is_gzipped=False, intake=INTAKE)

    assert of_csv.movie_id == of_json.movie_id == of_json.review_id == ["1000"] * 5


@pytest.mark.parametrize("written", ["NaN", "null", "Infinity", "-Infinity"])
def test_what_pandas_writes_into_json_for_no_value_is_missing(written):
    line = (
        f'{{"review_id": {written}, "movie_id": {written}, "text": {written}, "rating": {written}, '
        '"label": "positive", "written_on": "2026-01-05"}\n'
    )

    rows = decode(line.encode(), "jsonl", is_gzipped=False, intake=INTAKE)

    assert (rows.review_id, rows.movie_id, rows.rating) == ([None], [None], [None])
    assert not rows.text[0]


@pytest.mark.parametrize("films", AS_PARQUET, ids=lambda films: str(films.type))
def test_parquet_of_every_type_has_the_same_films(films):
    rest = {name: [value] * 5 for name, value in COLUMNS.items()}
    file = io.BytesIO()
    pq.write_table(pa.table({**rest, "review_id": films, "movie_id": films}), file)

    rows = decode(file.getvalue(), "parquet", is_gzipped=False, intake=INTAKE)

    assert rows.movie_id == rows.review_id == ["1000"] * 5
    assert rows.faults == [()] * 5


def test_a_uuid_of_parquet_is_the_one_of_a_csv():
    ids = [uuid.UUID(int=number) for number in range(2)]
    storage = pa.array([each.bytes for each in ids], pa.binary(16))
    rest = {name: [value] * 2 for name, value in COLUMNS.items()}
    file = io.BytesIO()
    pq.write_table(
        pa.table({**rest, "review_id": pa.ExtensionArray.from_storage(pa.uuid(), storage)}), file
    )

    rows = decode(file.getvalue(), "parquet", is_gzipped=False, intake=INTAKE)

    assert rows.review_id == [str(each) for each in ids]
