"""Judge a window of reviews: is the champion as good as usual, and are the reviews as usual?

Pure functions. What chance allows depends on the numbers of reviews on both sides, and a
configured floor keeps differences out that do not matter. The chance of a false verdict is divided
among the tests of a window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.core.settings.model import SENTIMENT
from pipelines.core.settings.operation import MonitoringSettings
from pipelines.evaluation.metrics import is_usable, rounded
from pipelines.monitoring import drift_tests, estimates, two_samples
from pipelines.monitoring.drift_tests import Window, meaning
from pipelines.monitoring.reference import Reference
from pipelines.monitoring.sample import SOURCE, Scores, Texts
from pipelines.monitoring.word_table import WordTable
from pipelines.records.monitoring import (
    DriftTest,
    Estimate,
    GroupScore,
    Measured,
    MovedWord,
    WindowVerdict,
)

MOST_GROUPS = 40


@dataclass(frozen=True)
class Findings:
    """All that a window showed."""

    verdict: WindowVerdict
    why: str
    measured: Measured | None = None
    estimate: Estimate | None = None
    drift: tuple[DriftTest, ...] = ()
    groups: tuple[GroupScore, ...] = ()
    words: tuple[MovedWord, ...] = ()


def too_few(rows: int, settings: MonitoringSettings) -> Findings:
    return Findings(
        "TOO_FEW",
        f"{rows:,} reviews are too few to tell anything; {settings.min_rows:,} are needed.",
    )  # fmt: skip


def judge(
    scores: Scores,
    texts: Texts,
    words: WordTable,
    reference: Reference,
    settings: MonitoringSettings,
    *,
    is_provisional: bool,
    names: tuple[str, ...] = SENTIMENT,
) -> Findings:
    """The verdict on a window of reviews that the champion had not learned.

    Parameters
    ----------
    scores, texts : Scores, Texts
        Of the same reviews.
    words : WordTable
        That of the reference, continued with the window's words.
    reference : Reference
        The champion's own.
    settings : MonitoringSettings
        Floors and chances.
    is_provisional : bool
        Whether too few of the delivered rows count. Then the estimate counts, not the measurement.
    names : tuple of str
        Of the champion's classes.
    """
    if not is_usable(scores.probability):
        return Findings("FADING", "The champion gives probabilities that are not numbers.")
    if min(len(scores), len(reference.scores)) < settings.min_rows:
        return too_few(min(len(scores), len(reference.scores)), settings)
    groups = tuple(_groups(scores, reference, settings))
    judged = 1 + sum(group.limit is not None for group in groups)
    measured = _measure(scores, reference, settings, judged)
    estimate = _estimate(scores.probability, reference, settings)
    window = Window(scores, texts, words, reference, settings, names)
    told = window.tell_apart()
    drift = tuple(window.tests(told))
    faded = _why_faded(measured, estimate, groups, is_provisional=is_provisional)
    drifted = [test for test in drift if test.is_beyond]
    verdict: WindowVerdict = "FADING" if faded else "DRIFT" if drifted else "QUIET"
    return Findings(
        verdict, _why(faded, measured, estimate, drifted), measured, estimate, drift,
        groups[:MOST_GROUPS], tuple(window.moved_words(told)),
    )  # fmt: skip


def judge_answers(
    probability: NDArray[np.float64],
    reference: Reference,
    settings: MonitoringSettings,
    names: tuple[str, ...] = SENTIMENT,
) -> Findings:
    """The verdict on a champion's answers to different texts, of which no label is known.

    Parameters
    ----------
    probability : ndarray of shape (n_texts,) or (n_texts, n_classes)
        Of the positive class or of each, in [0, 1].
    reference : Reference
        The champion's own.
    settings : MonitoringSettings
        Floors and chances.
    names : tuple of str
        Of the champion's classes.
    """
    usual = reference.scores
    rows = min(len(probability), len(usual))
    if rows < settings.min_rows:
        return Findings(
            "TOO_FEW",
            f"{rows:,} different texts are too few to tell anything; "
            f"{settings.min_rows:,} are needed.",
        )
    estimate = _estimate(probability, reference, settings)
    drift = tuple(drift_tests.of_answers(probability, usual, settings, names))
    changed = ", ".join(meaning(test.name) for test in drift if test.is_beyond)
    accuracy = (
        f"By its own confidence the champion is right on {estimate.accuracy:.1%} of "
        f"{estimate.rows:,} texts; {estimate.accuracy + estimate.loss:.1%} is usual."
    )
    if estimate.is_beyond:
        beyond = (
            f"The loss of {_points(estimate.loss)} exceeds the limit of {_points(estimate.limit)}."
        )
        return Findings("FADING", f"{accuracy} {beyond}", None, estimate, drift)
    if changed:
        return Findings("DRIFT", f"{accuracy} But this changed: {changed}.", None, estimate, drift)
    doubt = " Its confidence is no guide here: ask for labels." if estimate.asks_for_labels else ""
    return Findings("QUIET", f"{accuracy}{doubt}", None, estimate, drift)


# Is the champion as good as usual?


def _measure(
    scores: Scores, reference: Reference, settings: MonitoringSettings, judged: int
) -> Measured:
    rows, right = len(scores), int(scores.is_right.sum())
    usual_rows, usual_right = len(reference.scores), int(reference.scores.is_right.sum())
    low, high = estimates.wilson(right, rows)
    fall = two_samples.fall(
        right, rows, usual_right, usual_rows, significance=settings.fading_significance / judged
    )
    return Measured(
        rows=rows, right_rows=right, accuracy=rounded(right / rows), low=rounded(low),
        high=rounded(high), log_loss=rounded(scores.log_loss),
        usual=rounded(usual_right / usual_rows), usual_rows=usual_rows, loss=rounded(fall.value),
        limit=rounded(max(settings.min_accuracy_loss, fall.chance)), p_value=rounded(fall.p_value),
    )  # fmt: skip


def _groups(
    scores: Scores, reference: Reference, settings: MonitoringSettings
) -> Iterator[GroupScore]:
    """Sources are judged where the reference has enough of their reviews; slices are shown."""
    sources = sum(name.startswith(SOURCE) for name in scores.groups)
    right = scores.is_right
    for name, mask in sorted(scores.groups.items()):
        rows = int(mask.sum())
        if not rows:
            continue
        part = int(right[mask].sum())
        low, high = estimates.wilson(part, rows)
        usual = reference.groups.get(name)
        is_known = usual is not None and usual.rows >= settings.min_rows <= rows
        limit = loss = None
        if usual is not None and is_known and name.startswith(SOURCE) and sources > 1:
            fall = two_samples.fall(
                part, rows, usual.right_rows, usual.rows,
                significance=settings.fading_significance / (1 + sources),
            )  # fmt: skip
            limit, loss = max(settings.min_accuracy_loss, fall.chance), fall.value
        yield GroupScore(
            name=name, rows=rows, accuracy=rounded(part / rows), low=rounded(low),
            high=rounded(high),
            usual=rounded(usual.right_rows / usual.rows) if usual and is_known else None,
            limit=None if limit is None else rounded(limit),
            is_beyond=limit is not None and loss is not None and loss > limit,
        )  # fmt: skip


def _estimate(
    probability: NDArray[np.float64], reference: Reference, settings: MonitoringSettings
) -> Estimate:
    usual, is_right = reference.scores.probability, reference.scores.is_right
    found = estimates.average_confidence(probability, usual, is_right)
    second = estimates.thresholded_confidence(probability, usual, is_right)
    second_low, second_high = estimates.wilson(round(second * len(probability)), len(probability))
    loss = float(is_right.mean()) - found.accuracy
    chance = two_samples.deviations(settings.fading_significance) * found.error
    return Estimate(
        rows=len(probability), accuracy=rounded(found.accuracy), low=rounded(found.low),
        high=rounded(found.high),
        log_loss=rounded(
            estimates.expected_log_loss(probability, usual, reference.scores.log_loss)
        ),
        second_opinion=rounded(second),
        asks_for_labels=second_high < found.low or second_low > found.high,
        loss=rounded(loss), limit=rounded(max(settings.min_accuracy_loss, chance)),
    )  # fmt: skip


def _why_faded(
    measured: Measured, estimate: Estimate, groups: tuple[GroupScore, ...], *, is_provisional: bool
) -> str:
    """Why the champion is worse than usual; empty when it is not."""
    if is_provisional:
        if not estimate.is_beyond:
            return ""
        return (
            f"By its own confidence the champion is right on {estimate.accuracy:.1%}; "
            f"{measured.usual:.1%} is usual. The loss of {_points(estimate.loss)} exceeds the "
            f"limit of {_points(estimate.limit)}."
        )
    if measured.is_beyond:
        return (
            f"The champion is right on {measured.accuracy:.1%} of {measured.rows:,} new reviews; "
            f"{measured.usual:.1%} is usual. The loss of {_points(measured.loss)} exceeds the "
            f"limit of {_points(measured.limit)}."
        )
    worst = next((group for group in groups if group.is_beyond), None)
    if worst is None or worst.usual is None or worst.limit is None:
        return ""
    return (
        f"The champion is right on {worst.accuracy:.1%} of {worst.rows:,} new reviews of source "
        f"{worst.name.removeprefix(SOURCE)!r}; {worst.usual:.1%} is usual there. The loss of "
        f"{_points(worst.usual - worst.accuracy)} exceeds the limit of {_points(worst.limit)}."
    )


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"


# In one sentence


def _why(faded: str, measured: Measured, estimate: Estimate, drifted: list[DriftTest]) -> str:
    changed = ", ".join(meaning(test.name) for test in drifted)
    if faded:
        return f"{faded} {_cause(changed)}"
    accuracy = f"right on {measured.accuracy:.1%}, {measured.usual:.1%} is usual"
    if changed:
        return f"The reviews changed: {changed}. The champion holds so far ({accuracy})."
    doubt = " Its own confidence is no guide here: ask for labels." if (
        estimate.asks_for_labels
    ) else ""  # fmt: skip
    return f"All as usual: the champion is {accuracy}.{doubt}"


def _cause(changed: str) -> str:
    if changed:
        return f"The reviews changed: {changed}."
    return "The texts are as usual, so look at the labels first: are they right?"
