"""Made-up film reviews, for places without network.

No sentence here was copied from anywhere: sentences come from templates, opinions from word banks,
films and people from syllables. What matters to a classifier is kept from real reviews: their
length, line breaks, films with many reviews, mixed feelings, and praise that depends on word
*pairs* ("no tension" against "no clichés"), most of which are rare. So a bag of words stays below
perfect, and more reviews teach it more.
"""

from __future__ import annotations

import functools
import itertools
import logging
import string
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from typing import Final, Literal, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

logger = logging.getLogger(__name__)

WORDS: Final[dict[str, tuple[str, ...]]] = {
    name: tuple(phrases)
    for name, phrases in tomllib.loads(
        resources.files("pipelines.simulation").joinpath("words.toml").read_text(encoding="utf-8")
    ).items()
}

REVIEW_SCHEMA: Final = pa.schema(
    [
        pa.field("movie_id", pa.string()),
        pa.field("text", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("rating", pa.int8()),
    ]
)

Item = TypeVar("Item")
Label = Literal["positive", "negative"]
Draw = Callable[[], float]  # the next number in [0, 1)
Words = Mapping[str, tuple[str, ...]]  # what may stand in each slot of a template
Template = tuple[tuple[str, str | None], ...]  # literal text, each followed by a slot or the end

# Shares seen in the Large Movie Review Dataset: people write when they love or hate a film.
RATING_SHARE: Final = {1: 20, 2: 9, 3: 10, 4: 11, 7: 10, 8: 12, 9: 9, 10: 19}
STRONG_WORD_SHARE: Final = {1: 0.7, 2: 0.4, 3: 0.15, 4: 0.05, 7: 0.05, 8: 0.15, 9: 0.4, 10: 0.7}
# How often an opinion goes against the rating: a 4 or a 7 is a mixed review.
OTHER_SIDE_SHARE: Final = {1: 0.06, 2: 0.1, 3: 0.16, 4: 0.22, 7: 0.22, 8: 0.16, 9: 0.1, 10: 0.06}

MEDIAN_WORDS: Final = 170
SPREAD_OF_LOG_WORDS: Final = 0.67
FEWEST_WORDS, MOST_WORDS = 32, 880
PARAGRAPH_SHARE: Final = 0.57  # a little above the wanted 0.55: one-sentence reviews have no break
SUBTLE_SHARE: Final = 0.4  # opinions whose words mean nothing until read as a pair
HARD_SHARE: Final = 0.1  # reviews with few opinions, all of them subtle, and no closing verdict
VERDICT_SHARE: Final = 0.75
HARD_OPINIONS, FEWEST_OPINIONS, OPINION_RANGE = 1.5, 2.5, 4.0  # at the median length
REVIEWS_PER_FILM: Final = 7
MOST_FILMS: Final = 500_000  # six digits keep them distinct
TAIL: Final = 2.5  # how rare the rare words of praise and blame are; 1 means all alike
BANK_ORDER_SEED: Final = 20_240_229  # decides which word pairs are common and which are rare


class Film(NamedTuple):
    movie_id: str
    words: Words  # its title and people, each a bank of one


def make_reviews(rows: int, *, seed: int) -> pa.Table:
    """Made-up reviews: the same ``rows`` and ``seed`` always give the same table.

    Returns
    -------
    reviews : Table of ``REVIEW_SCHEMA``
        About half of them positive. Ratings 1 to 4 are negative, 7 to 10 positive; film ids look
        like ``tt9123456``, and a few films have most of the reviews.
    """
    rng = np.random.default_rng(seed)
    draw = _uniforms(rng).__next__
    film_count = min(max(1, rows // REVIEWS_PER_FILM), MOST_FILMS)
    films = _films(film_count, rng=rng, draw=draw)
    chosen = _popular(len(films), rows=rows, rng=rng)
    shares = np.array(list(RATING_SHARE.values())) / sum(RATING_SHARE.values())
    ratings = rng.choice(np.array(list(RATING_SHARE)), size=rows, p=shares).tolist()
    lengths = _lengths(rows, rng)
    texts = [
        _review(films[film].words, rating=rating, word_count=length, draw=draw)
        for film, rating, length in zip(chosen, ratings, lengths, strict=True)
    ]
    logger.info("made_up_reviews=%d films=%d seed=%d", rows, len(films), seed)
    columns = [
        [films[film].movie_id for film in chosen],
        texts,
        [_label(rating) for rating in ratings],
        ratings,
    ]
    return pa.table(columns, schema=REVIEW_SCHEMA)


def _label(rating: int) -> Label:
    return "positive" if rating >= 7 else "negative"


def _uniforms(rng: np.random.Generator) -> Iterator[float]:
    while True:
        yield from rng.random(65_536).tolist()


def _lengths(rows: int, rng: np.random.Generator) -> list[int]:
    """Words per review: log-normal, as lengths of real reviews are."""
    words = rng.lognormal(np.log(MEDIAN_WORDS), SPREAD_OF_LOG_WORDS, rows)
    lengths: list[int] = np.clip(words, FEWEST_WORDS, MOST_WORDS).astype(int).tolist()
    return lengths


def _popular(film_count: int, *, rows: int, rng: np.random.Generator) -> list[int]:
    """A film per review; the film of rank r has a share of about 1 / (r + 10) ** 0.8."""
    share = 1 / (np.arange(film_count) + 10) ** 0.8
    chosen: list[int] = rng.choice(film_count, size=rows, p=share / share.sum()).tolist()
    return chosen


def _films(count: int, *, rng: np.random.Generator, draw: Draw) -> list[Film]:
    numbers = rng.choice(1_000_000, size=count, replace=False).tolist()
    return [Film(f"tt9{number:06d}", _film_words(draw)) for number in numbers]


def _film_words(draw: Draw) -> Words:
    title_words = {**_NEUTRAL, "word": (_made_up_word(draw),)}
    title = _fill(_pick(_compiled(WORDS["titles"]), draw), title_words, draw)
    people = {role: (_person(draw),) for role in ("lead", "rival", "director")}
    return {"film": (string.capwords(title),), "name": (_made_up_word(draw),), **people}


def _person(draw: Draw) -> str:
    return f"{_made_up_word(draw)} {_made_up_word(draw)}"


def _made_up_word(draw: Draw) -> str:
    syllables = [
        _pick(WORDS["onsets"], draw) + _pick(WORDS["vowels"], draw)
        for _ in range(1 + int(draw() * 2))
    ]
    return ("".join(syllables) + _pick(WORDS["codas"], draw)).capitalize()


def _review(film: Words, *, rating: int, word_count: int, draw: Draw) -> str:
    sentences = _opinions(film, rating=rating, word_count=word_count, draw=draw)
    closing = sentences.pop()
    fillers, words = _compiled(WORDS["fillers"]), {**_NEUTRAL, **film}
    opening = _fill(_pick(_compiled(WORDS["openers"]), draw), words, draw)
    missing = word_count - sum(map(_word_count, (opening, *sentences, closing)))
    for template in itertools.cycle(_shuffled(fillers, draw)):
        if missing <= 0:
            break
        filler = _fill(template, words, draw)
        sentences.insert(int(draw() * (len(sentences) + 1)), filler)
        missing -= _word_count(filler)
    return _joined([opening, *sentences, closing], draw)


def _word_count(sentence: str) -> int:
    return sentence.count(" ") + 1


def _opinions(film: Words, *, rating: int, word_count: int, draw: Draw) -> list[str]:
    """Sentences that judge; the last one agrees with the rating."""
    is_hard = draw() < HARD_SHARE
    usual = HARD_OPINIONS if is_hard else FEWEST_OPINIONS + draw() * OPINION_RANGE
    count = 1 + int(usual * (word_count / MEDIAN_WORDS) ** 0.5)
    opinions = [
        _opinion(film, rating=rating, is_subtle=is_hard or draw() < SUBTLE_SHARE, draw=draw)
        for _ in range(count)
    ]
    return [*opinions, _closing(film, rating=rating, is_hard=is_hard, draw=draw)]


def _opinion(film: Words, *, rating: int, is_subtle: bool, draw: Draw) -> str:
    is_other_side = draw() < OTHER_SIDE_SHARE[rating]
    is_positive = (rating >= 7) != is_other_side
    is_strong = not is_other_side and draw() < STRONG_WORD_SHARE[rating]
    templates = _compiled(WORDS["subtle_opinions"] if is_subtle else WORDS["plain_opinions"])
    return _fill(_pick(templates, draw), {**_voice(is_positive, is_strong), **film}, draw)


def _closing(film: Words, *, rating: int, is_hard: bool, draw: Draw) -> str:
    is_verdict = not is_hard and draw() < VERDICT_SHARE
    templates = _compiled(WORDS["verdicts"] if is_verdict else WORDS["subtle_opinions"])
    is_strong = draw() < STRONG_WORD_SHARE[rating]
    return _fill(_pick(templates, draw), {**_voice(rating >= 7, is_strong), **film}, draw)


def _joined(sentences: list[str], draw: Draw) -> str:
    """One paragraph, or several with the line breaks that review sites keep."""
    if draw() >= PARAGRAPH_SHARE:
        return " ".join(sentences)
    size = min(2 + int(draw() * 5), len(sentences) - 1)
    starts = range(0, len(sentences), size)
    return "<br /><br />".join(" ".join(sentences[at : at + size]) for at in starts)


def _pick(bank: tuple[Item, ...], draw: Draw) -> Item:
    return bank[int(len(bank) * draw())]


def _shuffled(bank: tuple[Item, ...], draw: Draw) -> list[Item]:
    return sorted(bank, key=lambda _: draw())


def _fill(template: Template, words: Words, draw: Draw) -> str:
    """The template with a word in each slot; the first opinions of a bank come most often.

    Place n * u**t has a density of about place ** (1/t - 1): the long tail of natural language.
    """
    parts = []
    for literal, slot in template:
        parts.append(literal)
        if slot is not None:
            bank, skew = words[slot], 1.0 if slot in _NEUTRAL else TAIL
            parts.append(bank[int(len(bank) * draw() ** skew)])
    return "".join(parts)


@functools.cache
def _compiled(templates: tuple[str, ...]) -> tuple[Template, ...]:
    """Templates split at their slots: parsing them for every sentence takes most of the time."""
    formatter = string.Formatter()
    return tuple(
        tuple((literal, slot) for literal, slot, _, _ in formatter.parse(template))
        for template in templates
    )


def _with_article(bank: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{'an' if word[0] in 'aeiou' else 'a'} {word}" for word in bank)


def _paired(*products: tuple[tuple[str, ...], tuple[str, ...]]) -> tuple[str, ...]:
    """Each first word with each second, in a fixed order that mixes common and rare pairs."""
    pairs = [f"{first} {second}" for left, right in products for first in left for second in right]
    order = np.random.default_rng(BANK_ORDER_SEED).permutation(len(pairs))
    return tuple(pairs[place] for place in order.tolist())


def _judgement(is_positive: bool, is_strong: bool) -> Words:
    """The words of one opinion, without its sentence about the other side."""
    mild, strong = (
        (WORDS["praise_mild"], WORDS["praise_strong"])
        if is_positive
        else (WORDS["blame_mild"], WORDS["blame_strong"])
    )
    opposite = WORDS["blame_mild"] if is_positive else WORDS["praise_mild"]
    much, scarce = (
        (WORDS["virtues"], WORDS["flaws"]) if is_positive else (WORDS["flaws"], WORDS["virtues"])
    )
    often, seldom = (
        (WORDS["good_verbs"], WORDS["bad_verbs"])
        if is_positive
        else (WORDS["bad_verbs"], WORDS["good_verbs"])
    )
    qualities = strong if is_strong else mild
    return {
        "quality": qualities,
        "a_quality": _with_article(qualities),
        "not_opposite": _paired((WORDS["negations"], opposite)),
        "amount": _paired((WORDS["present"], much), (WORDS["absent"], scarce)),
        "behaviour": _paired((WORDS["always"], often), (WORDS["never"], seldom)),
        "a_thing": _with_article(
            _paired(
                (
                    WORDS["thing_adjectives"],
                    WORDS["good_things"] if is_positive else WORDS["bad_things"],
                )
            )
        ),
    }


@functools.cache
def _voice(is_positive: bool, is_strong: bool) -> Words:
    """All words for one opinion; slots named ``other_`` speak mildly for the other side."""
    other = _judgement(not is_positive, is_strong=False)
    concessions = {f"other_{slot}": bank for slot, bank in other.items()}
    return {**_NEUTRAL, **_judgement(is_positive, is_strong), **concessions}


_NEUTRAL: Final[Words] = {
    "aspect": WORDS["aspects"],
    "relative": WORDS["relatives"],
    "time": WORDS["times"],
    "job": WORDS["jobs"],
    "a_job": _with_article(WORDS["jobs"]),
    "place": WORDS["places"],
    "a_place": _with_article(WORDS["places"]),
    "object": WORDS["objects"],
    "an_object": _with_article(WORDS["objects"]),
    "turn": WORDS["plot_turns"],
    "moment": WORDS["moments"],
    "moment_start": tuple(moment.capitalize() for moment in WORDS["moments"]),
}
