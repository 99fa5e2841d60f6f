"""Score the behavioural suite: small cases that define what a model must be able to do.

An average over a holdout hides what a model cannot do at all. After the method of [1]_, each
*capability* (negation, typos, ...) is a file of cases with a limit on how many of them may fail:

- **minimum functionality**: a text has this label;
- **invariance**: a change without meaning, such as another name, does not change the answer;
- **direction**: a change with a meaning moves the probability the right way, or not at all.

This module needs no model: the caller scores `Suite.texts` once per model. `behaviour.suite` reads
the files.

References
----------
.. [1] M. T. Ribeiro et al., "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList",
   ACL, 2020.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipelines.evaluation.behaviour.suite import Capability, Case, Suite, load_suite
from pipelines.records.evaluations import BehaviourScores, CapabilityScore

__all__ = ["Capability", "Case", "Suite", "failures", "load_suite", "score"]


def score(suite: Suite, probabilities: NDArray[np.float64]) -> BehaviourScores:
    """How often one model fails each capability.

    Parameters
    ----------
    suite : Suite
        The cases.
    probabilities : ndarray of shape (n_texts,)
        Of the positive class, in the order of ``suite.texts()``; for other classes how far from the
        first to the last a text stands (`pipelines.models.answers.place`). A value that is not a
        number in [0, 1] fails the cases of its text.

    Raises
    ------
    ValueError
        If there is not one probability for each text.
    """
    failed = failures(suite, probabilities)
    return BehaviourScores(
        suite=suite.digest,
        capabilities=tuple(
            CapabilityScore(
                capability=capability.name,
                kind=capability.kind,
                cases=len(capability.cases),
                failures=len(failed[capability.name]),
                max_failure_share=capability.max_failure_share,
            )
            for capability in suite.capabilities
        ),
    )


def failures(suite: Suite, probabilities: NDArray[np.float64]) -> dict[str, tuple[Case, ...]]:
    """The cases that a model fails, by capability; arguments and errors as for `score`."""
    texts = suite.texts()
    if probabilities.shape != (len(texts),):
        raise ValueError(
            f"the suite has {len(texts)} texts, but the probabilities have the shape "
            f"{probabilities.shape}. Score suite.texts() in its order"
        )
    answers = dict(zip(texts, probabilities.tolist(), strict=True))
    return {
        part.name: tuple(case for case in part.cases if not _passes(case, part, answers))
        for part in suite.capabilities
    }


def _passes(case: Case, capability: Capability, answers: Mapping[str, float]) -> bool:
    before, after = answers[case.texts[0]], answers[case.texts[-1]]
    if not (0.0 <= before <= 1.0 and 0.0 <= after <= 1.0):  # NaN, too, is not between them
        return False
    rise = after - before
    match case.expected:
        case "positive" | "negative":
            return (before >= 0.5) == (case.expected == "positive")
        case "same":
            return (before >= 0.5) == (after >= 0.5) or abs(rise) <= capability.tolerance
        case "up":
            return rise >= -capability.tolerance
        case "down":
            return rise <= capability.tolerance
