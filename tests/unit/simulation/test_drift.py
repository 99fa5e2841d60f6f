"""What people write changes; nothing in a review is wrong."""

import numpy as np
import pyarrow as pa

from pipelines.simulation.drift import drifted, new_words, replaced, strongest_of, strongest_words
from pipelines.simulation.film_site import simulate
from pipelines.simulation.made_up import make_reviews
from pipelines.simulation.plans import DeliveryPlan, NightPlan
from tests.unit.simulation.test_film_site import NIGHT, decoded, some_rows


def test_the_strongest_words_are_those_of_praise_or_blame():
    texts = ["a great film", "a great plot", "a bad film", "a bad, bad plot"]

    assert set(strongest_words(texts, [True, True, False, False], 2)) == {"great", "bad"}


def test_words_are_found_over_the_whole_table_however_it_is_sorted():
    reviews = make_reviews(400, seed=1)
    by_label = reviews.take(pa.array(np.argsort(reviews["label"].to_pylist(), kind="stable")))

    strongest = strongest_of(by_label, 10, most_rows=200)

    assert {"awful", "terrible", "superb", "brilliant"} & set(strongest)
    assert "the" not in strongest


def test_whole_words_are_replaced_in_any_case_and_everything_else_stays():
    assert replaced("Bad, BAD!  A badge.", new_words(["bad"])) == "daboo, daboo!  A badge."


def test_negative_reviews_are_left_out_until_the_positive_have_their_share():
    rows = some_rows(200)  # half of them positive

    changed = drifted(
        rows, new_words(["fine"]), positive_share=0.8, rng=np.random.default_rng(1)
    )  # fmt: skip

    labels = changed["label"].to_pylist()
    assert (labels.count("positive"), labels.count("negative")) == (100, 25)
    assert all("enifoo" in text for text in changed["text"].to_pylist())
    assert changed.schema == rows.schema
    whole = {row["review_id"]: row for row in rows.to_pylist()}
    for row in changed.to_pylist():
        assert {**row, "text": ""} == {**whole[row["review_id"]], "text": ""}


def test_a_drifted_delivery_is_the_same_in_every_run_and_leaves_the_others_alone():
    reviews = make_reviews(600, seed=1)

    def bodies(drifted_words):
        plans = [DeliveryPlan("web", 300, "jsonl"),
                 DeliveryPlan("app", 300, "jsonl", drifted_words=drifted_words)]  # fmt: skip
        return [file.body for file in simulate(reviews, [NightPlan(NIGHT, tuple(plans))], seed=1)]

    before, after = bodies(0), bodies(20)

    assert after == bodies(20)
    assert after[0] == before[0]
    rows = decoded(after[1], "jsonl")
    positive = sum(row["label"] == "positive" for row in rows)
    assert abs(positive / len(rows) - 0.65) < 0.01
    assert len(rows) < 300
