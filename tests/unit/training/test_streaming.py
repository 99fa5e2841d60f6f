"""Fitting block by block gives a model like fitting at once, of bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss

from pipelines.features.fingerprints import fingerprint
from pipelines.features.views import View
from pipelines.models.artefacts import dump_model, load_model
from pipelines.models.factories import fingerprint_stream
from pipelines.models.hashed_columns import HashedColumns
from pipelines.models.prediction import positive_probability, scorer_of
from pipelines.training import folds, search, streaming
from pipelines.training.streaming import fit_streamed
from tests.support.made.made_features import some_reviews
from tests.support.made.made_searches import (
    STREAM,
    PartitionedReviews,
    a_plan,
    quiet,
    some_partitioned,
)


@pytest.fixture(scope="module")
def reviews() -> PartitionedReviews:
    return some_partitioned(500, seed=5)


def streamed(reviews: PartitionedReviews, seed: int = 1, runs: int = 1):
    model = fingerprint_stream(seed=seed, column_bits=18, runs=runs)
    return fit_streamed(model, reviews, reviews.training_rows, reviews.is_selection)


def test_a_column_is_the_first_bits_of_the_fingerprint():
    prints = some_reviews([{0: False, 5 << 36: True}, {(15 << 36) + 3: False}])

    columns = HashedColumns(ngram_max=1, column_bits=4, late_weight=1.5).fit(None)

    matrix = columns.transform(prints)
    assert matrix.toarray().nonzero()[1].tolist() == [0, 5, 15]
    assert matrix.data.tolist() == [1, 1.5, 1]
    assert matrix.shape == (2, 16)


def test_words_that_begin_alike_share_a_column_if_only_their_beginnings_are_read():
    texts = ["wonderful", "wonderfully", "wonders"]

    matrix = HashedColumns(ngram_max=1, prefix_bytes=7).fit_transform(texts)

    first, second, other = np.split(matrix.indices, matrix.indptr[1:-1])
    assert first.tolist() == second.tolist() != other.tolist()


@pytest.mark.parametrize("column_bits", [0, 31, 33])
def test_too_few_or_too_many_columns_are_refused(column_bits):
    with pytest.raises(ValueError, match=f"column_bits must be from 1 to 30, got {column_bits}"):
        HashedColumns(column_bits=column_bits).fit(None)


def test_ratios_counted_block_by_block_are_those_of_the_whole(reviews, monkeypatch):
    monkeypatch.setattr(streaming, "BLOCK_REVIEWS", 64)

    model = streamed(reviews)

    at_once = fingerprint_stream(seed=1, column_bits=18).fit(reviews.all_texts, reviews.label)
    assert model[-1].ratio_.tobytes() == at_once[-1].ratio_.tobytes()


@pytest.mark.quick_every(2)
@pytest.mark.parametrize("runs", [2, 1])
def test_streaming_is_about_as_good_as_fitting_at_once(reviews, runs, monkeypatch):
    monkeypatch.setattr(streaming, "BLOCK_REVIEWS", 64)
    fresh = some_partitioned(600, seed=6)
    at_once = fingerprint_stream(seed=1, column_bits=18, runs=runs)
    at_once.fit(reviews.all_texts, reviews.label, svm__held_out=reviews.is_selection)

    losses = [
        log_loss(fresh.label, positive_probability(model, fresh.all_texts))
        for model in (streamed(reviews, runs=runs), at_once)
    ]

    assert losses[0] == pytest.approx(losses[1], abs=0.02)
    assert losses[0] < 0.6  # nothing learned is 0.69


def test_blocks_hold_every_review_once_and_are_bounded(reviews, monkeypatch):
    monkeypatch.setattr(streaming, "BLOCK_REVIEWS", 64)
    rows = reviews.training_rows[::2]

    blocks = list(streaming._blocks(HashedColumns(), reviews, rows))

    assert np.concatenate([mine for mine, _ in blocks]).tolist() == rows.tolist()
    assert max(len(mine) for mine, _ in blocks) <= 64
    whole = fingerprint(reviews.texts(rows), View(ngram_max=2))
    assert np.concatenate([part.ids for _, part in blocks]).tolist() == whole.ids.tolist()


def test_the_same_seed_gives_the_same_bytes(reviews, monkeypatch):
    monkeypatch.setattr(streaming, "BLOCK_REVIEWS", 64)

    first, same, other = (dump_model(streamed(reviews, seed)) for seed in (1, 1, 2))

    assert first == same != other


def test_streamed_runs_are_averaged(reviews):
    one, two = streamed(reviews)[-1], streamed(reviews, runs=2)[-1]

    assert (one.slope_, one.ratio_.tobytes()) == (two.slope_, two.ratio_.tobytes())
    assert not np.array_equal(one.coef_, two.coef_)
    assert np.abs(two.coef_).sum() < np.abs(one.coef_).sum()  # chance cancels out, in part


def test_a_streamed_model_can_be_saved_loaded_and_asked(reviews):
    model = streamed(reviews)

    copy = load_model(dump_model(model))

    answers = positive_probability(copy, reviews.all_texts[:40])
    assert scorer_of(copy) is not None
    expected = model.predict_proba(reviews.all_texts[:40])[:, 1]
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-12)


def test_a_lone_streamed_candidate_never_holds_the_matrix(reviews, monkeypatch):
    monkeypatch.setattr(folds.TrainingRows, "shared", None)

    selection = search.find_best(reviews, a_plan({"stream": STREAM}), quiet)

    assert dump_model(selection.model) == dump_model(streamed(reviews))


def test_nothing_is_left_in_the_temporary_folder(reviews, tmp_path, monkeypatch):
    monkeypatch.setattr(streaming.tempfile, "tempdir", str(tmp_path))

    streamed(reviews)

    assert list(tmp_path.iterdir()) == []
