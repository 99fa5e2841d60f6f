"""Slices: what each one is made of, and that no review of a family escapes."""

import numpy as np
import pytest

from pipelines.evaluation.slices import Described, slice_masks


def described(*reviews):
    """Reviews given as (text, rating, source)."""
    texts, ratings, sources = zip(*reviews, strict=True)
    return Described.of(texts, ratings, sources)


def rows_of(reviews, family, *, min_rows=1):
    masks = slice_masks(reviews, [family], min_rows=min_rows)
    return {name: np.flatnonzero(mask).tolist() for name, mask in masks.items()}


def test_length_is_cut_in_thirds():
    reviews = described(*[("x" * length, 9, "web") for length in (60, 10, 50, 20, 40, 30)])

    assert rows_of(reviews, "length") == {
        "length=short": [1, 3], "length=medium": [4, 5], "length=long": [0, 2],
    }  # fmt: skip


@pytest.mark.parametrize("word", ["not", "Never", "isn't", "nothing", "CANNOT", "neither"])
def test_negation_is_recognised_as_a_word(word):
    reviews = described((f"It is {word} that.", 9, "web"), ("A knotty note.", 9, "web"))

    assert rows_of(reviews, "negation") == {"negation=with": [0], "negation=without": [1]}


@pytest.mark.parametrize("text", ["A \u0130NOT thing.", "The \u0130but film."])
def test_a_letter_that_grows_in_lower_case_ends_no_word(text):
    reviews = described((text, 9, "web"))

    assert rows_of(reviews, "negation")["negation=with"] == []
    assert rows_of(reviews, "contrast")["contrast=with"] == []


@pytest.mark.parametrize("word", ["but", "However", "although", "despite"])
def test_contrast_is_recognised_as_a_word(word):
    reviews = described((f"Slow, {word} good.", 9, "web"), ("A button, a rebuttal.", 9, "web"))

    assert rows_of(reviews, "contrast") == {"contrast=with": [0], "contrast=without": [1]}


def test_mild_and_extreme_ratings():
    reviews = described(*[("x", stars, "web") for stars in (1, 4, 7, 10, 3, None)])

    assert rows_of(reviews, "rating") == {"rating=mild": [1, 2], "rating=extreme": [0, 3]}


def test_without_any_rating_the_slices_are_there_and_empty():
    assert rows_of(described(("x", None, "web")), "rating") == {
        "rating=mild": [], "rating=extreme": [],
    }  # fmt: skip


def test_small_sources_are_joined_until_they_can_be_judged():
    reviews = described(*[("x", 9, "web")] * 5, *[("x", 9, "app")] * 2, *[("x", 9, "tv")] * 1)

    assert rows_of(reviews, "source", min_rows=3) == {
        "source=app+tv": [5, 6, 7], "source=web": [0, 1, 2, 3, 4],
    }  # fmt: skip


def test_a_rest_that_is_too_small_joins_the_largest_source():
    reviews = described(*[("x", 9, "web")] * 5, *[("x", 9, "app")] * 2)

    assert rows_of(reviews, "source", min_rows=3) == {"source=app+web": [0, 1, 2, 3, 4, 5, 6]}


@pytest.mark.parametrize("family", ["length", "negation", "contrast", "source"])
def test_no_review_escapes(family):
    rng = np.random.default_rng(3)
    words = ["not", "but", "film", "good"]
    reviews = described(
        *[
            (" ".join(rng.choice(words, 1 + row % 7)), 9, str(rng.choice(["a", "b", "c"])))
            for row in range(50)
        ]
    )

    rows_by_slice = rows_of(reviews, family, min_rows=20)

    assert sorted(row for rows in rows_by_slice.values() for row in rows) == list(range(50))
