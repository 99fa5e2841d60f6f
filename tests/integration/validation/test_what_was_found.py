"""A refusal names values, types and counts; each reason code has its count on the pages."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from html import unescape
from typing import Any

import pytest

from pipelines.core.config import CONFIG_FOLDER, load
from pipelines.core.settings.settings import Settings
from pipelines.intake.landing import delivery_digest, parse_name
from pipelines.intake.partitions import read_partition
from pipelines.records.deliveries import Delivery
from pipelines.records.validations import MOST_DISPUTED_CHARS, Validation
from pipelines.simulation.made_up import make_reviews
from pipelines.validation import report, validate
from pipelines.validation.drift import Labeller
from tests.support.in_memory import InMemory
from tests.support.made.builders import landing_key

DAY = "2026-01-05"
DEFAULTS = load(CONFIG_FOLDER / "default.toml")
Row = dict[str, Any]


def good_rows() -> list[Row]:
    reviews = make_reviews(40, seed=3).to_pylist()
    return [
        {"review_id": f"r-{place}", **row, "written_on": DAY} for place, row in enumerate(reviews)
    ]


def as_csv(rows: list[Row]) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def judged(
    body: bytes, settings: Settings = DEFAULTS, labeller: Labeller | None = None
) -> tuple[InMemory, Delivery, Validation]:
    reviews, key = InMemory(), landing_key("a.csv", night=DAY)
    sha256 = delivery_digest(parse_name(key), body).hexdigest()
    reviews.put_once(f"deliveries/{sha256}/raw", body)
    delivery = Delivery(
        sha256=sha256, source="web", landing_key=key, file_format="csv", is_gzipped=False,
        size_bytes=len(body), night=DAY, raw_key=f"deliveries/{sha256}/raw",
    )  # fmt: skip
    return (
        reviews,
        delivery,
        validate.validate(reviews, delivery, settings, before=DAY, labeller=labeller)[1],
    )


def changed(change: Callable[[Row, int], Row]) -> bytes:
    return as_csv([row | change(row, place) for place, row in enumerate(good_rows())])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(
            changed(lambda _, place: {"written_on": "20/11/2026" if place % 2 else ""}),
            ["date_invalid: 40 of 40 rows have no readable date", "'no value' (20)",
             "'20/11/2026' (20)"], id="dates",
        ),
        pytest.param(
            changed(lambda row, _: {"label": "gut" if row["label"] == "positive" else "1"}),
            ["label_unknown: 40 of 40 rows have a label outside the set", "'gut' (", "'1' ("],
            id="labels",
        ),
        pytest.param(
            changed(lambda *_: {"rating": "9/10"}), ["rating_invalid: 40 of 40", "'9/10' (40)"],
            id="ratings",
        ),
        pytest.param(
            as_csv(good_rows()).replace(b"\r\n", b",x\r\n").replace(b",x", b"", 1),
            ["malformed_row: 40 of 40 rows", "'7 fields where the header has 6' (40)"], id="rows",
        ),
    ],
)  # fmt: skip
def test_a_held_delivery_says_which_values_it_holds_and_how_often(body, words):
    _, delivery, validation = judged(body)

    page = report.render(validation, delivery, None).replace("&#39;", "'")

    assert validation.verdict == "HELD"
    for word in words:
        assert word in validation.why
        assert word.partition(": ")[2] in page


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("text_escaped", lambda text: text.replace("the", "&#116;he")),
        ("text_html", lambda text: f"<p>{text}</p>"),
        ("text_mojibake", lambda text: text + " It\u2019s \u00c9tat".encode().decode("cp1252")),
        ("text_missing", lambda text: "\u200b" * len(text)),
    ],
)
def test_a_night_in_which_most_rows_are_of_a_form_is_held(code, change):
    body = changed(lambda row, place: {"text": change(row["text"])} if place % 4 else {})

    _, delivery, validation = judged(body)

    assert validation.verdict == "HELD"
    assert validation.reasons == {code: 30}
    page = report.render(validation, delivery, None)
    assert f'<td>{code}<td>row<td>30<td class="words">30 of 40 rows' in page


def test_neutral_reviews_are_left_out_and_counted_and_hold_nothing():
    settings = Settings.model_validate(
        DEFAULTS.model_dump()
        | {
            "sources": {
                "web": {
                    "columns": {"label": ["stars"]},
                    "labels": {"positive_from_stars": 4.0, "negative_to_stars": 2.0},
                }
            }
        }
    )
    rows = [
        {name: value for name, value in row.items() if name not in {"label", "rating"}}
        | {"stars": (1, 3, 5, 2)[place % 4]}
        for place, row in enumerate(good_rows())
    ]

    reviews, _, validation = judged(as_csv(rows), settings)

    assert (validation.verdict, validation.reasons) == ("PARTLY_ACCEPTED", {"label_neutral": 10})
    assert (validation.accepted_rows, validation.quarantined_rows) == (30, 10)
    kept = read_partition(reviews, validation.accepted).to_pylist()
    assert [row["label"] for row in kept[:3]] == [0, 1, 0]


def test_films_that_are_missing_in_any_spelling_are_missing_and_numbers_are_one():
    films = ["nan", "None", "<NA>", "\\N", "1000.0", "1e3", "1000", "\u200b1000"]
    body = changed(lambda _, place: {"movie_id": films[place % 8]})

    reviews, _, validation = judged(body)

    kept = read_partition(reviews, validation.accepted).column("movie_id").to_pylist()
    assert validation.verdict == "ACCEPTED"
    assert kept == [None, None, None, None, "1000", "1000", "1000", "1000"] * 5


class Doubtful:
    """A champion that disputes every label, the later in the file the surer."""

    version, holdout_accuracy, holdout_rows = "0" * 20, 0.9, 1000

    def __init__(self, rows: list[Row]) -> None:
        self._sides = {
            row["text"]: (place + 1) / 100 * (-1 if row["label"] == "positive" else 1)
            for place, row in enumerate(rows)
        }

    def positive_scores(self, texts: Sequence[str]) -> list[float]:
        return [0.5 + self._sides[text] for text in texts]


def test_disputed_rows_come_surest_first_and_can_be_read_whole():
    limits = DEFAULTS.validation.model_copy(update={"drift_min_rows": 20})
    rows = good_rows()
    spare = " ".join(row["text"] for row in make_reviews(80, seed=4).to_pylist())
    rows[38]["text"], rows[39]["text"] = spare[:1_500], spare[1_500 : 2_000 + MOST_DISPUTED_CHARS]

    _, delivery, validation = judged(
        as_csv(rows), DEFAULTS.model_copy(update={"validation": limits}), Doubtful(rows)
    )
    page = report.render(validation, delivery, None)

    assert [row.row for row in validation.disputed] == list(range(39, 19, -1))
    assert [len(row.text) for row in validation.disputed[:2]] == [MOST_DISPUTED_CHARS, 1_500]
    assert validation.disputed[1].text == rows[38]["text"]
    summary, _, rest = page.partition("<details><summary>")[2].partition('<span class="more">')
    text, rest = rest.partition("</summary>")[2].split("</details>", 1)
    assert unescape(summary + text) == rows[39]["text"][:MOST_DISPUTED_CHARS]
    assert rest.count("<details>") == sum(len(row.text) > 240 for row in validation.disputed[1:])
