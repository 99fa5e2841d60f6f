"""An evaluation reads each pack of partitions once, and asks for few of them to be read again."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.evaluation import answering, check_rows, evaluate
from pipelines.evaluation.scores import Scored
from pipelines.features.fingerprints import Fingerprints, fingerprint
from pipelines.features.packs import packed
from pipelines.features.signatures import signatures
from pipelines.features.views import View
from pipelines.models.factories import fingerprint_svm, tfidf_logistic
from pipelines.training.dataset import load_dataset
from tests.support.made.made_features import a_partition, a_snapshot, plain

NIGHTS = 10


@pytest.fixture
def dataset(stores):
    parts = [a_partition(stores, first=6 * number)[0] for number in range(NIGHTS)]
    return load_dataset(stores.reviews, a_snapshot(*parts))


class TwoModels:
    """Asks two models that read the same fingerprints, and one that reads texts."""

    signed = View(ngram_max=2)

    def __init__(self):
        self.asked = [fingerprint_svm(seed=1, ngram_max=2), fingerprint_svm(seed=2, ngram_max=2)]
        self.seen, self.texts = [], []

    def scored(self, labels, answer):
        self.seen += [answer(None, model) for model in self.asked]
        self.texts += answer(None, tfidf_logistic(seed=1))
        return Scored(labels, labels.astype(np.float64))


def test_each_packs_fingerprints_are_read_once_for_all_that_needs_them(dataset, monkeypatch):
    read, honest = [], answering.pack_fingerprints
    monkeypatch.setattr(answering, "probabilities", lambda _model, inputs: inputs)
    monkeypatch.setattr(
        answering,
        "pack_fingerprints",
        lambda *args, **size: read.append(args[1].sha256) or honest(*args, **size),
    )
    models = TwoModels()

    signed, scored = evaluate._read_once(dataset, models, None)

    every, held = np.arange(len(dataset.label)), dataset.holdout_rows
    assert sorted(read) == sorted(pack.sha256 for pack in packed(dataset.snapshot.partitions))
    everything = fingerprint(dataset.texts(every), View(ngram_max=2))
    for side, rows in ((signed.held_out, held), (signed.trained_on, dataset.training_rows)):
        assert side.tolist() == signatures(everything.take(rows)).tolist()
    assert scored.labels.tolist() == dataset.label[held].tolist()
    assert models.texts == dataset.texts(held)
    for seen in (models.seen[::2], models.seen[1::2]):
        assert plain(Fingerprints.concat(seen)) == plain(everything.take(held))


def test_the_check_rows_lie_in_few_partitions_from_the_oldest_to_the_newest(dataset, monkeypatch):
    monkeypatch.setattr(check_rows, "CHECK_ROWS", 20)
    rows = np.arange(len(dataset.label))
    probability = rows / len(rows)

    checks = check_rows.check_rows(dataset, rows, probability)

    digests = [part.sha256 for part in dataset.snapshot.partitions]
    used = {check.partition for check in checks}
    assert len(used) == check_rows.CHECK_PARTITIONS
    assert {digests[0], digests[-1]} <= used
    where = {dataset.locate(row): probability[row] for row in rows.tolist()}
    assert [where[check.partition, check.row] for check in checks] == [
        check.probability for check in checks
    ]
    assert len(checks) == 20 == len(set(checks))


def test_small_partitions_are_taken_in_until_there_are_enough_rows(dataset, monkeypatch):
    rows = np.arange(len(dataset.label))

    assert len(check_rows.check_rows(dataset, rows, rows / 100)) == len(rows)  # 64 are wanted
    monkeypatch.setattr(check_rows, "CHECK_ROWS", 31)
    checks = check_rows.check_rows(dataset, rows, rows / 100)
    assert len(checks) == 31
    assert len({check.partition for check in checks}) == 6


@pytest.mark.parametrize("rows", [0, 3])
def test_without_rows_or_usable_answers_there_is_nothing_to_check(dataset, rows):
    answers = np.full(rows, np.nan)

    assert check_rows.check_rows(dataset, np.arange(rows), answers) == ()
