"""The columns of known n-grams are those that sets and loops find."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.features.fingerprint_index import FingerprintIndex, known_marks
from tests.support.made.made_features import LATE, MARKED_SETS, some_reviews, values_of


@settings(max_examples=150, deadline=None)
@given(
    st.sets(st.integers(0, 2**16 - 1), max_size=60),
    st.lists(st.integers(0, 2**16 - 1), max_size=60),
)
@example(set(range(2**16 - 5, 2**16)), [2**16 - 1, 0])
def test_the_index_finds_what_a_set_finds_in_any_order(vocabulary, queries):
    entries = list(vocabulary)
    ids = np.array([*queries, *entries], np.uint64)

    positions, is_known = FingerprintIndex(np.array(entries, np.uint64), 16).find(ids)

    assert is_known.tolist() == [fp in vocabulary for fp in ids.tolist()]
    answers = zip(positions.tolist(), is_known, ids.tolist(), strict=True)
    assert all(entries[at] == fp for at, known, fp in answers if known)


@settings(max_examples=150, deadline=None)
@given(
    st.sets(st.integers(0, 2**16 - 1), max_size=60),
    st.lists(st.integers(0, 2**16 - 1), max_size=60),
)
def test_a_place_is_that_of_a_search_of_the_ascending_vocabulary(vocabulary, queries):
    index = FingerprintIndex(np.array(list(vocabulary), np.uint64), 16)

    places, is_known = index.places(np.array(queries, np.uint64))

    assert places.tolist() == np.searchsorted(sorted(vocabulary), queries).tolist()
    assert is_known.tolist() == [own in vocabulary for own in queries]


@pytest.mark.parametrize("bits", [40, 63, 64], ids=lambda bits: f"{64 - bits}-spare-bits")
def test_the_index_finds_all_whether_or_not_a_column_fits_beside_a_fingerprint(bits):
    vocabulary = np.random.default_rng(0).permutation(2**bits - 1 - 7 * np.arange(9, dtype=object))

    positions, is_known = FingerprintIndex(vocabulary.astype(np.uint64), bits).find(
        vocabulary.astype(np.uint64)
    )

    assert is_known.all()
    assert positions.tolist() == list(range(9))


@settings(max_examples=150, deadline=None)
@given(MARKED_SETS, MARKED_SETS)
def test_looking_reviews_up_marks_what_is_known(known_sets, sets):
    vocabulary = sorted(set().union(*known_sets))
    index = FingerprintIndex(np.array(vocabulary, np.uint64), 40)

    marks = known_marks(index, some_reviews(sets))

    matrix = marks.matrix(len(vocabulary), LATE)
    assert matrix.toarray().tolist() == values_of(sets, vocabulary)
    assert matrix.dtype == np.float32
