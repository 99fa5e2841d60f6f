"""Fingerprints equal those of a slow reference: one regular expression, Python integers."""

from __future__ import annotations

import random
import re
from collections.abc import Container
from fractions import Fraction
from itertools import product
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.features import fingerprints, tokens
from pipelines.features.fingerprints import (
    FEATURIZER_VERSION,
    Fingerprints,
    fingerprint,
    occurrence_parts,
)
from pipelines.features.ngram_texts import spelled
from pipelines.features.tokens import MAX_REVIEW_BYTES
from pipelines.features.views import View

WORD = rb"[A-Za-z0-9_\x80-\xff]+"
TOKEN = re.compile(WORD + rb"(?:'" + WORD + rb')*|[!?.,;:()"*-]')
BREAK = re.compile(rb"<\s*br\s*/?\s*>", re.IGNORECASE)

MARKUP = ("<br />", "<", "br", "BR", " ", "/", ">", "a", "'")
BLANKS = ("\t", "\n", "\v", "\f", "\r", "\0", "\x1c", "\x1f", "\x85", "\xa0", "\u2003", "\u2028")
PIECES = (
    *("a", "B", "0", "_", "'", "''", "!", "-", " ", "\n", "\0", "é", "€", "\ud800", "<", ">", "/"),
    *("don't", "film", "good film", "<br />", "<BR>", "<br/>", "< br"),
)
TRICKY = st.lists(st.sampled_from(PIECES)).map("".join)
TAGS = st.lists(st.sampled_from(MARKUP + BLANKS)).map("".join)
ANY = st.text(st.characters(exclude_categories=[]))
REVIEWS = st.lists(TRICKY | TAGS | ANY, max_size=8)
VIEWS = st.builds(
    View,
    ngram_max=st.integers(1, 4),
    bits=st.sampled_from([16, 32, 40, 44]),
    gap_max=st.integers(0, 3),
    prefix_bytes=st.sampled_from([0, 0, 1, 2, 5]),
)


def reference_tokens(text: str, prefix_bytes: int = 0) -> list[bytes]:
    review = text.encode("utf-8", "replace")[: 256 * 1024]
    tokens = [token.lower() for token in TOKEN.findall(BREAK.sub(b" ", review))]
    return [token[: prefix_bytes or None] for token in tokens]


def mixed(number: int) -> int:
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        number ^= number >> 33
        number = number * factor % 2**64
    return number ^ number >> 33


def token_hash(token: bytes) -> int:
    value = 0
    for byte in reversed(token):
        value = (value * 0x9E3779B97F4A7C15 + byte + 1) % 2**64
    return mixed(value)


def ngram_hash(ngram: tuple[bytes, ...]) -> int:
    value = token_hash(ngram[0])
    for size, token in enumerate(ngram[1:], start=2):
        value = mixed((value * 0x9FB21C651E98DF25 + token_hash(token) * (2 * size + 1)) % 2**64)
    return value


def gap_hash(first: bytes, second: bytes, gap: int) -> int:
    value = token_hash(first) * 0x9FB21C651E98DF25 + token_hash(second) * (2 * (16 + gap) + 1)
    return mixed(value % 2**64)


def reference_ngrams(text: str, ngram_max: int = 3) -> set[tuple[bytes, ...]]:
    tokens = reference_tokens(text)
    starts = range(len(tokens))
    sizes = range(1, ngram_max + 1)
    return {tuple(tokens[at : at + size]) for size in sizes for at in starts[: 1 - size or None]}


def reference_marks(text: str, view: View) -> dict[int, bool]:
    """Each fingerprint of a text, and whether an n-gram of it has its middle in the last eighth."""
    tokens = reference_tokens(text, view.prefix_bytes)
    found: dict[int, bool] = {}
    for start in range(len(tokens)):
        hashes = [
            (ngram_hash(tuple(tokens[start : start + size])), size)
            for size in range(1, view.ngram_max + 1)
            if start + size <= len(tokens)
        ] + [
            (gap_hash(tokens[start], tokens[start + gap + 1], gap), gap + 2)
            for gap in range(1, view.gap_max + 1)
            if start + gap + 1 < len(tokens)
        ]
        for value, span in hashes:
            middle = Fraction(2 * start + span - 1, 2)
            is_late = 8 * middle // len(tokens) == 7
            own_id = value >> (64 - view.bits)
            found[own_id] = found.get(own_id, False) or is_late
    return found


def reference_ids(text: str, ngram_max: int = 3, bits: int = 40) -> list[int]:
    return sorted(reference_marks(text, View(ngram_max=ngram_max, bits=bits)))


def per_review(prints: Fingerprints) -> list[list[int]]:
    return [ids.tolist() for ids in np.split(prints.ids, prints.bounds()[1:-1])][: len(prints)]


def marks_per_review(prints: Fingerprints) -> list[dict[int, bool]]:
    parts = (np.split(array, prints.bounds()[1:-1]) for array in (prints.ids, prints.is_late))
    marks = [
        dict(zip(ids.tolist(), late.tolist(), strict=True))
        for ids, late in zip(*parts, strict=True)
    ]
    return marks[: len(prints)]


def words(count: int, *, vocabulary: int, seed: int = 0) -> str:
    chosen = random.Random(seed).choices(range(vocabulary), k=count)
    return " ".join(f"w{number}" for number in chosen)


# ------------------------------------------------------------------ equal to the slow reference


@settings(max_examples=150, deadline=None)
@given(REVIEWS, VIEWS)
@example(["", "a", ""], View())
@example(["it's", "'it", "it'", "'", "a'b'c", "a''b", "é'é"], View(ngram_max=2))
@example(["< br<br />>", "<br<br />/>", "<<br />br>", "<b<br />r>", "a'<br />'b"], View())
@example(["a b a b a b a b", "wonderful wonderfully"], View(4, gap_max=2, prefix_bytes=5))
def test_every_review_equals_the_slow_reference(texts, view):
    prints = fingerprint(texts, view)

    assert marks_per_review(prints) == [reference_marks(text, view) for text in texts]
    assert all(sorted(ids) == ids for ids in per_review(prints))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=60), VIEWS)
@example([0] * 16, View())
@example([*range(6), *range(6), 0], View(gap_max=3))
def test_what_is_in_the_last_eighth_is_late_also_if_it_was_earlier(words, view):
    text = " ".join(f"w{number}" for number in words)

    prints = fingerprint([text], view)

    assert marks_per_review(prints) == [reference_marks(text, view)]


@pytest.mark.parametrize(("count", "late"), [(7, 0), (8, 1), (15, 1), (16, 2), (80, 10), (81, 10)])
def test_the_last_eighth_of_the_tokens_is_late(count, late):
    text = " ".join(f"w{number}" for number in range(count))

    prints = fingerprint([text], View(ngram_max=1))

    assert prints.is_late.sum() == late


@settings(max_examples=100, deadline=None)
@given(REVIEWS, VIEWS)
def test_an_ngram_is_spelled_as_the_tokens_that_were_hashed(texts, view):
    for text in texts:
        prints, names = spelled(text, view)

        assert marks_per_review(prints) == [reference_marks(text, view)]
        for own_id, name in zip(prints.ids.tolist(), names, strict=True):
            assert own_id in spelled_ids(name, view)


def spelled_ids(name: str, view: View) -> Container[int]:
    """The fingerprints of all n-grams that are written like this, lost bytes aside."""
    if "\ufffd" in name:
        return AnyId()
    parts = name.split(" ")
    tokens = [part.removesuffix("*").encode() if view.prefix_bytes else part.encode()
              for part in parts]  # fmt: skip
    if "[...]" in parts:
        gap = parts.count("[...]")
        return {gap_hash(tokens[0], tokens[-1], gap) >> (64 - view.bits)}
    return {ngram_hash(tuple(tokens)) >> (64 - view.bits)}


class AnyId:
    def __contains__(self, own_id: int) -> bool:
        return True


def test_ngrams_are_spelled_in_lower_case_with_gaps_and_cuts_shown():
    _, names = spelled("Not a Wonderful film", View(ngram_max=2, gap_max=1, prefix_bytes=5))

    assert set(names) == {
        "not", "a", "wonde*", "film",
        "not a", "a wonde*", "wonde* film",
        "not [...] wonde*", "a [...] film",
    }  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(REVIEWS, st.integers(1, 40))
def test_where_a_block_ends_changes_nothing(texts, block_bytes):
    whole = fingerprint(texts)

    with patch.object(tokens, "BLOCK_BYTES", block_bytes):
        in_blocks = fingerprint(texts)

    assert per_review(in_blocks) == per_review(whole)


@settings(max_examples=100, deadline=None)
@given(REVIEWS)
def test_a_batch_equals_its_reviews_one_by_one(texts):
    batch = fingerprint(texts)

    alone = [fingerprint([text]) for text in texts]

    assert marks_per_review(batch) == [marks_per_review(prints)[0] for prints in alone]


@settings(max_examples=100, deadline=None)
@given(REVIEWS, st.sampled_from([View(), View(ngram_max=4, gap_max=2, prefix_bytes=5, bits=16)]))
def test_occurrences_are_the_fingerprints_in_another_order(texts, view):
    whole = fingerprint(texts, view).occurrences()

    parts = [part for (part,) in occurrence_parts(texts, [(view, None)])]

    assert sum(part.review_count for part in parts) == len(texts)
    first_rows = np.cumsum([0, *(part.review_count for part in parts)])
    found = [
        mark
        for part, first in zip(parts, first_rows.tolist(), strict=False)
        for mark in zip(part.ids.tolist(), (part.rows + first).tolist(), part.is_late, strict=True)
    ]
    expected = zip(whole.ids.tolist(), whole.rows.tolist(), whole.is_late, strict=True)
    assert sorted(found) == sorted(expected)
    assert all(np.all(np.diff(part.ids.astype(np.int64)) >= 0) for part in parts)


@settings(max_examples=100, deadline=None)
@given(REVIEWS, st.sampled_from([View(), View(ngram_max=4, gap_max=2, prefix_bytes=5, bits=16)]))
def test_a_filter_leaves_out_what_it_does_not_keep_and_nothing_else(texts, view):
    def kept(hashes):
        return (hashes >> np.uint64(61)) % np.uint64(3) == 0

    whole = [part for (part,) in occurrence_parts(texts, [(view, None)])]
    parts = [part for (part,) in occurrence_parts(texts, [(view, kept)])]

    for part, every in zip(parts, whole, strict=True):
        own = kept(every.ids << np.uint64(64 - view.bits))
        assert part.review_count == every.review_count
        assert part.ids.tolist() == every.ids[own].tolist()
        assert part.rows.tolist() == every.rows[own].tolist()
        assert part.is_late.tolist() == every.is_late[own].tolist()


@settings(max_examples=100, deadline=None)
@given(REVIEWS, VIEWS)
def test_kinds_of_ngrams_hashed_together_or_apart_give_the_same(texts, view):
    def kept(hashes):
        return (hashes >> np.uint64(61)) % np.uint64(3) == 0

    def found():
        parts = [part for (part,) in occurrence_parts(texts, [(view, kept)])]
        return marks_per_review(fingerprint(texts, view)), [
            (part.ids.tolist(), part.is_late.tolist(), part.rows.tolist()) for part in parts
        ]

    together = found()
    with patch.object(fingerprints, "FEW_TOKENS", 0):
        apart = found()

    assert together == apart


def test_every_short_text_of_broken_and_nested_tags_equals_the_slow_reference():
    texts = ["".join(parts) for size in range(5) for parts in product(MARKUP, repeat=size)]

    prints = fingerprint(texts, View(ngram_max=2))

    assert len(texts) == 7_381
    differing = [
        text
        for text, ids in zip(texts, per_review(prints), strict=True)
        if ids != reference_ids(text, 2)
    ]
    assert differing == []


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize(
    "tag", ["<{}br />", "<br{}/>", "<br /{}>", "<{}br<br />>", "<br<br />{}/>"]
)
def test_unusual_blanks_in_a_tag_count_as_the_slow_reference_says(blank, tag):
    text = f"good{tag.format(blank)}film"

    assert fingerprint([text]).ids.tolist() == reference_ids(text)


@pytest.mark.quick_every(2)
@pytest.mark.parametrize("tag", ["<br />", "< br<br />>", "<BR<br />/>"])
def test_a_tag_that_256_kib_cut_equals_the_slow_reference(tag):
    texts = ["a" * (MAX_REVIEW_BYTES - kept) + tag for kept in range(len(tag) + 2)]

    prints = fingerprint(texts, View(ngram_max=2))

    assert per_review(prints) == [reference_ids(text, 2) for text in texts]


@pytest.mark.quick_every(2)
@pytest.mark.parametrize("spare", [-2, -1, 0, 1, 2])
def test_reviews_that_just_fill_a_block_equal_the_reference(spare):
    long = ("good film! " * 30_000)[: MAX_REVIEW_BYTES - 100]
    texts = [long, "it's " * 20, "x" * (97 + spare), "the end"]

    prints = fingerprint(texts)

    assert per_review(prints) == [reference_ids(text) for text in texts]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a great film. " * 20_000, id="longer-than-256-KiB"),
        pytest.param("x" * 300_000, id="one-giant-word"),
        pytest.param("é" * 200_000, id="cut-inside-the-256-KiB-of-two-byte-letters"),
        pytest.param("a" + "é" * 200_000, id="cut-in-the-middle-of-a-letter"),
        pytest.param("." * 300_000, id="marks-only", marks=pytest.mark.long),
        pytest.param(" " * 300_000, id="blanks-only"),
    ],
)
def test_a_giant_review_is_cut_and_its_neighbours_are_not_harmed(text):
    prints = fingerprint(["before", text, "after"])

    assert per_review(prints) == [reference_ids(part) for part in ("before", text, "after")]


def test_what_lies_beyond_256_kib_is_not_read():
    kept = "a " * (MAX_REVIEW_BYTES // 2)

    assert fingerprint([kept + "terrible"]).ids.tolist() == fingerprint([kept]).ids.tolist()


# ------------------------------------------------------------------ tokens, by hand


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Good film.", ["good", "film", "."]),
        ("don't", ["don't"]),
        ("'twas the dogs'", ["twas", "the", "dogs"]),
        ("rock 'n' roll", ["rock", "n", "roll"]),
        ("8/10", ["8", "10"]),
        ("so-so", ["so", "-", "so"]),
        ("No!!", ["no", "!", "!"]),
        ("ÉCRAN", ["É".encode().decode("latin-1") + "cran"]),
    ],
)
def test_tokens_are_words_and_marks(text, tokens):
    expected = sorted(token_hash(token.encode("latin-1")) >> 24 for token in set(tokens))

    assert fingerprint([text], View(ngram_max=1)).ids.tolist() == expected


@pytest.mark.parametrize("tag", ["<br />", "<br>", "<BR/>", "< Br  / >", "<br\n/>", "<br /><br />"])
def test_a_line_break_separates_like_a_blank(tag):
    assert fingerprint([f"good{tag}film"]).ids.tolist() == fingerprint(["good film"]).ids.tolist()


def test_a_tag_that_never_closes_costs_no_more_than_text():
    hostile = "<br" + " " * 250_000 + "<" * 1000

    assert fingerprint([hostile]).ids.tolist() == reference_ids("br")


def test_a_lone_surrogate_counts_as_a_question_mark():
    assert fingerprint(["why \ud800"]).ids.tolist() == fingerprint(["why ?"]).ids.tolist()


def test_no_ngram_joins_the_end_of_one_review_to_the_start_of_the_next():
    prints = fingerprint(["not", "good"])

    assert prints.lengths.tolist() == [1, 1]


def test_an_apostrophe_at_the_edge_of_a_review_joins_nothing():
    prints = fingerprint(["rock'", "'n", "roll"])

    assert per_review(prints) == [reference_ids(text) for text in ("rock", "n", "roll")]


def test_repeated_ngrams_count_once():
    prints = fingerprint(["good good good good"])

    assert prints.lengths.tolist() == [3]  # good, good good, good good good


def test_nothing_to_read_is_not_an_error():
    assert len(fingerprint([])) == 0
    assert fingerprint(["", "  ", "<br />"]).lengths.tolist() == [0, 0, 0]


def test_an_iterator_is_read_once_and_in_order():
    prints = fingerprint(text for text in ["good", "bad film"])

    assert prints.lengths.tolist() == [1, 3]


def test_the_version_names_these_fingerprints():
    ids = fingerprint(["It's GOOD,<br />\u00e9tonnant!"], View(ngram_max=2)).ids

    assert FEATURIZER_VERSION == "fp2"
    # Other numbers mean other features: models trained before cannot read them. New version!
    assert ids.tolist() == [
        36246026164,
        343990064448,
        527245927125,
        633860422441,
        740751839501,
        846758130524,
        977376443429,
        985219581360,
        1055423093476,
    ]


# ------------------------------------------------------------------ collisions


def test_forty_bits_tell_apart_every_ngram_of_a_large_generated_text():
    text = words(30_000, vocabulary=3_000)

    true_ngrams = reference_ngrams(text)

    assert len(true_ngrams) > 60_000
    assert len(fingerprint([text]).ids) == len(true_ngrams)


def test_sixteen_bits_collide_as_often_as_chance_says():
    text = words(20_000, vocabulary=2_000, seed=1)
    ngram_count, slots = len(reference_ngrams(text, 2)), 2**16

    distinct = len(fingerprint([text], View(ngram_max=2, bits=16)).ids)

    expected = slots * (1 - (1 - 1 / slots) ** ngram_count)
    assert distinct == pytest.approx(expected, rel=0.01)


# ------------------------------------------------------------------ Fingerprints


@settings(max_examples=100, deadline=None)
@given(REVIEWS.filter(bool), st.data())
def test_taking_rows_equals_reading_those_reviews(texts, data):
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=10))

    taken = fingerprint(texts).take(rows)

    assert marks_per_review(taken) == marks_per_review(fingerprint(texts[row] for row in rows))


def test_a_mask_takes_the_rows_it_marks():
    taken = fingerprint(["one", "two", "three"]).take(np.array([True, False, True]))

    assert per_review(taken) == [reference_ids("one"), reference_ids("three")]


def test_a_slice_is_a_view_of_consecutive_reviews():
    prints = fingerprint(["good film", "", "dull", "good"])

    part = prints[1:3]

    assert per_review(part) == per_review(prints)[1:3]
    assert np.shares_memory(part.ids, prints.ids)
    assert len(prints[2:1]) == len(prints[9:]) == 0


def test_a_row_that_is_not_there_cannot_be_taken():
    with pytest.raises(IndexError):
        fingerprint(["one"]).take([1])


def test_parts_joined_equal_the_whole():
    texts = ["good film", "", "bad film", "so-so"]

    joined = Fingerprints.concat(fingerprint([text]) for text in texts)

    assert per_review(joined) == per_review(fingerprint(texts))


def test_parts_made_differently_cannot_be_joined():
    parts = [fingerprint(["a"], View(ngram_max=size)) for size in (2, 3)]

    with pytest.raises(ValueError, match=r"found \[View\(ngram_max=2.*View\(ngram_max=3"):
        Fingerprints.concat(parts)


def test_no_parts_cannot_be_joined():
    with pytest.raises(ValueError, match="0 parts"):
        Fingerprints.concat([])


def test_lengths_must_add_up():
    two, late = np.array([1, 2], np.uint64), np.zeros(2, np.bool_)

    with pytest.raises(ValueError, match="add up to 3, but there are 2 ids"):
        Fingerprints(two, late, np.array([1, 2], np.int64))
    with pytest.raises(ValueError, match="2 ids and 1 marks of late ones"):
        Fingerprints(two, late[:1], np.array([1, 1], np.int64))


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    "setting",
    [
        {"ngram_max": 0}, {"ngram_max": 9}, {"bits": 15}, {"bits": 45},
        {"gap_max": -1}, {"gap_max": 9}, {"prefix_bytes": -1}, {"prefix_bytes": 65},
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_refused(setting):
    with pytest.raises(ValueError, match="must be from"):
        fingerprint(["a"], View(**setting))


def test_one_text_is_not_taken_for_many_letters():
    with pytest.raises(TypeError, match=r"pass \[text\]"):
        fingerprint("good film")


@pytest.mark.parametrize("missing", [None, float("nan"), b"bytes"])
def test_what_is_not_text_is_refused_with_its_row(missing):
    with pytest.raises(TypeError, match="row 1, got"):
        fingerprint(["good", missing])
