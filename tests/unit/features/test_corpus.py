"""A corpus equals what sets and loops find, whether it is made at once or night by night."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.features import occurrences as corpus_module
from pipelines.features.corpus import Corpus
from pipelines.features.fingerprints import Fingerprints
from tests.support.made.made_corpora import plain

IDS = st.integers(0, 30) | st.integers(2**40 - 5, 2**40 - 1)
SETS = st.lists(st.sets(IDS), max_size=12)
NIGHTS = st.lists(SETS, max_size=5)


def some_reviews(sets: list[set[int]], bits: int = 40) -> Fingerprints:
    ids = [fp for review in sets for fp in sorted(review)]
    lengths = [len(review) for review in sets]
    return Fingerprints(np.array(ids, np.uint64), np.array(lengths, np.int64), 1, bits)


def empty(min_df: int, bits: int = 40) -> Corpus:
    return Corpus.empty(min_df=min_df, ngram_max=1, bits=bits)


def reference(sets: list[set[int]], min_df: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Columns in the order they come up, and the rare occurrences, by counting one by one."""
    rows: dict[int, list[int]] = {}
    columns: list[int] = []
    for row, review in enumerate(sets):
        for fp in sorted(review):
            rows.setdefault(fp, []).append(row)
            if len(rows[fp]) == min_df:
                columns.append(fp)
    rare = [(fp, row) for fp in sorted(rows) if len(rows[fp]) < min_df for row in rows[fp]]
    return columns, rare


@pytest.fixture(params=[1, 1 << 20], ids=["one-at-a-time", "at-once"], autouse=True)
def chunk(request, monkeypatch):
    monkeypatch.setattr(corpus_module, "CHUNK_OCCURRENCES", request.param)


@settings(max_examples=150, deadline=None)
@given(SETS, st.integers(1, 3))
@example([], 1)
@example([set(), set()], 1)
@example([{1}, {1}, {2**40 - 1}, {2**40 - 1}], 2)
def test_a_corpus_is_what_counting_one_by_one_finds(sets, min_df):
    corpus = Corpus.of(some_reviews(sets), min_df=min_df)

    columns, rare = reference(sets, min_df)
    assert corpus.vocabulary.tolist() == columns
    assert [(int(key) >> 24, int(key) & (2**24 - 1)) for key in corpus.rare.in_order()] == rare
    marks = [[float(fp in review) for fp in columns] for review in sets]
    assert corpus.presence().toarray().tolist() == marks
    assert corpus.presence().has_sorted_indices
    assert corpus.presence().dtype == np.float32
    assert corpus.presence(np.uint8).toarray().tolist() == marks


@settings(max_examples=150, deadline=None)
@given(NIGHTS, st.integers(1, 3))
@example([[{1, 2}], [], [{1}], [{2, 3}, set()]], 2)
@example([[{5}], [{5}], [{5}], [{5}]], 3)
def test_night_by_night_gives_the_very_arrays_of_all_at_once(nights, min_df):
    grown = empty(min_df)
    for night in nights:
        grown = grown.extended([some_reviews(night)])

    at_once = empty(min_df).extended(some_reviews(night) for night in nights)
    assert plain(grown) == plain(at_once)


@settings(max_examples=50, deadline=None)
@given(NIGHTS)
def test_a_column_keeps_its_number_for_good(nights):
    before = empty(2)
    for night in nights:
        after = before.extended([some_reviews(night)])
        assert after.vocabulary[: len(before.vocabulary)].tolist() == before.vocabulary.tolist()
        before = after


def test_extending_leaves_the_corpus_that_is_extended_as_it_was():
    before = Corpus.of(some_reviews([{1, 2}, {2, 3}]), min_df=2)
    kept = plain(before)

    before.extended([some_reviews([{1, 3}])])

    assert plain(before) == kept


def test_fingerprints_of_another_kind_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 44\) cannot be added to a corpus of \(1, 40\)"):
        empty(2).extended([some_reviews([{1}], bits=44)])


def test_more_reviews_than_fit_beside_the_bits_are_refused():
    half = Fingerprints(np.empty(0, np.uint64), np.zeros(2**19 + 1, np.int64), 1, 44)

    with pytest.raises(
        ValueError, match="1,048,578 reviews are too many for fingerprints of 44 bits"
    ):
        empty(1, bits=44).extended([half, half])
