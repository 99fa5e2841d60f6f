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


@settings(max_examples=150, deadline=None)
@given(
    st.sets(st.integers(0, 2**16 - 1), max_size=60),
    st.lists(st.integers(0, 2**64 - 1), max_size=60),
    st.sampled_from([16, 40]),
)
def test_no_hash_of_a_known_fingerprint_is_left_out(vocabulary, others, bits):
    index = FingerprintIndex(np.array(list(vocabulary), np.uint64), bits)
    below = np.uint64(64 - bits)
    known = np.array([own << int(below) for own in vocabulary], np.uint64)
    hashes = np.concatenate([known, known | np.uint64(1), np.array(others, np.uint64)])

    may_hold = index.may_hold(hashes)

    assert may_hold[: 2 * len(known)].all()
    _, is_known = index.places(hashes >> below)
    assert not np.any(is_known & ~may_hold)


def test_most_unknown_hashes_are_left_out():
    rng = np.random.default_rng(3)
    vocabulary = np.unique(rng.integers(0, 2**40, 100_000, np.uint64))

    may_hold = FingerprintIndex(vocabulary, 40).may_hold(rng.integers(0, 2**64, 100_000, np.uint64))

    assert may_hold.mean() < 0.15


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
