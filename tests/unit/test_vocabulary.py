"""Vocabulary and presence equal those of sets and loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.fingerprints import Fingerprints
from pipelines.vocabulary import FingerprintIndex, known_columns, presence, presence_of, seen_in

SETS = st.lists(st.sets(st.integers(0, 30) | st.integers(2**40 - 5, 2**40 - 1)), max_size=12)


def some_reviews(sets: list[set[int]], bits: int = 40) -> Fingerprints:
    ids = [fp for review in sets for fp in sorted(review)]
    lengths = [len(review) for review in sets]
    return Fingerprints(np.array(ids, np.uint64), np.array(lengths, np.int64), 1, bits)


def reference(sets: list[set[int]], min_df: int) -> tuple[list[int], list[list[float]]]:
    every = sorted(set().union(*sets))
    known = [fp for fp in every if sum(fp in review for review in sets) >= min_df]
    return known, [[float(fp in review) for fp in known] for review in sets]


@settings(max_examples=150, deadline=None)
@given(
    st.sets(st.integers(0, 2**16 - 1), max_size=60),
    st.lists(st.integers(0, 2**16 - 1), max_size=60),
)
@example(set(range(2**16 - 5, 2**16)), [2**16 - 1, 0])
def test_the_index_finds_what_a_set_finds(vocabulary, wanted):
    entries = sorted(vocabulary)
    ids = np.array([*wanted, *entries], np.uint64)

    positions, is_known = FingerprintIndex(np.array(entries, np.uint64), 16).find(ids)

    assert is_known.tolist() == [fp in vocabulary for fp in ids.tolist()]
    found = zip(positions.tolist(), is_known, ids.tolist(), strict=True)
    assert all(entries[at] == fp for at, known, fp in found if known)


@settings(max_examples=150, deadline=None)
@given(SETS, st.integers(1, 3))
@example([], 1)
@example([set(), set()], 1)
def test_one_sort_finds_what_counting_finds(sets, min_df):
    reviews = some_reviews(sets)

    vocabulary, ones = presence_of(reviews, min_df)

    known, marks = reference(sets, min_df)
    assert vocabulary.tolist() == seen_in(reviews.ids, min_df).tolist() == known
    assert ones.toarray().tolist() == marks
    assert ones.has_sorted_indices
    assert ones.dtype == np.float32


@settings(max_examples=150, deadline=None)
@given(SETS, SETS)
def test_looking_reviews_up_marks_what_is_known(known_sets, sets):
    vocabulary = sorted(set().union(*known_sets))
    index = FingerprintIndex(np.array(vocabulary, np.uint64), 40)

    columns, bounds = known_columns(index, some_reviews(sets))

    marks = presence(columns, bounds, len(vocabulary)).toarray()
    assert marks.tolist() == [[float(fp in review) for fp in vocabulary] for review in sets]


def test_more_reviews_than_fit_beside_the_bits_are_refused():
    reviews = Fingerprints(np.empty(0, np.uint64), np.zeros(2**20 + 1, np.int64), 1, 44)

    with pytest.raises(ValueError, match="1,048,577 reviews do not fit beside 44 bits"):
        presence_of(reviews, 1)
