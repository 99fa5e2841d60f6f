import re
from collections import Counter
from statistics import median
from typing import Any

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from pipelines.simulation.made_up import REVIEW_SCHEMA, make_reviews
from tests.support.timing import cpu_seconds

SLOT_OR_DOUBLE_SPACE = re.compile(r"[{}]|  ")


@pytest.fixture(scope="module")
def reviews() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = make_reviews(5000, seed=7).to_pylist()
    return rows


def test_the_same_seed_makes_the_same_reviews() -> None:
    assert make_reviews(300, seed=3).equals(make_reviews(300, seed=3))


def test_another_seed_makes_other_reviews() -> None:
    first, second = make_reviews(300, seed=3), make_reviews(300, seed=4)

    shared = set(first["text"].to_pylist()) & set(second["text"].to_pylist())

    assert shared == set()


@pytest.mark.parametrize("rows", [0, 1, 250])
def test_as_many_reviews_are_made_as_asked_for(rows: int) -> None:
    table = make_reviews(rows, seed=1)

    assert table.num_rows == rows
    assert table.schema.equals(REVIEW_SCHEMA)


def test_the_label_follows_from_the_rating(reviews: list[dict[str, Any]]) -> None:
    pairs = {(review["rating"], review["label"]) for review in reviews}

    assert pairs == {(stars, "negative") for stars in (1, 2, 3, 4)} | {
        (stars, "positive") for stars in (7, 8, 9, 10)
    }


def test_about_half_of_the_reviews_are_positive(reviews: list[dict[str, Any]]) -> None:
    positive = sum(review["label"] == "positive" for review in reviews)

    assert 0.45 < positive / len(reviews) < 0.55


def test_lengths_are_those_of_real_reviews(reviews: list[dict[str, Any]]) -> None:
    words = [len(review["text"].split()) for review in reviews]

    assert 150 <= median(words) <= 190
    assert min(words) >= 25
    assert 700 <= max(words) <= 1000


def test_about_half_of_the_reviews_have_paragraphs(reviews: list[dict[str, Any]]) -> None:
    broken = sum("<br /><br />" in review["text"] for review in reviews)

    assert 0.5 < broken / len(reviews) < 0.6


def test_no_text_is_made_twice(reviews: list[dict[str, Any]]) -> None:
    texts = {review["text"] for review in reviews}

    assert len(texts) == len(reviews)


def test_no_slot_is_left_unfilled(reviews: list[dict[str, Any]]) -> None:
    unfinished = [text for text in reviews if SLOT_OR_DOUBLE_SPACE.search(text["text"])]

    assert unfinished == []


def test_a_few_films_have_most_of_the_reviews(reviews: list[dict[str, Any]]) -> None:
    films = Counter(review["movie_id"] for review in reviews)

    best_known = sum(count for _, count in films.most_common(len(films) // 5))

    assert all(re.fullmatch(r"tt9\d{6}", film) for film in films)
    assert best_known > len(reviews) / 2


def test_the_strongest_words_go_with_the_extreme_ratings(reviews: list[dict[str, Any]]) -> None:
    def share_with(word: str, rating: int) -> float:
        rated = [review["text"] for review in reviews if review["rating"] == rating]
        return sum(word in text for text in rated) / len(rated)

    assert share_with("superb", 10) > 2 * share_with("superb", 7)
    assert share_with("awful", 1) > 2 * share_with("awful", 4)


def test_making_more_reviews_takes_in_proportion() -> None:
    make_reviews(10, seed=1)  # what is prepared once does not count
    few, many = (cpu_seconds(lambda rows=rows: make_reviews(rows, seed=1)) for rows in (300, 3000))

    assert many < 30 * few


@pytest.mark.long
def test_a_classifier_learns_from_them_and_more_of_them_teach_it_more() -> None:
    table = make_reviews(5500, seed=2)
    texts, labels = table["text"].to_pylist(), table["label"].to_pylist()
    losses, accuracies = [], []

    for rows in (1000, 4000):
        # Films with many reviews are on both sides: this asks for a lesson, not for a benchmark.
        words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
        model = LogisticRegression(C=10).fit(words.fit_transform(texts[:rows]), labels[:rows])
        held_out = words.transform(texts[4000:])
        losses.append(log_loss(labels[4000:], model.predict_proba(held_out)))
        accuracies.append(model.score(held_out, labels[4000:]))

    assert losses[1] < losses[0] - 0.05
    assert 0.85 < accuracies[1] < 0.97
