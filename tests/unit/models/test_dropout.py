"""Dropping values keeps their mean, the zeros' places and the original rows, and goes by pairs."""

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


def applied(
    share: float, X: sparse.csr_array, *, seed: int = 1, passing: int = 0, block: int = 0
) -> sparse.csr_array:
    values = np.empty_like(X.data)
    return Dropout(share, seed).applied(X, values, passing=passing, block=block)


@pytest.mark.parametrize("passing", [0, 1])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_value_is_dropped_or_raised_so_that_the_mean_stays(share, passing):
    X = sparse.csr_array(np.ones((100, 1000), np.float32))

    values = applied(share, X, passing=passing).data

    assert np.unique(values).tolist() == [0, np.float32(1 / (1 - share))]
    assert values.mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("chunk", [1, 7, 1 << 18])
def test_what_is_dropped_is_what_bytes_one_by_one_say(monkeypatch, chunk):
    monkeypatch.setattr(dropout_module, "CHUNK_MARKS", chunk)
    X, random = rows(), np.random.RandomState([1, 0, 0, 0])
    expected = []
    for start in range(0, X.nnz, chunk):
        part = X.data[start : start + chunk]
        draws = random.bytes(len(part))
        expected += [2 * v if draw < 128 else 0 for v, draw in zip(part, draws, strict=True)]

    thinned = applied(0.5, X)

    assert thinned.data.tolist() == expected
    assert np.shares_memory(thinned.indices, X.indices)


def test_the_second_pass_of_a_pair_keeps_what_the_first_dropped():
    X = rows()

    first, second = (applied(0.5, X, passing=passing).data for passing in (2, 3))

    assert (first + second).tolist() == (2 * X.data).tolist()
    assert not np.any(first * second)


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_of_other_shares_the_second_pass_goes_by_the_opposite_draws(share):
    X = sparse.csr_array(np.ones((100, 1000), np.float32))

    both = applied(share, X, passing=0).data * applied(share, X, passing=1).data

    assert np.mean(both > 0) == pytest.approx(max(0, 1 - 2 * share), abs=0.01)


def test_the_rows_are_left_alone_and_each_pair_and_block_draws_anew():
    X = rows()
    before = X.data.copy()

    drawn = {
        applied(0.5, X, seed=seed, passing=passing, block=block).data.tobytes()
        for seed in (1, 2)
        for passing in range(4)
        for block in (0, 1)
    }

    assert X.data.tolist() == before.tolist()
    assert len(drawn) == 16


def test_nothing_is_dropped_without_dropout():
    X = rows()

    assert applied(0.0, X) is X


@pytest.mark.parametrize("share", [-0.1, 1.0, 0.999, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match="dropout must be from 0 to below 1"):
        Dropout(share, seed=1)
