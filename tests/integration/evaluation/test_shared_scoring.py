"""What is held out is scored in shares where there are many packs, to the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.evaluation import answering
from pipelines.features import answer_cache, packs
from pipelines.steps import promote, retrain
from tests.support.made.builders import listing

pytestmark = pytest.mark.usefixtures("one_clean_room_per_model")


@pytest.fixture
def second_night(ingest_night, configure, monkeypatch):
    """The plan of a trained version with a champion to compare it with, and a pack per task."""
    monkeypatch.setattr(packs, "LARGEST_BYTES", 0)  # each is a pack of its own
    configure(training={"packs_per_task": 1}, gate={"ask_for_first_model": False})
    ingest_night(1)
    promote.promote(decided(trained()), "a test", "")
    ingest_night(2)
    return trained()


def trained() -> str:
    plan_uri = retrain.plan(retrain.take_snapshot())
    retrain.featurize(plan_uri)
    retrain.train(plan_uri)
    return plan_uri


def decided(plan_uri: str) -> str:
    return retrain.decide(retrain.verify(retrain.evaluate_trained(plan_uri)))


def record(stores, uri: str) -> bytes:
    return stores.models.get(uri.partition(f"{stores.models.name}/")[2], max_bytes=10**7)


def kept(stores) -> list[str]:
    return [key for key in listing(stores.reviews) if key.startswith(answer_cache.FOLDER)]


def scored_at_once(monkeypatch) -> list[str]:
    """The packs that are scored by whoever asks for it from now on."""
    asked, honest = [], answering.PackRows.answers
    monkeypatch.setattr(
        answering.PackRows,
        "answers",
        lambda part, model: asked.append(part.pack.sha256) or honest(part, model),
    )
    return asked


def test_shares_that_were_scored_give_the_same_evaluation_without_scoring_again(
    second_night, stores, monkeypatch
):
    for key in kept(stores):
        stores.reviews.delete(key)
    alone = record(stores, retrain.evaluate_trained(second_night))
    assert kept(stores) == []
    shares = retrain.shares_to_score(second_night)
    counts = [retrain.score(second_night, share=share) for share in shares]
    asked = scored_at_once(monkeypatch)

    assert len(shares) > 1
    assert counts == [1] * len(shares)
    assert len(kept(stores)) == 2 * len(shares)  # challenger and champion
    assert record(stores, retrain.evaluate_trained(second_night)) == alone
    assert retrain.score(second_night, share=shares[0]) == 1  # again
    assert asked == []


@pytest.mark.attack
def test_answers_that_are_not_proven_to_be_ours_are_computed_again(
    second_night, stores, monkeypatch
):
    alone = record(stores, retrain.evaluate_trained(second_night))
    for share in retrain.shares_to_score(second_night):
        retrain.score(second_night, share=share)
    first, second = kept(stores)[:2]
    asked = scored_at_once(monkeypatch)
    of_another = stores.reviews.get(second, max_bytes=10**7)

    for harm in (None, b"answers", of_another):
        asked.clear()
        if harm is None:
            stores.reviews.delete(first)
        else:
            stores.reviews.put(first, harm)
        assert record(stores, retrain.evaluate_trained(second_night)) == alone
        assert len(asked) == 1


def test_few_packs_are_not_shared_out_and_nothing_is_kept(ingest_night, stores):
    ingest_night(1)
    plan_uri = trained()

    retrain.evaluate_trained(plan_uri)

    assert retrain.shares_to_score(plan_uri) == []
    assert kept(stores) == []


def test_answers_about_rows_that_were_not_kept_are_not_found(stores):
    pack = packs.Pack(())
    answer_cache.put_answers(stores.reviews, "some", np.array([1, 4]), np.array([0.25, 0.5]))

    def find(*rows):
        return answer_cache.find_answers(stores.reviews, "some", pack, np.array(rows, np.int64))

    assert find(4).tolist() == [0.5]
    assert find(1, 4).tolist() == [0.25, 0.5]
    assert find(1, 2) is None
    assert find(9) is None
    answer_cache.put_answers(stores.reviews, "some", np.array([4, 1]), np.array([0.25, 0.5]))
    assert find(1) is None  # not as this release writes them
