"""Seven comparisons of a window's reviews with those that are usual for the champion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.core.settings.model import SENTIMENT
from pipelines.core.settings.operation import MonitoringSettings
from pipelines.evaluation.metrics import rounded
from pipelines.models.answers import place, predicted
from pipelines.monitoring import two_samples
from pipelines.monitoring.reference import Reference
from pipelines.monitoring.sample import Scores, Texts
from pipelines.monitoring.two_samples import Difference, Told
from pipelines.monitoring.word_table import WordTable
from pipelines.records.monitoring import DriftName, DriftTest, MovedWord

LEAST_WORD_ROWS = 3  # reviews that a named word is in; a rarer one tells who wrote it

MEANINGS: dict[DriftName, str] = {
    "scores": "the champion's probabilities",
    "positive_scores": "how many it calls positive",
    "labels": "how many are labelled positive",
    "length": "how long reviews are",
    "unseen_words": "how many words it never saw",
    "words": "which words reviews have",
    "distinguishable": "what reviews are about, by their words",
}
"""The comparisons of a champion with two classes, and what each is about."""

OF_CLASSES: dict[DriftName, str] = {
    "class_scores": "which classes it answers with",
    "class_labels": "which classes reviews are of",
}
"""Those that take the place of two of them for a champion with more classes."""


def meaning(name: DriftName) -> str:
    """What a comparison is about."""
    return (MEANINGS | OF_CLASSES)[name]


@dataclass(frozen=True, eq=False)
class Window:
    """A window's reviews and the reference; one method per comparison.

    Parameters
    ----------
    scores, texts : Scores, Texts
        Of the same reviews.
    words : WordTable
        That of the reference, continued with the window's words.
    reference : Reference
        The champion's own.
    settings : MonitoringSettings
        Floors, and the chance of a false DRIFT, which is divided among the comparisons.
    names : tuple of str
        Of the champion's classes.
    """

    scores: Scores
    texts: Texts
    words: WordTable
    reference: Reference
    settings: MonitoringSettings
    names: tuple[str, ...] = SENTIMENT

    @property
    def _level(self) -> float:
        return self.settings.drift_significance / len(MEANINGS)

    def tests(self, told: Told) -> Iterator[DriftTest]:
        """All seven; ``told`` is what `tell_apart` found."""
        settings = self.settings
        yield self._of_scores(
            "scores", self._score_distance(), settings.min_score_distance,
            "The distribution of the champion's probabilities differs by",
        )  # fmt: skip
        yield answers_change(
            self.scores.probability, self.reference.scores.probability, self.names, self._level,
            settings.min_positive_change,
        )  # fmt: skip
        yield self._label_change()
        yield self._of_texts(
            "length", self._length_distance(), settings.min_length_distance,
            "The distribution of text lengths differs by",
        )  # fmt: skip
        yield self._of_scores(
            "unseen_words", self._unseen_rise(), settings.min_unseen_rise,
            "The share of a review's words that the champion never saw rises by",
        )  # fmt: skip
        yield self._of_texts(
            "words", self._word_distance(), settings.min_word_distance,
            "Which words reviews have differs by",
        )  # fmt: skip
        yield self._of_texts(
            "distinguishable", told.difference, settings.min_distinguishable,
            "A classifier tells new reviews from usual ones better than by chance, by",
        )  # fmt: skip

    def tell_apart(self) -> Told:
        """A classifier of new and usual reviews."""
        return two_samples.tell_apart(
            self.texts.documents, self.reference.texts.documents, words=len(self.words),
            significance=self._level,
        )  # fmt: skip

    def moved_words(self, told: Told) -> Iterator[MovedWord]:
        """The words that changed most, strongest first."""
        names = self.words.names
        for number, share, usual in zip(
            told.words.tolist(), told.shares, told.usual_shares, strict=True
        ):
            if max(share, usual) * len(self.texts) >= LEAST_WORD_ROWS:
                yield MovedWord(word=names[number], share=rounded(share), usual=rounded(usual))

    def _score_distance(self) -> Difference:
        now, usual = place(self.scores.probability), place(self.reference.scores.probability)
        return two_samples.kolmogorov_smirnov(now, usual, significance=self._level)

    def _label_change(self) -> DriftTest:
        now, usual = self.texts.class_labels, self.reference.texts.class_labels
        floor = self.settings.min_label_change
        number, difference = _class_change(now, usual, self._level, floor)
        name: DriftName = "labels" if len(self.names) == 2 else "class_labels"
        of = "is labelled positive" if self.names == SENTIMENT else f"is {self.names[number]}"
        return self._of_texts(name, difference, floor, f"The share that {of} changes by")

    def _length_distance(self) -> Difference:
        now, usual = self.texts.chars, self.reference.texts.chars
        return two_samples.kolmogorov_smirnov(now, usual, significance=self._level)

    def _unseen_rise(self) -> Difference:
        now = self.texts.documents.share_from(self.reference.known_words)
        return two_samples.rise(now, self.reference.unseen, significance=self._level)

    def _word_distance(self) -> Difference:
        buckets = self.words.buckets()
        now, usual = (
            texts.documents.presence(buckets) for texts in (self.texts, self.reference.texts)
        )
        return two_samples.presence(now, usual, significance=self._level)

    def _of_scores(
        self, name: DriftName, difference: Difference, floor: float, words: str
    ) -> DriftTest:
        return as_test(
            name, difference, floor, (len(self.scores), len(self.reference.scores)), words
        )

    def _of_texts(
        self, name: DriftName, difference: Difference, floor: float, words: str
    ) -> DriftTest:
        return as_test(name, difference, floor, (len(self.texts), len(self.reference.texts)), words)


def answers_change(
    probability: NDArray[np.float64],
    usual: NDArray[np.float64],
    names: tuple[str, ...],
    level: float,
    floor: float,
) -> DriftTest:
    """How much the share of a class among the answers changed, of that where it changed most."""
    now, before = (
        tuple(np.bincount(predicted(answers), minlength=len(names)).tolist())
        for answers in (probability, usual)
    )
    number, difference = _class_change(now, before, level, floor)
    name: DriftName = "positive_scores" if len(names) == 2 else "class_scores"
    return as_test(
        name, difference, floor, (len(probability), len(usual)),
        f"The share that the champion calls {names[number]} changes by",
    )  # fmt: skip


def _class_change(
    now: Sequence[int], usual: Sequence[int], level: float, floor: float
) -> tuple[int, Difference]:
    """The class whose share changed most for its limit, and the change.

    The shares of two classes change by the same; of more, each has its part of the chance.
    """
    numbers = range(len(now)) if len(now) > 2 else (1,)
    changes = {
        number: two_samples.shares(
            now[number], sum(now), usual[number], sum(usual), significance=level / len(numbers)
        )
        for number in numbers
    }
    most = max(changes, key=lambda one: changes[one].value / max(floor, changes[one].chance))
    found = changes[most]
    return most, replace(found, p_value=min(1.0, found.p_value * len(numbers)))


def of_answers(
    probability: NDArray[np.float64],
    usual: Scores,
    settings: MonitoringSettings,
    names: tuple[str, ...] = SENTIMENT,
) -> Iterator[DriftTest]:
    """The two comparisons that need neither texts nor labels."""
    level = settings.drift_significance / 2
    rows = len(probability), len(usual)
    distance = two_samples.kolmogorov_smirnov(
        place(probability), place(usual.probability), significance=level
    )
    yield as_test(
        "scores", distance, settings.min_score_distance, rows,
        "The distribution of the champion's probabilities differs by",
    )  # fmt: skip
    yield answers_change(probability, usual.probability, names, level, settings.min_positive_change)


def as_test(
    name: DriftName, difference: Difference, floor: float, rows: tuple[int, int], words: str
) -> DriftTest:
    """A difference and its limit; ``rows`` are those of the window and of the reference."""
    value, limit = rounded(difference.value), rounded(max(floor, difference.chance))
    end = "above" if value > limit else "within"
    return DriftTest(
        name=name, value=value, limit=limit, floor=floor, p_value=rounded(difference.p_value),
        rows=rows[0], usual_rows=rows[1],
        sentence=f"{words} {value:.4f}, {end} the limit of {limit:.4f}.",
    )  # fmt: skip
