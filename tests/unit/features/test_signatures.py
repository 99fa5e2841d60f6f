"""Copies are found, also with a few words changed; other texts with the same words are not."""

import numpy as np
import pytest

from pipelines.core.record import sha256_of
from pipelines.features.fingerprints import fingerprint
from pipelines.features.signatures import (
    CELLS,
    COPIED_SHARE,
    FEWEST_NGRAMS,
    SIGNATURE_VERSION,
    VIEW,
    near_known,
    near_repeats,
    signatures,
)

WORDS = [f"word{number}" for number in range(4000)]


def a_review(seed, length=120):
    return " ".join(np.random.default_rng(seed).choice(WORDS, length))


def copies(held_out, trained_on, share=COPIED_SHARE):
    own, known = (signatures(fingerprint(texts)) for texts in (held_out, trained_on))
    return near_known(own, known, similar_share=share).tolist()


def test_an_exact_copy_is_found():
    trained = [a_review(seed) for seed in range(20)]

    found = copies([a_review(99), trained[7], a_review(98), trained[0]], trained)

    assert found == [False, True, False, True]


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


def test_reviews_that_begin_alike_are_different_reviews():
    frame = "I saw this film last night with my family and"
    trained = [f"{frame} {a_review(seed)}" for seed in range(74)]

    assert sum(copies([f"{frame} {a_review(999)}"], trained)) == 0


def test_half_of_another_review_is_a_copy_and_not_a_repeat():
    first, second = a_review(1, 240), a_review(2, 60)
    text = f"{first[: len(first) * 3 // 4]} {second}"

    assert copies([text], [first]) == [True]
    assert copies([text], [first], share=0.84) == [False]


def test_a_review_too_short_to_tell_is_never_a_near_copy():
    assert copies(["Good film."], ["Good film."]) == [False]
    assert signatures(fingerprint(["Good film."])).tolist() == [[0] * CELLS]


def test_no_reviews_at_all_are_no_copies():
    assert copies([], [a_review(1)]) == []
    assert copies([a_review(1)], []) == [False]


def test_a_cell_holds_the_low_bits_of_its_smallest_fingerprint():
    prints = fingerprint([a_review(1)])
    cells = (prints.ids >> np.uint64(prints.view.bits - 5)).astype(int)

    (signature,) = signatures(prints)

    assert len(prints.ids) >= FEWEST_NGRAMS
    for cell in set(cells.tolist()):
        smallest = int(min(prints.ids[cells == cell]))
        assert signature[cell] == max(smallest & 0xFFFF, 1)


def test_a_repeat_within_the_same_texts_is_the_later_one():
    texts = [a_review(1), a_review(2), a_review(1) + " Not bad."]

    assert near_repeats(signatures(fingerprint(texts))).tolist() == [False, False, True]


def test_signatures_are_made_in_the_way_that_their_version_names():
    """If this fails, change `SIGNATURE_VERSION`: those that are cached are other ones."""
    texts = [" ".join(f"word{(number * step) % 97}" for number in range(200)) for step in (1, 3)]
    found = signatures(fingerprint(texts, VIEW))

    assert SIGNATURE_VERSION == "s1"
    assert (
        sha256_of(found.tobytes())
        == "6f6aa50dd2c8df881875d76d1d71afcad5d5c869b27091c640a23ab4f0008ead"
    )
