"""Seven comparisons of a window's reviews with those that are usual for the champion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.core.settings.operation import MonitoringSettings
from pipelines.evaluation.metrics import rounded
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
    """

    scores: Scores
    texts: Texts
    words: WordTable
    reference: Reference
    settings: MonitoringSettings

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
        yield self._of_scores(
            "positive_scores", self._positive_change(), settings.min_positive_change,
            "The share that the champion calls positive changes by",
        )  # fmt: skip
        yield self._of_texts(
            "labels", self._label_change(), settings.min_label_change,
            "The share that is labelled positive changes by",
        )  # fmt: skip
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
        now, usual = self.scores.probability, self.reference.scores.probability
        return two_samples.kolmogorov_smirnov(now, usual, significance=self._level)

    def _positive_change(self) -> Difference:
        now, usual = self.scores, self.reference.scores
        return two_samples.shares(
            now.positive_scores, len(now), usual.positive_scores, len(usual),
            significance=self._level,
        )  # fmt: skip

    def _label_change(self) -> Difference:
        now, usual = self.texts, self.reference.texts
        return two_samples.shares(
            now.positive_labels, len(now), usual.positive_labels, len(usual),
            significance=self._level,
        )  # fmt: skip

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


def of_answers(
    probability: NDArray[np.float64], usual: Scores, settings: MonitoringSettings
) -> Iterator[DriftTest]:
    """The two comparisons that need neither texts nor labels."""
    level = settings.drift_significance / 2
    rows = len(probability), len(usual)
    distance = two_samples.kolmogorov_smirnov(probability, usual.probability, significance=level)
    yield as_test(
        "scores", distance, settings.min_score_distance, rows,
        "The distribution of the champion's probabilities differs by",
    )  # fmt: skip
    positive = two_samples.shares(
        int((probability >= 0.5).sum()), rows[0], usual.positive_scores, rows[1],
        significance=level,
    )  # fmt: skip
    yield as_test(
        "positive_scores", positive, settings.min_positive_change, rows,
        "The share that the champion calls positive changes by",
    )  # fmt: skip


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
