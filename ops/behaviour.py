"""Show which cases of the behavioural suite, and which golden reviews, a version gets wrong.

    .venv/bin/python -m ops.behaviour             # the champion
    .venv/bin/python -m ops.behaviour VERSION     # any trained version, promoted or not

Buckets and files are those of the configuration in force. Nothing is written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.core import config
from pipelines.core.errors import LoopError
from pipelines.core.settings.model import SENTIMENT
from pipelines.evaluation.behaviour.scoring import Case, Suite, failures, load_suite, score
from pipelines.evaluation.golden import GoldenSet, load_golden
from pipelines.models.answers import of_class, place, predicted

Answer = Callable[[list[str]], NDArray[np.float64]]


def report(
    suite: Suite, golden: GoldenSet, answer: Answer, names: Sequence[str] = SENTIMENT
) -> Iterator[str]:
    """Lines for people: a summary per capability, each failed case, each golden review missed.

    Parameters
    ----------
    suite, golden : Suite, GoldenSet
        What is asked.
    names : sequence of str
        Of the classes.
    answer : callable
        Probabilities of a list of texts, in its order, as `pipelines.models.answers` has them.
    """
    texts = suite.texts()
    probabilities = place(answer(texts))
    for each in score(suite, probabilities).capabilities:
        mark = "ABOVE" if each.failure_share > each.max_failure_share else "within"
        yield (
            f"{each.capability}: {each.failures} of {each.cases} fail ({each.failure_share:.0%}), "
            f"{mark} the limit of {each.max_failure_share:.0%}"
        )
    found = dict(zip(texts, probabilities.tolist(), strict=True))
    for name, cases in failures(suite, probabilities).items():
        yield from (f"{name}: {_described(case, found)}" for case in cases)
    yield from _golden_lines(golden, answer(list(golden.texts)), names)


def _described(case: Case, found: dict[str, float]) -> str:
    seen = " -> ".join(f"{found[text]:.2f} {text!r}" for text in case.texts)
    return f"expected {case.expected}, got {seen}"


def _golden_lines(
    golden: GoldenSet, probabilities: NDArray[np.float64], names: Sequence[str]
) -> Iterator[str]:
    is_right = predicted(probabilities) == golden.labels
    shown = of_class(probabilities, golden.labels)
    yield f"golden set: {int(is_right.sum())} of {len(is_right)} right ({is_right.mean():.1%})"
    for row in np.flatnonzero(~is_right):
        label = names[golden.labels[row]]
        yield f"golden set: expected {label}, given {shown[row]:.2f} {golden.texts[row]!r}"


def _answers_of(version: str | None) -> Answer:
    from pipelines.core.store.stores import open_stores
    from pipelines.models.prediction import probabilities
    from pipelines.registry.registry import Registry
    from pipelines.serving.champion import find_champion

    settings = config.load()
    registry = Registry(open_stores(settings).models, settings.model.name)
    model = registry.versions.load(
        registry.versions.manifest(version or find_champion(registry).version)
    )
    return lambda texts: probabilities(model, texts)


def main(arguments: Sequence[str]) -> int:
    """Print the report; returns the exit code."""
    try:
        settings = config.load()
        suite = load_suite(settings.evaluation.behaviour_folder)
        names = settings.model.class_names
        golden = load_golden(settings.evaluation.golden_file, names)
        answer = _answers_of(arguments[0] if arguments else None)
        for line in report(suite, golden, answer, names):
            sys.stdout.write(line + "\n")
    except LoopError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:2]))
