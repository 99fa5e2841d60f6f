"""A corpus equals what dictionaries and loops find."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.features import corpus as corpus_module
from pipelines.features.corpus import Corpus
from pipelines.features.fingerprints import Fingerprints
from tests.support.made.made_features import (
    LATE,
    MARKED_SETS,
    ONE_BY_ONE,
    some_reviews,
    values_of,
)


def corpus_of(*parts: list[dict[int, bool]], min_df: int) -> Corpus:
    return Corpus.of((some_reviews(part) for part in parts), ONE_BY_ONE, min_df=min_df)


def reference(sets: list[dict[int, bool]], min_df: int) -> list[int]:
    """Columns in the order they come up, by counting one by one."""
    counts: dict[int, int] = {}
    columns: list[int] = []
    for review in sets:
        for fp in sorted(review):
            counts[fp] = counts.get(fp, 0) + 1
            if counts[fp] == min_df:
                columns.append(fp)
    return columns


@pytest.fixture(params=[1, 1 << 20], ids=["one-at-a-time", "at-once"], autouse=True)
def chunk(request, monkeypatch):
    monkeypatch.setattr(corpus_module, "CHUNK_OCCURRENCES", request.param)


@settings(max_examples=150, deadline=None)
@given(MARKED_SETS, st.integers(1, 3))
@example([], 1)
@example([{}, {}], 1)
@example([{1: True}, {1: False}, {2**40 - 1: True}, {2**40 - 1: True}], 2)
def test_a_corpus_is_what_counting_one_by_one_finds(sets, min_df):
    corpus = corpus_of(sets, min_df=min_df)

    columns = reference(sets, min_df)
    assert len(corpus) == len(sets)
    assert corpus.vocabulary.tolist() == columns
    matrix = corpus.matrix(LATE)
    assert matrix.toarray().tolist() == values_of(sets, columns)
    assert matrix.has_sorted_indices
    assert matrix.dtype == np.float32


@settings(max_examples=50, deadline=None)
@given(st.lists(MARKED_SETS, max_size=5), st.integers(1, 3))
def test_how_the_reviews_are_cut_into_parts_changes_nothing(parts, min_df):
    in_parts = corpus_of(*parts, min_df=min_df)

    at_once = corpus_of([review for part in parts for review in part], min_df=min_df)
    assert in_parts.vocabulary.tolist() == at_once.vocabulary.tolist()
    for own, other in zip(in_parts.marks, at_once.marks, strict=True):
        assert own.tolist() == other.tolist()


def test_fingerprints_of_another_view_are_refused():
    other = some_reviews([{1: False}], replace(ONE_BY_ONE, bits=44))

    with pytest.raises(ValueError, match=r"bits=44.* cannot be added to a corpus of .*bits=40"):
        Corpus.of([other], ONE_BY_ONE, min_df=2)


def test_more_reviews_than_fit_beside_the_bits_are_refused():
    view = replace(ONE_BY_ONE, bits=44)
    half = replace(Fingerprints.nothing(view), lengths=np.zeros(2**18 + 1, np.int64))

    with pytest.raises(
        ValueError, match="524,290 reviews are too many for fingerprints of 44 bits"
    ):
        Corpus.of([half, half], view, min_df=1)
