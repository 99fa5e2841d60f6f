"""Copies of what was trained on are found, also with a few words changed; other reviews are not."""

import numpy as np
import pytest

from pipelines.evaluation import leakage
from pipelines.evaluation.leakage import MAX_HOLDERS, SKETCH, near_copies, sketches
from pipelines.features.fingerprints import fingerprint

WORDS = [f"word{number}" for number in range(4000)]


def a_review(seed, length=120):
    return " ".join(np.random.default_rng(seed).choice(WORDS, length))


def copies(held_out, trained_on):
    ours, theirs = (sketches(fingerprint(texts)) for texts in (held_out, trained_on))
    return near_copies(ours, theirs).tolist()


@pytest.mark.parametrize("block", [1, 3, 4096])
def test_copies_are_found_in_whatever_block_they_are_looked_up(monkeypatch, block):
    monkeypatch.setattr(leakage, "BLOCK_REVIEWS", block)
    trained = [a_review(seed) for seed in range(20)]

    is_copy = copies([a_review(99), trained[7], a_review(98), a_review(97), trained[0]], trained)

    assert is_copy == [False, True, False, False, True]


def test_an_exact_copy_is_found():
    trained = [a_review(seed) for seed in range(20)]

    assert copies([trained[7], a_review(99)], trained) == [True, False]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + " and that is all there is to say",
        lambda text: "Spoilers ahead! " + text,
        lambda text: text.replace(" ", "<br />", 3),
        lambda text: text.upper(),
        lambda text: " ".join(w for n, w in enumerate(text.split()) if n % 30),
    ],
)
def test_a_review_with_few_changes_is_found(change):
    texts = [a_review(seed) for seed in range(40)]

    assert sum(copies([change(text) for text in texts], texts)) >= 36


def test_other_reviews_of_the_same_vocabulary_are_not_copies():
    trained = [a_review(seed) for seed in range(200)]
    others = [a_review(seed) for seed in range(1000, 1200)]

    assert sum(copies(others, trained)) == 0


def test_a_hash_that_everybody_holds_says_nothing():
    """Reviews that begin and end alike share some n-grams, and are still different reviews."""
    frame = "I saw this film last night with my family and"
    trained = [f"{frame} {a_review(seed)}" for seed in range(MAX_HOLDERS + 10)]

    assert sum(copies([f"{frame} {a_review(999)}"], trained)) == 0


def test_a_review_too_short_to_tell_is_never_a_near_copy():
    assert copies(["Good film."], ["Good film."]) == [False]


def test_no_reviews_at_all_are_no_copies():
    assert copies([], [a_review(1)]) == []
    assert copies([a_review(1)], []) == [False]


def test_a_sketch_holds_the_smallest_hashes():
    prints = fingerprint([a_review(1), "short"])

    smallest = sketches(prints)

    assert smallest[0].tolist() == sorted(prints.ids[: prints.lengths[0]].tolist())[:SKETCH]
    assert set(smallest[1].tolist()) == {2**64 - 1}
