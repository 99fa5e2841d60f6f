"""Dropping values keeps their mean, the zeros' places and the original rows."""

# ruff: noqa: N803, N806  # X is what scikit-learn and its readers call the samples

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from pipelines.models import dropout as dropout_module
from pipelines.models.dropout import Dropout


def rows(seed: int = 0) -> sparse.csr_array:
    return sparse.random_array(
        (50, 40), density=0.5, format="csr", dtype=np.float32, rng=np.random.default_rng(seed)
    )


def applied(share: float, X: sparse.csr_array, seed: int = 1) -> sparse.csr_array:
    return Dropout(share, np.random.RandomState(seed)).applied(X, np.empty_like(X.data))


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_value_is_dropped_or_raised_so_that_the_mean_stays(share):
    X = sparse.csr_array(np.ones((100, 1000), np.float32))

    values = applied(share, X).data

    assert np.unique(values).tolist() == [0, np.float32(1 / (1 - share))]
    assert values.mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("chunk", [1, 7, 1 << 18])
def test_what_is_dropped_is_what_bytes_one_by_one_say(monkeypatch, chunk):
    monkeypatch.setattr(dropout_module, "CHUNK_MARKS", chunk)
    X, random = rows(), np.random.RandomState(1)
    expected = []
    for start in range(0, X.nnz, chunk):
        part = X.data[start : start + chunk]
        draws = random.bytes(len(part))
        expected += [2 * v if draw < 128 else 0 for v, draw in zip(part, draws, strict=True)]

    thinned = applied(0.5, X)

    assert thinned.data.tolist() == expected
    assert np.shares_memory(thinned.indices, X.indices)


def test_the_rows_are_left_alone_and_each_use_draws_anew():
    X = rows()
    before, dropout = X.data.copy(), Dropout(0.5, np.random.RandomState(1))

    first, second = (dropout.applied(X, np.empty_like(X.data)).data for _ in range(2))

    assert X.data.tolist() == before.tolist()
    assert first.tolist() != second.tolist()


def test_nothing_is_dropped_without_dropout():
    X = rows()

    assert applied(0.0, X) is X


@pytest.mark.parametrize("share", [-0.1, 1.0, 0.999, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match="dropout must be from 0 to below 1"):
        Dropout(share, np.random.RandomState(1))
