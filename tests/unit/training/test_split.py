import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.features.text_id import normalized, text_id
from pipelines.training.split import fold_shares, is_holdout, is_selection, share_of
from tests.support.timing import cpu_seconds

FILMS = [f"tt{number:07d}" for number in range(10_000)]


@pytest.mark.parametrize(
    "text",
    [
        "A  good\n\tfilm. ",
        "a GOOD film.",
        "A good<br /><br />film.",
        "A <i>good</i> film.",
        "\N{FULLWIDTH LATIN CAPITAL LETTER A} good film.",
        "A good \N{LATIN SMALL LIGATURE FI}lm.",
        "A\N{NO-BREAK SPACE}good film.",
    ],
)
def test_the_same_review_is_recognised_however_it_is_written(text):
    assert normalized(text) == "a good film."
    assert text_id(text) == text_id("A good film.")


@pytest.mark.parametrize("text", ["A good film", "A good film!", "Not a good film.", "Agood film."])
def test_another_review_is_another(text):
    assert text_id(text) != text_id("A good film.")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("1 < 2 and 3 > 2", "1 2"),  # an opening and a closing sign are taken for a tag
        ("I <3 this", "i <3 this"),
        ("a <" + "x" * 201 + "> b", "a <" + "x" * 201 + "> b"),
        ("Straße", "strasse"),
        ("<br />", ""),
    ],
)
def test_what_normalizing_leaves(text, kept):
    assert normalized(text) == kept


def test_a_lone_surrogate_still_has_an_identity():
    assert len(text_id("why \ud800")) == 64


def test_a_megabyte_of_opening_brackets_takes_no_longer_than_other_text():
    brackets, words = (
        cpu_seconds(lambda text=text: normalized(text * 100_000))
        for text in ("<" * 10, "some words")
    )

    assert brackets < 300 * words  # each bracket is looked at beside the 200 characters after it


@settings(deadline=None, max_examples=100)
@given(st.text())
def test_a_text_is_its_own_repetition_whatever_surrounds_it(text):
    assert text_id(f"  {text.upper().lower()}\n") == text_id(text.upper().lower())
    assert normalized(text) == normalized(text).strip()


def test_a_share_is_fixed_for_ever_by_key_and_salt():
    # printf 's\ntt0000001' | sha256sum starts with the 16 digits below
    assert share_of("tt0000001", salt="s") == int("bcaa58044a5a675e", 16) / 2**64


def test_a_fifth_of_the_films_is_held_out():
    held_out = sum(is_holdout(FILMS, share=0.2, salt="films").values())

    # 2,000 expected of 10,000; the standard deviation is sqrt(10,000 * 0.2 * 0.8) = 40
    assert 1_840 <= held_out <= 2_160


def test_a_film_keeps_its_side_whatever_other_films_there_are():
    alone = is_holdout(["tt0000007"], share=0.2, salt="films")

    together = is_holdout(FILMS, share=0.2, salt="films")

    assert together["tt0000007"] == alone["tt0000007"]


def test_a_larger_holdout_keeps_all_films_of_the_smaller_one():
    small = is_holdout(FILMS, share=0.1, salt="films")
    large = is_holdout(FILMS, share=0.3, salt="films")

    assert all(large[film] for film in FILMS if small[film])


def test_another_salt_draws_other_films():
    first, other = (is_holdout(FILMS, share=0.5, salt=salt) for salt in ("films", "reels"))

    agreeing = sum(first[film] == other[film] for film in FILMS)

    # half of 10,000 by chance; the standard deviation is sqrt(10,000 * 0.5 * 0.5) = 50
    assert 4_800 <= agreeing <= 5_200


def test_folds_are_about_equal_and_drawn_independently_of_the_holdout():
    shares = fold_shares(FILMS, salt="films")
    folds = {film: int(4 * share) for film, share in shares.items()}
    held_out = is_holdout(FILMS, share=0.5, salt="films")

    in_first = [film for film in FILMS if folds[film] == 0]
    both = sum(held_out[film] for film in in_first)

    # a quarter and an eighth of 10,000 by chance; standard deviations are 43 and 33
    assert set(folds.values()) == {0, 1, 2, 3}
    assert 2_328 <= len(in_first) <= 2_672
    assert 1_118 <= both <= 1_382


def test_what_calibrates_is_drawn_independently_of_the_holdout():
    held_out = is_holdout(FILMS, share=0.5, salt="films")
    selecting = is_selection(FILMS, share=0.5, salt="films")

    both = sum(held_out[film] and selecting[film] for film in FILMS)

    # a quarter of 10,000 by chance; the standard deviation is sqrt(10,000 * 0.25 * 0.75) = 43
    assert 2_328 <= both <= 2_672


@pytest.mark.parametrize(("share", "expected"), [(0.0, False), (1.0, True)])
def test_no_share_is_none_and_a_whole_share_is_all(share, expected):
    assert set(is_holdout(FILMS, share=share, salt="films").values()) == {expected}
