import csv
import gzip
import io
import itertools
import json
from datetime import date
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.errors import SourceError
from pipelines.simulation.damage import DELIVERED_SCHEMA, DamageKind, damage, flip_labels
from pipelines.simulation.film_site import DroppedFile, encode, simulate
from pipelines.simulation.made_up import REVIEW_SCHEMA
from pipelines.simulation.plans import (
    Again,
    DeliveryPlan,
    Format,
    NightPlan,
    demo_nights,
    even_nights,
)

NIGHT = date(2026, 1, 5)
FORMATS: tuple[Format, ...] = get_args(Format)


def some_reviews(rows: int) -> pa.Table:
    numbers = range(rows)
    columns = [
        [None if number % 5 == 0 else f"tt{number:07d}" for number in numbers],
        [f"Review {number}, a “fine” one." for number in numbers],
        ["positive" if number % 2 else "negative" for number in numbers],
        [None if number % 7 == 0 else 8 if number % 2 else 3 for number in numbers],
    ]
    return pa.table(columns, schema=REVIEW_SCHEMA)


def some_rows(rows: int) -> pa.Table:
    delivery = next(
        simulate(some_reviews(rows), [a_night(DeliveryPlan("web", rows, "parquet"))], seed=1)
    )
    return pq.read_table(pa.BufferReader(delivery.body))


def a_night(*plans: DeliveryPlan, night: date = NIGHT) -> NightPlan:
    return NightPlan(night, plans)


def decoded(body: bytes, file_format: str) -> list[dict[str, Any]]:
    """Read with other means than it was written with; every CSV value is text."""
    kind, _, packing = file_format.partition(".")
    plain = gzip.decompress(body) if packing else body
    if kind == "csv":
        return list(csv.DictReader(io.StringIO(plain.decode(), newline=""), strict=True))
    if kind == "jsonl":
        return [json.loads(line) for line in plain.decode().split("\n")[:-1]]
    rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(plain)).to_pylist()
    return rows


def texts_of(deliveries: list[DroppedFile]) -> list[str]:
    return [
        row["text"]
        for delivery in deliveries
        for row in decoded(delivery.body, delivery.key.partition(".")[2])
    ]


# ── Dealing ──────────────────────────────────────────────────────────────────────────────────


def test_a_delivery_has_a_key_and_rows_that_say_where_and_when() -> None:
    nights = [a_night(DeliveryPlan("web", 3, "jsonl"), DeliveryPlan("web", 2, "csv.gz"))]

    first, second = simulate(some_reviews(5), nights, seed=1)

    assert first.key == "landing/web/2026-01-05/reviews-1.jsonl"
    assert second.key == "landing/web/2026-01-05/reviews-2.csv.gz"
    assert (first.rows, first.night) == (3, NIGHT)
    rows = decoded(first.body, "jsonl")
    assert list(rows[0]) == ["review_id", "movie_id", "text", "label", "rating", "written_on"]
    assert [row["review_id"] for row in rows] == [
        "web-2026-01-05-000001",
        "web-2026-01-05-000002",
        "web-2026-01-05-000003",
    ]
    assert {row["written_on"] for row in rows} == {"2026-01-05"}


def test_every_row_is_dealt_once() -> None:
    reviews = some_reviews(60)
    nights = even_nights(60, nights=6, rows_per_night=None, first_night=NIGHT)

    dealt = texts_of(list(simulate(reviews, nights, seed=1)))

    assert sorted(dealt) == sorted(reviews["text"].to_pylist())


def test_a_row_keeps_its_film_label_and_rating() -> None:
    reviews = some_reviews(40)
    by_text = {row["text"]: row for row in reviews.to_pylist()}

    (delivery,) = simulate(reviews, [a_night(DeliveryPlan("web", 40, "jsonl.gz"))], seed=1)

    for row in decoded(delivery.body, "jsonl.gz"):
        original = by_text[row["text"]]
        assert {name: row[name] for name in original} == original


def test_the_same_seed_gives_the_same_bytes() -> None:
    nights = [a_night(DeliveryPlan("web", 20, name, dirty_share=0.5)) for name in FORMATS]

    first, second = (list(simulate(some_reviews(120), nights, seed=4)) for _ in range(2))

    assert first == second


def test_another_seed_deals_in_another_order() -> None:
    nights = [a_night(DeliveryPlan("web", 50, "jsonl"))]

    first, second = (
        texts_of(list(simulate(some_reviews(50), nights, seed=seed))) for seed in (1, 2)
    )

    assert first != second
    assert sorted(first) == sorted(second)


def test_the_plan_does_not_change_the_order() -> None:
    whole = [a_night(DeliveryPlan("web", 40, "csv"))]
    parted = [a_night(DeliveryPlan("a", 15, "jsonl"), DeliveryPlan("b", 25, "parquet.gz"))]

    orders = [texts_of(list(simulate(some_reviews(40), plan, seed=1))) for plan in (whole, parted)]

    assert orders[0] == orders[1]


def test_more_rows_than_there_are_is_an_error_before_the_first_delivery() -> None:
    nights = even_nights(100, nights=2, rows_per_night=50, first_night=NIGHT)

    with pytest.raises(
        SourceError, match="the 2 planned nights need 100 reviews, the source has 99"
    ):
        simulate(some_reviews(99), nights, seed=1)


def test_bodies_are_made_one_at_a_time() -> None:
    unknown_format: Any = "xml"
    nights = [a_night(DeliveryPlan("web", 2, "csv"), DeliveryPlan("web", 2, unknown_format))]

    deliveries = simulate(some_reviews(4), nights, seed=1)

    assert next(deliveries).rows == 2
    with pytest.raises(KeyError, match="xml"):
        next(deliveries)


# ── Formats ──────────────────────────────────────────────────────────────────────────────────

anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
hostile = st.one_of(
    anything, st.sampled_from(['"', '""', "\r", "\n,", "\0", "\ufeff", "\u2028", ","])
)
hostile_rows = st.lists(
    st.fixed_dictionaries(
        {
            "review_id": hostile,
            "movie_id": st.none() | hostile,
            "text": st.none() | hostile,
            "label": hostile,
            "rating": st.none() | st.integers(1, 10),
            "written_on": hostile,
        }
    ),
    max_size=5,
)


@settings(deadline=None, max_examples=60)
@given(rows=hostile_rows, file_format=st.sampled_from(FORMATS))
def test_any_text_comes_back_as_it_was(rows: list[dict[str, Any]], file_format: Format) -> None:
    body = encode(pa.Table.from_pylist(rows, schema=DELIVERED_SCHEMA), file_format)

    as_text = [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows]

    assert decoded(body, file_format) == (as_text if file_format.startswith("csv") else rows)


def test_csv_tells_null_from_an_empty_text() -> None:
    body = encode(pa.table({"a": ["", None, 'say "x"'], "b": [1, 2, 3]}), "csv")

    assert body == b'"a","b"\n"",1\n,2\n"say ""x""",3\n'


def test_jsonl_keeps_null_and_accents() -> None:
    body = encode(pa.table({"a": pa.array(["é", None]), "b": [1, 2]}), "jsonl")

    assert body == '{"a": "é", "b": 1}\n{"a": null, "b": 2}\n'.encode()


def test_gzip_carries_neither_a_time_nor_a_name() -> None:
    body = encode(some_rows(3), "csv.gz")

    flags, modified = body[3], body[4:8]
    assert (flags, modified) == (0, b"\0\0\0\0")


# ── Faults and damage ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_a_changed_schema_calls_the_text_body_and_numbers_the_labels(file_format: Format) -> None:
    plan = DeliveryPlan("web", 4, file_format, fault="schema_changed")

    (delivery,) = simulate(some_reviews(4), [a_night(plan)], seed=1)

    rows = decoded(delivery.body, file_format)
    assert list(rows[0]) == ["review_id", "movie_id", "body", "label", "rating", "written_on"]
    assert sorted(row["label"] for row in rows) == [0, 0, 1, 1]
    odd = {row["body"] for row in rows if row["label"] == 1}
    assert odd == {"Review 1, a “fine” one.", "Review 3, a “fine” one."}


@pytest.mark.parametrize(
    ("file_format", "error"), [("csv.gz", EOFError), ("parquet", pa.ArrowInvalid)]
)
def test_a_truncated_delivery_is_the_first_60_percent_of_the_whole(
    file_format: Format, error: type[Exception]
) -> None:
    whole_plan = DeliveryPlan("web", 50, file_format)
    cut_plan = DeliveryPlan("web", 50, file_format, fault="truncated")

    (whole,), (cut,) = (
        list(simulate(some_reviews(50), [a_night(plan)], seed=1)) for plan in (whole_plan, cut_plan)
    )

    assert cut.body == whole.body[: len(whole.body) * 6 // 10]
    with pytest.raises(error):
        decoded(cut.body, file_format)


def test_as_many_rows_are_damaged_as_asked_for_and_no_other() -> None:
    rows = some_rows(200)

    damaged, what = damage(rows, share=0.12, rng=np.random.default_rng(1))

    pairs = zip(rows.to_pylist(), damaged.to_pylist(), strict=True)
    changed = [place for place, (before, after) in enumerate(pairs) if before != after]
    assert len(what) == 24
    assert changed == [place for place, _ in what]
    assert damaged.schema.equals(DELIVERED_SCHEMA)


def test_all_kinds_of_damage_take_turns() -> None:
    _, what = damage(some_rows(100), share=0.16, rng=np.random.default_rng(1))

    assert [kind for _, kind in what] == [*get_args(DamageKind), *get_args(DamageKind)]


def test_each_kind_of_damage_does_what_its_name_says() -> None:
    rows = some_rows(9)

    damaged, what = damage(rows, share=1, rng=np.random.default_rng(1))

    before = {kind: rows.to_pylist()[place] for place, kind in what}
    after = {kind: damaged.to_pylist()[place] for place, kind in what}
    assert after["empty_text"]["text"] == ""
    assert after["null_text"]["text"] is None
    assert after["unknown_label"]["label"] == "maybe"
    contradicting = after["contradicting_label"]
    assert (contradicting["label"], contradicting["rating"]) == ("positive", 1)
    assert after["html"]["text"] == (
        f'<div class="x"><script>alert(1)</script>{before["html"]["text"]}</div>'
    )
    assert all(seen in after["mojibake"]["text"] for seen in ("Ã©", "â€™", "â€œ", "Ã¯"))
    assert after["duplicate_text"]["text"] == damaged["text"][0].as_py()
    assert after["duplicate_text"]["review_id"] == before["duplicate_text"]["review_id"]
    assert after["future_date"]["written_on"] == "2999-01-01"


def test_a_repeated_text_always_has_an_earlier_whole_row() -> None:
    rows = some_rows(60)

    for seed, share in itertools.product(range(20), (0.2, 0.9, 1.0)):
        damaged, what = damage(rows, share=share, rng=np.random.default_rng(seed))
        texts, touched = damaged["text"].to_pylist(), dict(what)
        for place in (place for place, kind in what if kind == "duplicate_text"):
            earlier = texts.index(texts[place])
            assert earlier < place
            assert earlier not in touched


def test_damage_leaves_the_rows_it_was_given_as_they_were() -> None:
    rows = some_rows(20)
    before = rows.to_pylist()

    damage(rows, share=0.5, rng=np.random.default_rng(1))

    assert rows.to_pylist() == before


@pytest.mark.parametrize(("rows", "share"), [(0, 0.5), (1, 1.0), (20, 0.0)])
def test_nothing_is_damaged_where_nothing_can_be(rows: int, share: float) -> None:
    _, what = damage(some_rows(rows), share=share, rng=np.random.default_rng(1))

    assert what == []


def test_a_dirty_delivery_is_damaged_by_its_share() -> None:
    plan = DeliveryPlan("web", 100, "jsonl", dirty_share=0.08)

    (delivery,) = simulate(some_reviews(100), [a_night(plan)], seed=1)

    rows = decoded(delivery.body, "jsonl")
    assert sum(row["text"] is None for row in rows) == 1
    assert sum(row["label"] == "maybe" for row in rows) == 1
    assert sum(row["written_on"] == "2999-01-01" for row in rows) == 1


# ── Turned labels ────────────────────────────────────────────────────────────────────────────


def turned(before: pa.Table, after: pa.Table) -> list[str]:
    """The labels before, of the rows that were turned round."""
    pairs = zip(before["label"].to_pylist(), after["label"].to_pylist(), strict=True)
    return [old for old, new in pairs if old != new]


@pytest.mark.parametrize(("share", "of_each"), [(0.0, 0), (0.3, 15), (1.0, 50)])
def test_as_many_labels_of_each_class_are_turned_round(share: float, of_each: int) -> None:
    rows = some_rows(100)

    flipped = turned(rows, flip_labels(rows, share=share, rng=np.random.default_rng(1)))

    assert sorted(flipped) == ["negative"] * of_each + ["positive"] * of_each


def test_turned_labels_show_in_nothing_but_the_label_and_the_mirrored_rating() -> None:
    rows = some_rows(60)

    after = flip_labels(rows, share=1.0, rng=np.random.default_rng(1))

    unturned = ["review_id", "movie_id", "text", "written_on"]
    assert after.select(unturned).equals(rows.select(unturned))
    assert after.schema.equals(DELIVERED_SCHEMA)
    for old, new in zip(rows["rating"].to_pylist(), after["rating"].to_pylist(), strict=True):
        assert new == (None if old is None else 11 - old)


def test_the_larger_class_keeps_what_the_smaller_one_lacks() -> None:
    rows = some_rows(60)
    is_positive = [label == "positive" for label in rows["label"].to_pylist()]
    few = np.flatnonzero(is_positive)[:10].tolist()
    uneven = rows.take([*few, *np.flatnonzero(np.logical_not(is_positive)).tolist()])

    after = flip_labels(uneven, share=1.0, rng=np.random.default_rng(1))

    assert sorted(turned(uneven, after)) == ["negative"] * 10 + ["positive"] * 10
    assert after["label"].to_pylist().count("positive") == 10


# ── Sent again ───────────────────────────────────────────────────────────────────────────────


def test_a_file_sent_again_is_whole_and_dated_for_the_night_it_repairs() -> None:
    again = (Again(1, 6), Again(2, 2))
    nights = [
        a_night(DeliveryPlan("app", 5, "jsonl", dirty_share=0.8)),
        a_night(DeliveryPlan("app", 6, "jsonl", fault="truncated"), night=date(2026, 1, 6)),
        a_night(DeliveryPlan("app", 1, "jsonl", again=again), night=date(2026, 1, 7)),
    ]

    _, _, repaired = simulate(some_reviews(12), nights, seed=1)

    assert (repaired.key, repaired.rows) == ("landing/app/2026-01-06/reviews-2.jsonl", 9)
    assert repaired.night == date(2026, 1, 7)
    assert [row["review_id"][4:] for row in decoded(repaired.body, "jsonl")] == [
        "2026-01-07-000012",
        *(f"2026-01-06-{number:06d}" for number in range(6, 12)),
        "2026-01-05-000001",
        "2026-01-05-000002",
    ]
    assert all(row["text"].startswith("Review ") for row in decoded(repaired.body, "jsonl"))


# ── Plans ────────────────────────────────────────────────────────────────────────────────────


def sizes(nights: tuple[NightPlan, ...]) -> list[list[int]]:
    return [[plan.rows for plan in night.deliveries] for night in nights]


def test_the_full_demo_takes_49_500_reviews_over_ten_nights() -> None:
    nights = demo_nights(50_000, first_night=NIGHT)

    assert sizes(nights) == [
        [10_000, 6_000, 4_000], [5_000], [5_000], [3_000, 1_000, 1_000], [1_000], [0], [],
        [4_500], [4_500], [4_500],
    ]  # fmt: skip
    assert [night.night.day for night in nights] == list(range(5, 15))
    assert nights[2].deliveries[0].dirty_share == 0.03
    assert [plan.fault for plan in nights[3].deliveries] == [None, "schema_changed", "truncated"]
    assert nights[4].deliveries[0].flipped_share == 0.3
    assert nights[5].deliveries[0].again == (Again(2, 1_000), Again(3, 500))
    assert [night.deliveries[0].drifted_words for night in nights[7:]] == [400] * 3


def test_the_first_night_of_the_demo_has_three_sources_in_three_formats() -> None:
    first_night = demo_nights(50_000, first_night=NIGHT)[0]

    assert {plan.source: plan.file_format for plan in first_night.deliveries} == {
        "web": "csv.gz",
        "app": "jsonl.gz",
        "partner": "parquet",
    }


@pytest.mark.parametrize("available_rows", [3_000, 3_001, 10_000, 49_499, 49_500])
def test_a_smaller_demo_fits_and_keeps_250_rows_per_delivery(available_rows: int) -> None:
    nights = demo_nights(available_rows, first_night=NIGHT)
    rows = [count for count in itertools.chain(*sizes(nights)) if count]

    assert available_rows - len(rows) <= sum(rows) <= available_rows
    assert min(rows) >= 250


@pytest.mark.parametrize("available_rows", [3_000, 10_000, 49_500])
def test_what_the_demo_sends_again_was_delivered_before(available_rows: int) -> None:
    nights = demo_nights(available_rows, first_night=NIGHT)
    broken, earlier = nights[5].deliveries[0].again

    assert broken.rows == nights[3].deliveries[1].rows
    assert 250 <= earlier.rows <= nights[2].deliveries[0].rows
    assert earlier.rows / (earlier.rows + broken.rows) > 0.20  # so the file is held at first


def test_a_source_too_small_for_the_demo_is_refused() -> None:
    with pytest.raises(
        SourceError, match=r"at least 250 new reviews \(3,000\), the source has 2,999"
    ):
        demo_nights(2_999, first_night=NIGHT)


def test_even_nights_share_the_rows_out_and_go_round_the_formats() -> None:
    nights = even_nights(700, nights=7, rows_per_night=None, first_night=date(2026, 1, 30))

    assert sizes(nights) == [[100]] * 7
    assert [night.deliveries[0].file_format for night in nights] == [*FORMATS, FORMATS[0]]
    assert [nights[1].night, nights[2].night] == [date(2026, 1, 31), date(2026, 2, 1)]


@pytest.mark.parametrize(("nights", "rows_per_night"), [(0, None), (101, None), (2, 51), (2, 0)])
def test_even_nights_that_cannot_be_filled_are_refused(
    nights: int, rows_per_night: int | None
) -> None:
    with pytest.raises(SourceError, match="cannot be made from 100 reviews"):
        even_nights(100, nights=nights, rows_per_night=rows_per_night, first_night=NIGHT)
